"""How the queue is read: a few columns of the jobs that wait, never their requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    FromClause,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    select,
    true,
    update,
)

from penstock.config import ENGINES
from penstock.job.claim import ENGINE, Choice
from penstock.store.tables import QUEUED, jobs, tags

_COLUMNS = (
    "uid", "name", "owner", "cpus", "memory", "gpus", "instances", "created_at", "priority", "engine",
)  # fmt: skip


def everything() -> Select[Any]:
    """The claims of all jobs that wait."""
    return select(*_claim(jobs)).where(QUEUED)


def heads(*, lateral: bool) -> Select[Any]:
    """The claims of the oldest jobs that wait, so many of each line as the parameter `first` says.

    A line is those of one engine, priority and owner.

    What is read grows with the lines, and not with the queue.

    Args:
        lateral: Whether the database lets a subquery name what stands before it: `IN` has PostgreSQL read all jobs.
    """
    groups = _groups()
    line = jobs.alias("line")
    of_group = and_(
        line.c.phase == literal_column("'queued'"),
        line.c.engine == groups.c.engine,
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


def assigned(choice: Choice) -> Update:
    """Have all jobs that wait, wait for the engine that they would be given now."""
    wanted = choice.here
    named = select(tags.c.value).where(
        tags.c.arn == jobs.c.arn, tags.c.key == ENGINE, tags.c.value.in_(ENGINES)
    )
    if choice.default is not None or len(choice.engines) == 1:
        other: ColumnElement[Any] = literal(choice.of({}, wanted))
    else:
        fits = and_(
            jobs.c.instances == 1,
            jobs.c.cpus <= wanted.cpus,
            jobs.c.memory <= wanted.memory,
            jobs.c.gpus <= wanted.gpus,
        )
        other = case((fits, choice.engines[0]), else_=choice.engines[-1])
    engine = func.coalesce(named.scalar_subquery(), other)
    return update(jobs).where(QUEUED, jobs.c.engine != engine).values(engine=engine)


def _groups() -> FromClause:
    """Each engine, priority and owner of which jobs wait.

    They are found by leaping from one to the next in the index `jobs_queued`: DISTINCT would walk through all of it.
    """
    found = _each(jobs.c.owner, _each(jobs.c.priority, _each(jobs.c.engine, None)))
    return select(found).where(found.c.owner.is_not(None)).subquery("groups")


def _each(column: Column[Any], before: CTE | None) -> CTE:
    """Beside each row of `before` what a column has among those that wait there; after the last a row of nothing."""
    keys = [] if before is None else list(before.c)
    here = and_(QUEUED, *(jobs.c[key.name] == key for key in keys))
    least = func.min(column)
    if before is None:
        first = select(least.label(column.name)).where(here)
    else:
        value = select(least).where(here).correlate(before).scalar_subquery()
        first = select(*keys, value.label(column.name)).where(keys[-1].is_not(None))
    found = first.cte(f"each_{column.name}", recursive=True)
    beyond = and_(
        QUEUED, *(jobs.c[key.name] == found.c[key.name] for key in keys), column > found.c[column.name]
    )
    following = select(least).where(beyond).correlate(found).scalar_subquery()
    return found.union_all(
        select(*(found.c[key.name] for key in keys), following).where(found.c[column.name].is_not(None))
    )


def _claim(table: FromClause) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in _COLUMNS]
