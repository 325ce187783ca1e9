"""How the queue is read: a few columns of the jobs that wait, never their requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, bindparam, func, literal_column, select, true

from penstock.store.tables import QUEUED, jobs

_COLUMNS = ("uid", "name", "owner", "cpus", "memory", "gpus", "instances", "created_at", "priority")


def everything() -> Select[Any]:
    """The claims of all jobs that wait."""
    return select(*_claim(jobs)).where(QUEUED)


def heads(*, lateral: bool) -> Select[Any]:
    """The claims of the oldest jobs that wait, so many of each owner and priority as the parameter `first` says.

    What is read grows with the owners, and not with the queue.

    Args:
        lateral: Whether the database lets a subquery name what stands before it: `IN` has PostgreSQL read all jobs.
    """
    groups = _groups()
    line = jobs.alias("line")
    of_group = and_(
        line.c.phase == literal_column("'queued'"),
        line.c.priority == groups.c.priority,
        line.c.owner == groups.c.owner,
    )

    def oldest(columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return (
            select(*columns).where(of_group).order_by(line.c.created_at, line.c.uid).limit(bindparam("first"))
        )

    if lateral:
        found = oldest(_claim(line)).lateral("heads")
        return select(*_claim(found)).select_from(groups.join(found, true()))
    uids = oldest([line.c.uid]).correlate(groups).scalar_subquery()
    return select(*_claim(jobs)).select_from(groups.join(jobs, jobs.c.uid.in_(uids)))


def _groups() -> FromClause:
    """Each priority and owner of which jobs wait.

    They are found by leaping from one to the next in the index `jobs_queued`: DISTINCT would walk through all of it.
    """
    least = func.min(jobs.c.priority)
    priorities = select(least.label("priority")).where(QUEUED).cte("priorities", recursive=True)
    higher = select(least).where(QUEUED, jobs.c.priority > priorities.c.priority)
    # After the last one comes a row of nothing, here and below.
    priorities = priorities.union_all(
        select(higher.correlate(priorities).scalar_subquery()).where(priorities.c.priority.is_not(None))
    )
    place = priorities.c.priority
    owner = select(func.min(jobs.c.owner)).where(QUEUED, jobs.c.priority == place)
    owners = (
        select(place.label("priority"), owner.correlate(priorities).scalar_subquery().label("owner"))
        .where(place.is_not(None))
        .cte("owners", recursive=True)
    )
    other = select(func.min(jobs.c.owner)).where(
        QUEUED, jobs.c.priority == owners.c.priority, jobs.c.owner > owners.c.owner
    )
    owners = owners.union_all(
        select(owners.c.priority, other.correlate(owners).scalar_subquery()).where(
            owners.c.owner.is_not(None)
        )
    )
    return select(owners.c.priority, owners.c.owner).where(owners.c.owner.is_not(None)).subquery("groups")


def _claim(table: FromClause) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in _COLUMNS]
