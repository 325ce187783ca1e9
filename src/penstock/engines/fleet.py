"""Several engines as one: each job goes to one of them, and its runs are found there again.

Which part a job waits for is on its record (`job.claim.Choice`), and the dispatcher plans for each part by itself, so
that nobody waits for room that is not theirs. Of runs that were prepared only the handle is known, also by a server
that has just been started: their engine is the one that knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from penstock.engines.base import Engine, Life, Machine, Remains, Reservation
from penstock.job.claim import Claim, Resources
from penstock.job.run import Run


class Fleet:
    """The engines of one server."""

    name = "fleet"

    def __init__(self, parts: Sequence[Engine], others: Sequence[Engine] = ()) -> None:
        """`others` begin nothing: they have runs of a time when the server had them as parts."""
        self._parts = tuple(parts)
        self._all = (*parts, *others)
        self._asked: dict[str, Engine] = {}

    def parts(self) -> Sequence[Engine]:
        """Those that begin jobs."""
        return self._parts

    def warm_up(self) -> None:
        """All of them."""
        for engine in self._all:
            engine.warm_up()

    def close(self) -> None:
        """All of them."""
        for engine in self._all:
            engine.close()

    def capacity(self) -> Resources:
        """Of all parts together."""
        return sum((part.capacity() for part in self._parts), Resources())

    def machines(self) -> Sequence[Machine]:
        """All machines of all parts, and of the others those on which jobs still are."""
        return [
            machine
            for engine in self._all
            for machine in engine.machines()
            if machine.jobs or engine in self._parts
        ]

    def lacking(self, wanted: Resources) -> str | None:
        """Why none of the parts could ever; in the words of the last."""
        reasons = [part.lacking(wanted) for part in self._parts]
        return None if None in reasons else reasons[-1]

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:
        """By the first part that could: who knows which part a job is for asks that."""
        if job_uid not in self._asked:
            able = (part for part in self._parts if part.lacking(wanted) is None)
            self._asked[job_uid] = next(able, self._parts[-1])
        return self._asked[job_uid].reserve(job_uid, wanted, beside)

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """Nothing: those who wait for one part are none of the others' business."""

    def cancel(self, job_uid: str) -> None:
        """Whoever has given it room."""
        self._asked.pop(job_uid, None)
        for engine in self._all:
            engine.cancel(job_uid)

    def prepare(self, run: Run) -> str:
        """By the part that was asked for room."""
        return self._asked.get(run.job_uid, self._parts[0]).prepare(run)

    def knows(self, handle: str) -> bool:
        """Whether any does."""
        return any(engine.knows(handle) for engine in self._all)

    def start(self, handle: str) -> None:
        """By the one that knows it, as all that follows."""
        self._of(handle).start(handle)

    def probe(self, handle: str) -> Life:
        """Whether the runner lives."""
        return self._of(handle).probe(handle)

    def stop(self, handle: str) -> None:
        """Ask the runner to stop."""
        self._of(handle).stop(handle)

    def remains(self, handle: str, log_from: int) -> Remains:
        """What a dead runner left behind."""
        return self._of(handle).remains(handle, log_from)

    def manifest(self, handle: str, start: int) -> bytes:
        """Read on in its upload manifest."""
        return self._of(handle).manifest(handle, start)

    def forget(self, handle: str) -> None:
        """Remove all that is left of it."""
        engine = self._of(handle)
        engine.forget(handle)
        if not engine.knows(handle):
            self._asked.pop(handle.partition("/")[0], None)

    def sweep(self, keep: set[str]) -> None:
        """All of them; what is another's is nothing to any."""
        for engine in self._all:
            engine.sweep(keep)

    def tidy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """All of them."""
        return {name: told for engine in self._all for name, told in engine.tidy(asked).items()}

    def _of(self, handle: str) -> Engine:
        """Whose run that is. Of one that nobody knows, each would say the same."""
        return next((engine for engine in self._all if engine.knows(handle)), self._parts[0])
