"""What is asked of a list of jobs, and how its conditions, its order and a place in it are said of a job's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, FromClause, tuple_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from penstock.store.dialect import Dialect
from penstock.store.tables import jobs

#: By their names.
Columns = Mapping[str, ColumnElement[Any]] | ReadOnlyColumnCollection[str, Any]

#: What a list may be sorted by.
SortKey = Literal["Name", "CreationTime", "Status"]

#: The columns of these.
COLUMNS = {"Name": jobs.c.name, "CreationTime": jobs.c.created_at, "Status": jobs.c.status}


#: What a list may ask, and of which columns.
CONDITIONS = {
    "created_after": jobs.c.created_at,
    "created_before": jobs.c.created_at,
    "modified_after": jobs.c.modified_at,
    "modified_before": jobs.c.modified_at,
    "name_contains": jobs.c.name,
    "status": jobs.c.status,
}


@dataclass(frozen=True)
class JobQuery:
    """Which jobs, in which order. Times are inclusive milliseconds; None means no condition.

    A statement is written for one that has parameters in the place of values.
    """

    created_after: int | None = None
    created_before: int | None = None
    modified_after: int | None = None
    modified_before: int | None = None
    name_contains: str | None = None
    status: str | None = None
    sort_by: SortKey = "CreationTime"
    descending: bool = False


def nearest(query: JobQuery, after: Sequence[Any] | None) -> tuple[JobQuery, Sequence[Any] | None]:
    """The same page, said by the nearest ends: of several on one side SQLite would begin at the first that it reads."""
    before, since = query.created_before, query.created_after
    if query.modified_before is not None:
        # No job is changed before it is created.
        before = query.modified_before if before is None else min(before, query.modified_before)
    if after is not None and query.sort_by == "CreationTime":
        if query.descending and before is not None:
            before, after = min(before, after[0]), None if before < after[0] else after
        elif not query.descending and since is not None:
            since, after = max(since, after[0]), None if since > after[0] else after
    # Every name has the empty part.
    part = query.name_contains or None
    return replace(query, created_before=before, created_after=since, name_contains=part), after


def is_plain(query: JobQuery) -> bool:
    """Whether the index of its order answers all that is asked."""
    times = [query.modified_after, query.modified_before]
    if query.sort_by != "CreationTime":
        times += [query.created_after, query.created_before]
    return query.name_contains is None and all(at is None for at in times)


def veil(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same value, as no index has it."""
    return column + 0 if isinstance(column.type, BigInteger) else column.concat("")


def _veiled(table: FromClause) -> Columns:
    return {name: veil(table.c[name]) for name in ("name", "status", "created_at", "modified_at")}


#: The columns of a job, as no index has them.
VEILED = _veiled(jobs)
#: Jobs whose names were found, looked at once more.
ROW = jobs.alias()
VEILED_ROW = _veiled(ROW)


def ordered(query: JobQuery, columns: Columns) -> list[Any]:
    """What a list is sorted by."""
    first = [] if query.sort_by == "Name" else [columns[COLUMNS[query.sort_by].name]]
    return directed(query, [*first, columns["name"]])


def directed(query: JobQuery, order: Sequence[Any]) -> list[Any]:
    """Those, up or down as the list goes."""
    return [o.desc() if query.descending else o.asc() for o in order]


def beyond(query: JobQuery, after: Sequence[Any], columns: Columns) -> ColumnElement[bool]:
    """That a job comes beyond the place `after`."""
    by_name = query.sort_by == "Name"
    key: Any = columns[COLUMNS[query.sort_by].name]
    here: Any = key if by_name else tuple_(key, columns["name"])
    place: Any = after[1] if by_name else tuple_(*after)
    beyond: ColumnElement[bool] = here < place if query.descending else here > place
    return beyond


def along(query: JobQuery, after: Sequence[Any] | None) -> list[ColumnElement[bool]]:
    """The conditions that the index of the order answers: an end on each side, and the status."""
    low, high = query.created_after, query.created_before
    if query.sort_by != "CreationTime":
        low = high = None
    if after is not None:
        # It says more than a time on its side.
        low, high = (low, None) if query.descending else (None, high)
    conditions = _between(jobs.c.created_at, low, high)
    if after is not None:
        conditions.append(beyond(query, after, jobs.c))
    if query.status is not None:
        conditions.append(jobs.c.status == query.status)
    return conditions


def beside(dialect: Dialect, query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """The others; first what the index of the order has."""
    times = [] if query.sort_by == "CreationTime" else created(query, columns)
    return [*held(dialect, query), *times, *modified(query, columns)]


def held(dialect: Dialect, query: JobQuery) -> list[ColumnElement[bool]]:
    """What is asked of its name."""
    # Not LIKE, which SQLite answers without regard to case and PostgreSQL with.
    return [] if query.name_contains is None else [dialect.position(jobs.c.name, query.name_contains) > 0]


def created(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """What is asked of the time of its creation."""
    return _between(columns["created_at"], query.created_after, query.created_before)


def modified(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """And of its last change."""
    return _between(columns["modified_at"], query.modified_after, query.modified_before)


def _between(at: ColumnElement[int], low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    return ([] if low is None else [at >= low]) + ([] if high is None else [at <= high])
