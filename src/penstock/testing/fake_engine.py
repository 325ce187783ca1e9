"""An engine without processes: its runs do what the test says, when the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.engines.base import Life, Machine, Remains, Reservation, alone
from penstock.errors import InternalFailure
from penstock.job.claim import Claim, Resources
from penstock.job.events import HostEvent
from penstock.job.run import Run


@dataclass
class FakeRun:
    """One run and what has been done to it."""

    run: Run
    life: Life = Life.NEVER_STARTED
    starts: int = 0
    stops: int = 0
    left: list[HostEvent] = field(default_factory=list)
    """Events that its server was not told, for `remains`."""
    log: bytes = b""
    manifest: bytes = b""
    last_words: str = ""


class FakeEngine:
    """An engine that starts nothing.

    Knobs: `room` is its capacity; `lacks` is what it says to be lacking for a job, by what that wants; `reservation` is
    what it answers to all who want room; `wanted`, once it is a list, has the names of those who found none;
    `start_error` makes every start fail; `on_start` and `on_stop` are called with
    the run that was started or asked to stop, and may change it; `runs` holds what tests look at and change.
    """

    def __init__(
        self,
        room: Resources = Resources(64, 1 << 40, 8, 64),  # noqa: B008 - frozen
        name: str = "fake",
    ) -> None:
        self.name = name
        self.room = room
        self.lacks: Callable[[Resources], str | None] = lambda _: None
        self.reservation = Reservation()
        self.wanted: list[str] | None = None
        self.cancelled: list[str] = []
        self.runs: dict[str, FakeRun] = {}
        self.forgotten: list[str] = []
        self.start_error: str | None = None
        self.on_start: Callable[[FakeRun], None] = lambda _: None
        self.on_stop: Callable[[FakeRun], None] = lambda _: None

    def warm_up(self) -> None:
        """Nothing takes a while."""

    def close(self) -> None:
        """Nothing was made ready."""

    def capacity(self) -> Resources:
        """What the test has set."""
        return self.room

    def parts(self) -> Sequence[FakeEngine]:
        """It is of one piece."""
        return (self,)

    def machines(self) -> Sequence[Machine]:
        """One, with all runs."""
        jobs: dict[str, list[str]] = {}
        for handle in self.runs:
            uid, _, host = handle.partition("/")
            jobs.setdefault(uid, []).append(host)
        return [Machine("fake-1", "", self.name, self.room, jobs=jobs)]

    def lacking(self, wanted: Resources) -> str | None:
        """What the test says."""
        return self.lacks(wanted)

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:  # noqa: ARG002
        """What the test has set, with the notes of an engine of one machine."""
        return replace(self.reservation, notes=alone(wanted, self.room).notes)

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """Look at them, if the test does."""
        if self.wanted is not None:
            self.wanted = [claim.name for claim in waiting()]

    def cancel(self, job_uid: str) -> None:
        """Note it."""
        self.cancelled.append(job_uid)

    def prepare(self, run: Run) -> str:
        """Remember the run."""
        self.runs.setdefault(run.handle, FakeRun(run))
        return run.handle

    def knows(self, handle: str) -> bool:
        """Whether it remembers the run."""
        return handle in self.runs

    def start(self, handle: str) -> None:
        """Count the start, or fail as `start_error` says."""
        if self.start_error is not None:
            raise InternalFailure(self.start_error)
        found = self.runs.get(handle)
        if found is None:
            raise InternalFailure(f"The runner could not be started: {handle} was never prepared.")
        if found.life is Life.ALIVE or any(event.kind == "ended" for event in found.left):
            return
        found.life = Life.ALIVE
        found.starts += 1
        self.on_start(found)

    def probe(self, handle: str) -> Life:
        """Whatever the test has set."""
        found = self.runs.get(handle)
        return Life.NEVER_STARTED if found is None else found.life

    def stop(self, handle: str) -> None:
        """Count the wish of a living run."""
        found = self.runs.get(handle)
        if found is not None and found.life is Life.ALIVE:
            found.stops += 1
            self.on_stop(found)

    def remains(self, handle: str, log_from: int) -> Remains:
        """What the test has left there."""
        found = self.runs.get(handle)
        if found is None:
            return Remains([], b"", "")
        return Remains(found.left, found.log[log_from:], found.last_words)

    def manifest(self, handle: str, start: int) -> bytes:
        """What the test has left there."""
        found = self.runs.get(handle)
        return b"" if found is None else found.manifest[start:]

    def forget(self, handle: str) -> None:
        """Remove the run."""
        self.runs.pop(handle, None)
        self.forgotten.append(handle)

    def sweep(self, keep: set[str]) -> None:
        """Forget the dead that are not to be kept."""
        for handle in list(self.runs):
            if handle not in keep and self.runs[handle].life is not Life.ALIVE:
                self.forget(handle)

    def tidy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - as the protocol has it
        """It has no machines."""
        return {}
