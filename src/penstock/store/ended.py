"""Ended jobs in the order of their ends, for what goes when it is old; and whether they still have logs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, TextClause, and_, select, tuple_, update

from penstock.errors import Conflict
from penstock.job.life import Job, Phase
from penstock.store.dialect import Dialect
from penstock.store.rows import to_job
from penstock.store.tables import WITH_LOGS, jobs

FINAL = [phase.value for phase in Phase if phase.final]


class Ended:
    """The jobs that have ended. A part of the `Store`, with its connections. An ended job is not modified any more."""

    def __init__(self, dialect: Dialect) -> None:
        self._engine = dialect.engine
        self._reader = dialect.reader
        self.give_back = dialect.give_back
        """Gives some of the room that removed rows have left back to the disk."""

    def page(
        self,
        span: tuple[int, int],
        limit: int,
        after: tuple[int, str] | None = None,
        *,
        with_logs: bool = False,
    ) -> list[Job]:
        """Jobs that were modified last within a span of time, the first first, beyond the place `after`.

        Args:
            span: From when on, and before when.
            limit: How many at most.
            after: `modified_at` and name of the last one of the page before.
            with_logs: Only those whose logs have not been removed.
        """
        # The index has the times, so they are said beside the pair, too.
        first = max(span[0], after[0]) if after is not None else span[0]
        where: list[ColumnElement[bool] | TextClause]
        where = [jobs.c.modified_at >= first, jobs.c.modified_at < span[1]]
        where.append(WITH_LOGS if with_logs else jobs.c.phase.in_(FINAL))
        if after is not None:
            where.append(tuple_(jobs.c.modified_at, jobs.c.name) > after)
        page = select(jobs).where(*where).order_by(jobs.c.modified_at, jobs.c.name).limit(limit)
        with self._reader.connect() as c:
            return [to_job(r) for r in c.execute(page)]

    def with_logs(self, uids: Sequence[str]) -> set[str]:
        """Those of `uids` that jobs on record have whose logs were not removed, ended or not."""
        there = select(jobs.c.uid).where(jobs.c.uid.in_(uids), jobs.c.logs_removed_at.is_(None))
        with self._reader.connect() as c:
            return set(c.execute(there).scalars())

    def mark_logs_removed(self, job: Job, at: int) -> None:
        """Put on record that an ended job has no logs any more, before they are removed.

        Raises:
            Conflict: The job is gone, or has not ended.
        """
        same = and_(jobs.c.uid == job.uid, jobs.c.phase.in_(FINAL))
        with self._engine.begin() as c:
            if c.execute(update(jobs).where(same).values(logs_removed_at=at)).rowcount != 1:
                raise Conflict(f"Job {job.name} is gone.")
