"""A deterministic simulation of everything between a wish and a job's end, with faults drawn from a seed.

    from penstock.testing.simulation import draw, run
    print(*run(draw(7)).trace, sep=chr(10))

The dispatcher, the reports, stop and delete, the state machine, the runner's journal and outbox are the real ones.
`make simulate SEEDS=100000` looks for seeds that violate what must be true (`invariants.py`).
"""

from penstock.testing.simulation.plan import Fault, Plan, Wish, draw
from penstock.testing.simulation.shrink import shrink
from penstock.testing.simulation.world import Outcome, run

__all__ = ["Fault", "Outcome", "Plan", "Wish", "draw", "run", "shrink"]
