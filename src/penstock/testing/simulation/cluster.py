"""A cluster of simulated machines, which are cut off from everybody else and come back, or lose power for a while."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from penstock.engines.base import Life, Remains
from penstock.errors import InternalFailure
from penstock.testing.simulation.engine import SimulatedEngine
from penstock.testing.simulation.faults import Surprise

#: How many there are.
MACHINES = 3
#: How long a runner's lease is, in milliseconds: some cuts are longer, and some are not.
RUNNER_LEASE = 5000


def machine_of(handle: str) -> int:
    """On which machine a run has its place."""
    return zlib.crc32(handle.encode()) % MACHINES


class Cluster:
    """The engine of a server whose runs are on other machines."""

    def __init__(self, engine: SimulatedEngine, refused: Callable[[str], None]) -> None:
        """`refused` is told of a run that could not be started because its machine was away."""
        self._engine = engine
        self._refused = refused
        self._cuts = dict.fromkeys(range(MACHINES), 0)

    def __getattr__(self, name: str) -> Any:
        """All else is as on one machine."""
        return getattr(self._engine, name)

    def cut(self, machine: int) -> None:
        """Nothing comes to it or from it until it is healed as often."""
        self._cuts[machine] += 1

    def heal(self, machine: int) -> None:
        """It is back."""
        self._cuts[machine] -= 1

    def is_away(self, handle: str) -> bool:
        """Whether a run's machine is cut off."""
        return self._cuts[machine_of(handle)] > 0

    def start(self, handle: str) -> None:
        """Start the runner; refused where its machine is away."""
        if self.is_away(handle):
            self._refused(handle)
            raise InternalFailure("The runner could not be started: its machine is out of reach.")
        self._engine.start(handle)

    def probe(self, handle: str) -> Life:
        """Unknown as long as its machine is away."""
        return Life.UNKNOWN if self.is_away(handle) else self._engine.probe(handle)

    def stop(self, handle: str) -> None:
        """Does not come to a machine that is away."""
        if not self.is_away(handle):
            self._engine.stop(handle)

    def remains(self, handle: str, log_from: int) -> Remains:
        """Only of a machine that is there."""
        self._reach(handle)
        return self._engine.remains(handle, log_from)

    def manifest(self, handle: str, start: int) -> bytes:
        """Only of a machine that is there."""
        self._reach(handle)
        return self._engine.manifest(handle, start)

    def forget(self, handle: str) -> None:
        """What is on a machine that is away stays until a sweep that it is there for."""
        if not self.is_away(handle):
            self._engine.forget(handle)

    def sweep(self, keep: set[str]) -> None:
        """On all machines that are there."""
        away = {handle for handle in self._engine.runs if self.is_away(handle)}
        self._engine.sweep(keep | away)

    def _reach(self, handle: str) -> None:
        if self.is_away(handle):
            raise Surprise(f"the machine of {handle} is out of reach")
