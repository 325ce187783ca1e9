"""``python -m penstock.testing.simulation SEEDS [FIRST]`` tries so many seeds; ``replay SEED`` shows one."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from penstock.testing.simulation import Outcome, draw, run, shrink

_BATCH = 250
#: After so many seeds that break a promise no more are tried.
_ENOUGH = 3


def failing(first: int, count: int) -> list[int]:
    """The seeds that break a promise."""
    return [seed for seed in range(first, first + count) if run(draw(seed)).violation is not None]


def report(outcome: Outcome) -> str:
    """What happened, for people."""
    plan = outcome.plan
    entries = [f"  {entry}" for entry in (*plan.wishes, *plan.faults)]
    return "\n".join(
        [
            f"seed {plan.seed}, {plan.slots} slots, {plan.cpus} CPUs, {plan.servers} server(s)",
            *entries,
            *outcome.trace,
        ]
    )


def search(seeds: int, first: int = 0) -> int:
    """Try seeds; returns how many broke a promise."""
    begun = time.monotonic()
    done, broken = 0, []
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        batches = {
            pool.submit(failing, start, min(_BATCH, first + seeds - start)): start
            for start in range(first, first + seeds, _BATCH)
        }
        for batch in as_completed(batches):
            done += min(_BATCH, first + seeds - batches[batch])
            broken += batch.result()
            rate = done / (time.monotonic() - begun)
            _say(f"\r{done} of {seeds} seeds, {rate:.0f}/s, {len(broken)} broke a promise")
            if len(broken) >= _ENOUGH:
                pool.shutdown(cancel_futures=True)
                break
    _say("\n")
    for seed in sorted(broken)[:_ENOUGH]:
        _say(report(shrink(run(draw(seed)))) + "\n\n")
    return len(broken)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Try seeds, or show one."""
    if arguments[:1] == ["replay"]:
        outcome = run(draw(int(arguments[1])))
        _say(report(outcome) + "\n")
        return 0 if outcome.violation is None else 1
    return 1 if search(*map(int, arguments or ["1000"])) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
