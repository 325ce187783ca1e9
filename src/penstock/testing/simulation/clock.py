"""Simulated time: what happens next, and what the machine's clock says of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable

#: When every simulation begins, in milliseconds since the epoch.
EPOCH = 1_800_000_000_000


class Clock:
    """True time, which only goes forward, and the wall clock, which jumps."""

    def __init__(self) -> None:
        self.true = 0
        """Milliseconds since the simulation began."""
        self.skew = 0
        """How far the wall clock is wrong, in milliseconds."""
        self.latest = EPOCH
        """The latest time that the wall clock has ever shown."""

    def wall(self) -> int:
        """What the machine's clock shows, in milliseconds since the epoch."""
        shown = EPOCH + self.true + self.skew
        self.latest = max(self.latest, shown)
        return shown


class Agenda:
    """What will happen, in order of time; at the same time in the order in which it was planned."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, milliseconds: int, action: Callable[[], None]) -> None:
        """Plan `action` for so much later."""
        self._count += 1
        heapq.heappush(self._heap, (self._clock.true + milliseconds, self._count, action))

    def next(self, until: int) -> Callable[[], None] | None:
        """Move the clock to what happens next and return it; None when nothing does by the time `until`."""
        if not self._heap or self._heap[0][0] > until:
            return None
        at, _, action = heapq.heappop(self._heap)
        # What a pause has made late happens now: time never goes back.
        self._clock.true = max(self._clock.true, at)
        return action
