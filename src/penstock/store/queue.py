"""How the queue is read: a few columns of the jobs that wait, never their requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, literal_column, select, true

from penstock.store.tables import QUEUED, jobs

_COLUMNS = ("uid", "name", "owner", "cpus", "memory", "gpus", "instances", "created_at", "priority")


def waiting(first: int | None, *, lateral: bool) -> Select[Any]:
    """The claims of the jobs that wait; with `first` only so many of each owner and priority, the oldest.

    Then what is read grows with the owners and not with the queue, but for one walk through the index `jobs_queued`.

    Args:
        first: How many; None: all.
        lateral: Whether the database lets a subquery name what stands before it: `IN` has PostgreSQL read all jobs.
    """
    if first is None:
        return select(*_claim(jobs)).where(QUEUED)
    groups = select(jobs.c.priority, jobs.c.owner).where(QUEUED).distinct().subquery("groups")
    line = jobs.alias("line")
    of_group = and_(
        line.c.phase == literal_column("'queued'"),
        line.c.priority == groups.c.priority,
        line.c.owner == groups.c.owner,
    )

    def oldest(columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return select(*columns).where(of_group).order_by(line.c.created_at, line.c.uid).limit(first)

    if lateral:
        heads = oldest(_claim(line)).lateral("heads")
        return select(*_claim(heads)).select_from(groups.join(heads, true()))
    uids = oldest([line.c.uid]).correlate(groups).scalar_subquery()
    return select(*_claim(jobs)).select_from(groups.join(jobs, jobs.c.uid.in_(uids)))


def _claim(table: FromClause) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in _COLUMNS]
