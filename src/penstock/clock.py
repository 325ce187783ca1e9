"""The clock. Loops read it; all they call is given `now`."""

from __future__ import annotations

import time


def elapsed() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def now() -> int:
    """The wall clock in whole milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000
