"""Ended jobs and their logs: which go, and removing them in such an order that a crash leaves nothing half.

What is on record is whole at any moment. A job's record goes first, in one transaction, and its logs after it; logs
that go alone are marked as removed first. What a crash leaves between the two is a folder of logs that nobody knows,
and `remove_strays` finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from penstock.errors import Conflict
from penstock.job.life import Job
from penstock.store.database import Store
from penstock.store.logbook import Logbook

Kind = Literal["job", "log"]

#: How many jobs one step looks at: some milliseconds of the database's writer, each job by itself.
STEP = 50
#: How long a lock of an environment that no job needs is kept for who is about to name it.
LOCK_GRACE_MS = 86_400_000

_EVER = 1 << 62


@dataclass(frozen=True)
class Limits:
    """What goes. Times are milliseconds since the epoch; None: nothing goes for that."""

    jobs_before: int | None
    """Jobs that ended before this time."""
    logs_before: int | None
    """The logs of jobs that ended before this time."""
    logs_most: int | None = None
    """The oldest logs, until no more than so many bytes are left."""


@dataclass(frozen=True)
class Place:
    """How far steps have come."""

    kind: Kind
    after: tuple[int, str] | None = None
    """When the last job of this kind ended, and its name."""
    left: int | None = None
    """Bytes of logs that will be left; None: they need not be known."""


@dataclass(frozen=True)
class Going:
    """A job whose record goes, with its logs, or whose logs go."""

    kind: Kind
    job: Job
    bytes: int
    """Of its logs."""


class Records:
    """The ended jobs of a store, and their logs."""

    def __init__(self, store: Store, logbook: Logbook) -> None:
        self._store = store
        self._logbook = logbook

    def step(
        self, limits: Limits, place: Place | None, now: int, *, dry: bool = False, count: int = STEP
    ) -> tuple[list[Going], Place | None]:
        """What goes next, removed unless `dry`; and where to go on, None at the end."""
        if place is None:
            left = None if limits.logs_most is None else self._logbook.total()
            place = Place("job" if limits.jobs_before is not None else "log", None, left)
        if place.kind == "log":
            return self._logs(limits, place, now, dry=dry, count=count)
        assert limits.jobs_before is not None
        page = self._store.ended.page((0, limits.jobs_before), count, place.after)
        going = [Going("job", job, self._logbook.bytes_of(job.uid)) for job in page]
        gone = [one for one in going if dry or self._remove_job(one.job)]
        left = None if place.left is None else place.left - sum(one.bytes for one in gone)
        return gone, Place("job", _after(page), left) if len(page) == count else Place("log", None, left)

    def remove_strays(self) -> Iterator[None]:
        """Remove logs of which nobody knows, some at each turn."""
        uids = self._logbook.uids()
        while some := list(islice(uids, STEP)):
            known = self._store.ended.with_logs(some)
            for uid in some:
                if uid not in known:
                    self._logbook.delete(uid)
            yield

    def tidy(self, now: int) -> int:
        """Remove locks of environments that no job needs any more; how many."""
        return self._store.locks.remove_unused(now - LOCK_GRACE_MS)

    def give_back(self) -> None:
        """Give room in the database's file back to the disk: a little at a time."""
        self._store.ended.give_back()

    def _logs(
        self, limits: Limits, place: Place, now: int, *, dry: bool, count: int
    ) -> tuple[list[Going], Place | None]:
        left, most, before = place.left, limits.logs_most, limits.logs_before
        if before is None and (most is None or left is None or left <= most):
            return [], None
        # Of jobs that go themselves the logs are counted with them.
        span = (limits.jobs_before or 0, _EVER if most is not None else before or 0)
        page = self._store.ended.page(span, count, place.after, with_logs=True)
        gone: list[Going] = []
        for job in page:
            old = before is not None and job.modified_at < before
            much = most is not None and left is not None and left > most
            if not (old or much):
                return gone, None  # nor does any that ended later
            size = self._logbook.bytes_of(job.uid)
            if dry or self._remove_logs(job, now):
                gone.append(Going("log", job, size))
                left = None if left is None else left - size
        return gone, Place("log", _after(page), left) if len(page) == count else None

    def _remove_job(self, job: Job) -> bool:
        try:
            self._store.delete_job(job)
        except Conflict:
            return False  # somebody has deleted it meanwhile
        self._logbook.delete(job.uid)
        return True

    def _remove_logs(self, job: Job, now: int) -> bool:
        try:
            self._store.ended.mark_logs_removed(job, now)
        except Conflict:
            return False
        self._logbook.delete(job.uid)
        return True


def _after(page: Sequence[Job]) -> tuple[int, str]:
    return page[-1].modified_at, page[-1].name
