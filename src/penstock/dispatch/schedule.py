"""Which of the waiting jobs may start now, and what the others wait for. Pure.

Jobs claim processors, memory, graphics cards and instances, and a plan gives them out:

- by priority, the higher first;
- among equals fairly between owners: whose jobs hold the smaller share of the machine comes first, where a share is
  that of the resource they hold most of ("dominant resource fairness", Ghodsi et al., NSDI 2011);
- an owner's own jobs in the order in which they came.

A job larger than the machine takes all of it, and so runs alone.

A job that finds no room lets those behind it pass, but not for ever: once it has waited `PATIENCE_MS`, nothing that
it has to wait for is given to anybody behind it, so that large jobs are not starved by small ones.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from penstock.job.claim import Claim, Resources

#: How long a job that finds no room lets others pass, in milliseconds.
PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Wait:
    """Why a job does not start yet."""

    claim: Claim
    position: int
    """1 for the one that is next."""
    missing: Resources
    """What it lacks of the room that is left; all zero when it waits for those before it alone."""
    behind: str | None
    """The job that the room is kept for."""


@dataclass
class Plan:
    """What a look at the queue led to."""

    start: list[Claim] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    """The others, next first; not complete when it was asked for starts alone."""
    closed: bool = False
    """Whether nothing could be started behind the last of `waits`, so that nobody was looked at there."""


def plan(
    capacity: Resources,
    holding: Iterable[Claim],
    waiting: Iterable[Claim],
    now: int,
    *,
    patience: int = PATIENCE_MS,
    explain: bool = False,
) -> Plan:
    """Give out what is free.

    Args:
        capacity: The machine's.
        holding: The jobs that have been started and have not ended.
        waiting: Those that have not been started, in any order.
        now: Milliseconds since the epoch.
        patience: For how many milliseconds a job that finds no room lets others pass.
        explain: Look at every waiting job, and not only as far as something can be started.
    """
    result = Plan()
    holding = list(holding)
    held = _held(capacity, holding)
    free = left(capacity, holding)
    behind: str | None = None
    for position, claim in enumerate(_in_order(waiting, held, capacity)):
        wanted = claim.resources.of(capacity)
        if behind is None and wanted.within(free):
            free -= wanted
            held[claim.owner] = held.get(claim.owner, Resources()) + wanted
            result.start.append(claim)
            continue
        place = position - len(result.start) + 1
        result.waits.append(Wait(claim, place, _missing(wanted, free), behind))
        if behind is None and now - claim.created_at >= patience:
            behind = claim.name
        if not explain and (behind is not None or not _any_room(free, capacity)):
            result.closed = True
            break
    return result


def is_whole(made: Plan, waiting: Iterable[Claim], heads: Iterable[Claim], first: int) -> bool:
    """Whether a plan starts the same jobs as one that knows all who wait: nobody's line was at its end too early.

    Args:
        made: The plan.
        waiting: Those whom it was made of, some of the heads.
        heads: The first of each line, which are those of one engine, priority and owner.
        first: How many were read of each.
    """
    left = Counter(map(_line, waiting))
    left.subtract(map(_line, made.start))
    left.subtract(_line(wait.claim) for wait in made.waits)
    read = Counter(map(_line, heads))
    if made.closed:
        del read[_line(made.waits[-1].claim)]  # whoever is behind that one is not started
    return all(left[line] or count < first for line, count in read.items())


def room(capacity: Resources, holding: Iterable[Claim]) -> bool:
    """Whether anything at all could start beside what has been started."""
    return _any_room(left(capacity, holding), capacity)


def left(capacity: Resources, holding: Iterable[Claim]) -> Resources:
    """What those that have been started leave; below zero where the machine had more when they began."""
    free = capacity
    for claim in holding:
        free -= claim.resources.of(capacity)
    return free


def in_order(capacity: Resources, holding: Iterable[Claim], waiting: Iterable[Claim]) -> Iterator[Claim]:
    """Those who wait in the order of their turn, as if none were started."""
    return _in_order(waiting, _held(capacity, holding), capacity)


def _held(capacity: Resources, holding: Iterable[Claim]) -> dict[str, Resources]:
    """What each owner's jobs take."""
    held: dict[str, Resources] = {}
    for claim in holding:
        held[claim.owner] = held.get(claim.owner, Resources()) + claim.resources.of(capacity)
    return held


def _in_order(waiting: Iterable[Claim], held: dict[str, Resources], capacity: Resources) -> Iterator[Claim]:
    """Claims in the order of their turn; `held` is read anew before each, since it grows with what is started."""
    by_priority: dict[int, dict[str, list[Claim]]] = {}
    for claim in waiting:
        by_priority.setdefault(claim.priority, {}).setdefault(claim.owner, []).append(claim)
    for priority in sorted(by_priority, reverse=True):
        queues = {owner: deque(sorted(claims, key=_age)) for owner, claims in by_priority[priority].items()}
        turns = [_turn(owner, queues[owner], held, capacity) for owner in queues]
        heapq.heapify(turns)
        while turns:
            *_, owner = heapq.heappop(turns)
            yield queues[owner].popleft()
            if queues[owner]:
                heapq.heappush(turns, _turn(owner, queues[owner], held, capacity))


def _turn(
    owner: str, queue: Sequence[Claim], held: dict[str, Resources], capacity: Resources
) -> tuple[float, tuple[int, str], str]:
    return held.get(owner, Resources()).share(capacity), _age(queue[0]), owner


def _line(claim: Claim) -> tuple[str, int, str]:
    """In which line a job waits."""
    return claim.engine, claim.priority, claim.owner


def _age(claim: Claim) -> tuple[int, str]:
    return claim.created_at, claim.uid


def _missing(wanted: Resources, free: Resources) -> Resources:
    pairs = zip(wanted.amounts, free.amounts, strict=True)
    return Resources(*(max(0, want - there) for want, there in pairs))


def _any_room(free: Resources, capacity: Resources) -> bool:
    """Whether anything at all could start: every job takes an instance and, as far as known, a processor."""
    return free.instances > 0 and (free.cpus > 0 or not capacity.cpus)
