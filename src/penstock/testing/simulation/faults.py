"""Which fault is due at which call, message or step: counts them and looks them up in the plan."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping

from sqlalchemy.exc import OperationalError

from penstock.errors import InternalFailure
from penstock.testing.simulation.plan import (
    AT_CALL,
    AT_FORGET,
    AT_MESSAGE,
    AT_PREPARE,
    AT_START,
    AT_STEP,
    Fault,
)

_NOTHING: Mapping[str, int] = {}
_CLASSES = {
    "call": AT_CALL,
    "start": AT_START,
    "prepare": AT_PREPARE,
    "forget": AT_FORGET,
    "message": AT_MESSAGE,
    "step": AT_STEP,
}


class Crash(BaseException):
    """The server is dead: unwinds whatever it was doing."""


class StoreError(OperationalError):
    """The database is locked, or its disk is full."""

    def __init__(self, words: str) -> None:
        super().__init__("a statement", {}, Exception(words))


class DiskError(OSError):
    """The disk is full, or too many files are open."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "No space left on device")


class Surprise(RuntimeError):
    """An error that nobody has thought of."""


#: What the simulation raises; whatever else a dispatcher meets is a defect.
OURS = (StoreError, DiskError, Surprise, InternalFailure)


class Faults:
    """The faults of a plan that lie at the n-th of something."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._due: dict[str, dict[int, dict[str, int]]] = {one: {} for one in _CLASSES}
        self._count = dict.fromkeys(_CLASSES, 0)
        self.calm = False
        """Whether nothing goes wrong any more."""
        self.disk_full = False
        for fault in faults:
            for one, kinds in _CLASSES.items():
                if fault.kind in kinds:
                    self._due[one].setdefault(fault.at, {})[fault.kind] = fault.amount

    def call(self) -> Mapping[str, int]:
        """What happens at the next call of a server; fault -> amount."""
        return self._next("call")

    def message(self) -> Mapping[str, int]:
        """What happens to the next message."""
        return self._next("message")

    def step(self) -> Mapping[str, int]:
        """What happens at a runner's next step."""
        return self._next("step")

    def of(self, kind: str) -> Mapping[str, int]:
        """What happens at the next start, prepare or forget."""
        return self._next(kind)

    def _next(self, one: str) -> Mapping[str, int]:
        self._count[one] += 1
        if self.calm:
            return _NOTHING
        return self._due[one].get(self._count[one], _NOTHING)
