"""New jobs on their way into the database: with their tags, the locks that they name, and the components of some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from penstock.errors import Conflict, InUse, LockGone, Missing
from penstock.job.life import Job
from penstock.store import job_components
from penstock.store.bare import Cursors
from penstock.store.dialect import Dialect
from penstock.store.locks import Locks
from penstock.store.rows import job_row
from penstock.store.statements import Statements
from penstock.store.stretches import Stretches

#: A job and its tags.
New = tuple[Job, Mapping[str, str]]
#: Why a job was refused.
Fate = Conflict | Missing | None


class NewJobs:
    """A part of the `Store`, with its connections."""

    def __init__(
        self, dialect: Dialect, cursors: Cursors, say: Statements, locks: Locks, stretches: Stretches
    ) -> None:
        self._dialect = dialect
        self._cursors = cursors
        self._say = say
        self._locks = locks
        self._stretches = stretches

    def add(self, new: Sequence[New]) -> list[Fate]:
        """As `Store.add_jobs`."""
        fates: list[Fate] = [None] * len(new)
        # By their names: of two writers that come with the same ones, neither waits for the other in a circle.
        order = sorted(range(len(new)), key=lambda place: new[place][0].name)
        plain = [place for place in order if new[place][0].trial_component is None]
        if plain:
            with self._cursors.write() as cursor:
                gone = self._locks_gone(cursor, [new[place][0] for place in plain])
                for place in plain:
                    fates[place] = self._put(cursor, *new[place], gone)
        for place in order:
            if new[place][0].trial_component is not None:
                fates[place] = self._add_with_component(*new[place])
        return fates

    def _add_with_component(self, job: Job, its_tags: Mapping[str, str]) -> Fate:
        try:
            with self._dialect.engine.begin() as c, closing(c.connection.cursor()) as cursor:
                refused = self._put(cursor, job, its_tags, self._locks_gone(cursor, [job]))
                if refused is None:
                    job_components.enter(c, self._dialect, job, its_tags)
        except (InUse, Missing) as error:
            return error
        return refused

    def _locks_gone(self, cursor: Any, new: Sequence[Job]) -> list[str]:
        wanted = {job.lock: job.created_at for job in new if job.lock is not None}
        return [name for name in sorted(wanted) if not self._locks.name(cursor, name, wanted[name])]

    def _put(
        self, cursor: Any, job: Job, its_tags: Mapping[str, str], gone: Sequence[str]
    ) -> Conflict | None:
        if job.lock in gone:
            return LockGone(f"The lock {job.lock} is gone.")
        if self._say.new_job.run(cursor, **job_row(job)) != 1:
            return Conflict(f"A job named {job.name} exists.")
        if job.phase.final:
            self._stretches.widen(cursor, job)
        for key, value in its_tags.items():
            self._say.new_tag.run(cursor, arn=job.arn, key=key, value=value)
        return None
