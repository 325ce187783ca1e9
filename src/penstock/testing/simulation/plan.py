"""What a simulation is about: what clients wish and what goes wrong, as data drawn from a seed.

Nothing of a plan depends on how the run goes, so that entries can be left out (`shrink.py`) and the rest stays.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

#: From this moment on (milliseconds) nothing goes wrong any more, and all jobs must come to an end.
CALM = 40_000
#: For how long (milliseconds) a job that finds no room lets others pass.
PATIENCE = 3000

#: Faults at the n-th call that a server makes to its store, engine or logbook.
AT_CALL = (
    "crash before call",
    "crash after call",
    "call fails",
    "call fails after it was done",
    "meanwhile",
)
#: Faults at the n-th call of one kind.
AT_START = ("start refused", "start breaks")
AT_PREPARE = ("prepare breaks", "prepare explodes")
AT_FORGET = ("forget breaks",)
#: Faults of the n-th message that a runner or a client sends.
AT_MESSAGE = ("message lost", "reply lost", "message twice", "message late")
#: Faults at the n-th step of any runner.
AT_STEP = ("runner killed",)
#: Faults at a time.
AT_TIME = ("server killed", "power lost", "clock jumps", "disk full", "runners killed")
#: Those of a machine of a cluster.
AT_MACHINE = ("machine cut off", "machine dead")


@dataclass(frozen=True, order=True)
class Wish:
    """Something a client asks for, at a time in milliseconds."""

    at: int
    verb: str
    """create, stop or delete"""
    name: str
    instances: int = 1
    exit_code: int = 0
    run_ms: int = 0
    """How long the program runs."""
    limit_s: int = 86_400
    """MaxRuntimeInSeconds."""
    kind: str = "ml.m5.large"
    """The instance type."""
    owner: str = ""
    priority: int = 0


@dataclass(frozen=True, order=True)
class Fault:
    """Something that goes wrong, at a time in milliseconds or at the n-th of its kind."""

    kind: str
    at: int
    amount: int = 0
    """How long, how far or how late, in milliseconds."""

    def __str__(self) -> str:
        place = f"{self.at} ms" if self.kind in {*AT_TIME, *AT_MACHINE} else f"no. {self.at}"
        return f"{self.kind} ({place}{f', {self.amount} ms' if self.amount else ''})"


@dataclass(frozen=True)
class Plan:
    """All that makes a run; equal plans make equal runs."""

    seed: int
    """What is left to chance within a run (delays, durations) is drawn from it."""
    slots: int = 4
    """How many instances the machine runs at once."""
    cpus: int = 64
    pace: int = 0
    """How long each call of a server may take, in milliseconds: everything else happens in between."""
    servers: int = 1
    """How many share the database, each with a home of its own on the one machine."""
    cluster: bool = False
    """Whether runs are on other machines than the server, with leases."""
    retries: int = 0
    """How many attempts may follow a job's first one."""
    wishes: tuple[Wish, ...] = ()
    faults: tuple[Fault, ...] = field(default=())


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(f"plan {seed}")  # noqa: S311 - no secret
    wishes = []
    for number in range(chance.choice((1, 1, 2, 3, 4))):
        name = f"job-{number + 1}"
        for _ in range(chance.choice((1, 1, 1, 2))):  # deleted and created again under its old name
            wishes += _life(chance, name)
    # Each seed suffers from some kinds of faults only: many of one kind show what a few of all hide.
    groups = chance.sample(
        (AT_CALL, AT_START, AT_PREPARE, AT_FORGET, AT_MESSAGE, AT_STEP, AT_TIME), chance.randint(1, 4)
    )
    kinds = [kind for group in groups for kind in group if chance.random() < 0.7]
    most = chance.choice((3, 12, 40))
    faults = [_fault(chance, chance.choice(kinds)) for _ in range(chance.randint(0, most))] if kinds else []
    slots, pace = chance.choice((1, 2, 4)), chance.choice((0, 0, 4, 60))
    queue = random.Random(f"queue {seed}")  # noqa: S311 - no secret; of its own, so that what was drawn stays
    if queue.random() < 0.2:
        wishes += _crowd(queue)
    wishes = [_in_queue(queue, wish) for wish in sorted(wishes)]
    cpus = queue.choice((2, 4, 8))
    servers = random.Random(f"servers {seed}").choice((1, 1, 1, 1, 2))  # noqa: S311 - as above
    more = random.Random(f"attempts {seed}")  # noqa: S311 - as above
    cluster, retries = servers == 1 and more.random() < 0.3, more.choice((0, 0, 1, 2))
    if cluster:
        faults += [_away(more) for _ in range(more.randint(0, 6))]
    return Plan(seed, slots, cpus, pace, servers, cluster, retries, tuple(wishes), tuple(sorted(set(faults))))


def _crowd(chance: random.Random) -> list[Wish]:
    """Jobs that come one after the other, so that there is a queue."""
    return [
        Wish(
            1000 * number + chance.randrange(1000),
            "create",
            f"crowd-{number + 1}",
            run_ms=chance.choice((1500, 4000)),
        )
        for number in range(8)
    ]


def _in_queue(chance: random.Random, wish: Wish) -> Wish:
    """A wish with what the queue asks of it."""
    return replace(
        wish,
        kind=chance.choice(("ml.m5.large", "ml.m5.large", "ml.m5.xlarge", "ml.m5.4xlarge")),
        owner=chance.choice(("", "", "ann", "bob")),
        priority=chance.choice((0, 0, 0, 5, -5)),
    )


def _life(chance: random.Random, name: str) -> list[Wish]:
    begin = chance.randrange(chance.choice((1000, CALM // 2)))
    wishes = [
        Wish(
            begin,
            "create",
            name,
            instances=chance.choice((1, 1, 2, 3)),
            exit_code=chance.choice((0, 0, 0, 3)),
            run_ms=chance.choice((0, 200, 1500, 6000)),
            limit_s=chance.choice((86_400, 86_400, 86_400, 2)),
        )
    ]
    if chance.random() < 0.35:
        wishes.append(Wish(begin + int(10 ** chance.uniform(0, 4)), "stop", name))
    if chance.random() < 0.35:
        wishes.append(Wish(begin + int(10 ** chance.uniform(2, 4.3)), "delete", name))
    return wishes


def _fault(chance: random.Random, kind: str) -> Fault:
    if kind in AT_CALL:
        return Fault(kind, int(10 ** chance.uniform(0, 2.8)), _long(chance) if kind == "meanwhile" else 0)
    if kind in (*AT_START, *AT_PREPARE, *AT_FORGET):
        return Fault(kind, chance.randint(1, 4))
    if kind in AT_MESSAGE:
        late = kind in {"message twice", "message late"}
        return Fault(kind, int(10 ** chance.uniform(0, 2)), _long(chance) if late else 0)
    if kind in AT_STEP:
        return Fault(kind, int(10 ** chance.uniform(0, 1.8)))
    at = chance.randrange(CALM * 3 // 4)
    if kind == "clock jumps":
        return Fault(kind, at, chance.choice((-1, 1)) * int(10 ** chance.uniform(2, 7)))
    return Fault(kind, at, _long(chance) if kind == "disk full" else 0)


def _away(chance: random.Random) -> Fault:
    """A machine is away for a while, and back in time to be swept."""
    at = chance.randrange(CALM * 3 // 4)
    return Fault(chance.choice(AT_MACHINE), at, _long(chance))


def _long(chance: random.Random) -> int:
    return int(10 ** chance.uniform(0, 3.9))
