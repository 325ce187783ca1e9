"""Which jobs, in which order, from which place on: the conditions of a page of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, Select, and_, func, or_, select

from penstock.store.tables import jobs

SortKey = Literal["Name", "CreationTime", "Status"]

_COLUMNS = {"Name": jobs.c.name, "CreationTime": jobs.c.created_at, "Status": jobs.c.status}


@dataclass(frozen=True)
class JobQuery:
    """Which jobs, in which order. Times are inclusive milliseconds; None means no condition."""

    created_after: int | None = None
    created_before: int | None = None
    modified_after: int | None = None
    modified_before: int | None = None
    name_contains: str | None = None
    status: str | None = None
    sort_by: SortKey = "CreationTime"
    descending: bool = False


def statement(query: JobQuery, after: Sequence[Any] | None) -> Select[Any]:
    """The jobs of `query` beyond the place `after`, in order."""
    column = _COLUMNS[query.sort_by]
    where = _conditions(query)
    if after is not None:
        value, name = after
        beyond, tied = (
            (column < value, jobs.c.name < name) if query.descending else (column > value, jobs.c.name > name)
        )
        where.append(or_(beyond, and_(column == value, tied)))
    order = [column, jobs.c.name]
    return select(jobs).where(*where).order_by(*(o.desc() if query.descending else o.asc() for o in order))


def place_of(query: JobQuery, row: Row[Any]) -> list[Any]:
    """The place of a job in the order of `query`."""
    return [getattr(row, _COLUMNS[query.sort_by].name), row.name]


def _conditions(query: JobQuery) -> list[Any]:
    conditions: list[Any] = []
    if query.created_after is not None:
        conditions.append(jobs.c.created_at >= query.created_after)
    if query.created_before is not None:
        conditions.append(jobs.c.created_at <= query.created_before)
    if query.modified_after is not None:
        conditions.append(jobs.c.modified_at >= query.modified_after)
    if query.modified_before is not None:
        conditions.append(jobs.c.modified_at <= query.modified_before)
    if query.name_contains:
        # Not LIKE, which SQLite answers without regard to case and PostgreSQL with.
        conditions.append(func.replace(jobs.c.name, query.name_contains, "") != jobs.c.name)
    if query.status is not None:
        conditions.append(jobs.c.status == query.status)
    return conditions
