"""Which processors and graphics cards the runs of a home have taken, so that the next one takes others.

A run holds a lock on one byte of a file for each, which the kernel lets go however the run ends. Nothing is refused
for it: what is asked for beyond what is free is shared.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

#: Where the bytes of each kind begin.
_PARTS = {"cpus": 0, "gpus": 1 << 20}


class Claims:
    """What this run has taken; to be closed with its end."""

    def __init__(self, path: Path) -> None:
        """Open the file that all runs of a home share; it is made when it isn't there."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, kind: Literal["cpus", "gpus"], there: Sequence[int], count: int) -> tuple[int, ...]:
        """`count` of the numbers in `there`, in their order: free ones, then others by chance."""
        free: list[int] = []
        for number in there:
            if len(free) == count:
                break
            if self._lock(_PARTS[kind] + number):
                free.append(number)
        others = [number for number in there if number not in free]
        return tuple(sorted([*free, *random.sample(others, min(count - len(free), len(others)))]))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let all go."""
        os.close(self._file)

    def _lock(self, place: int) -> bool:
        """Lock one byte, for this open file alone: struct flock of fcntl(2)."""
        wanted = struct.pack("@hhqqi", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, wanted)
        except OSError:
            return False
        return True
