"""What is asked of a list of jobs, and how its conditions, its order and a place in it are said of a job's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
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
    return later(query, here, after[1] if by_name else tuple(after))


def later(query: JobQuery, here: Any, place: Any) -> ColumnElement[bool]:
    """That something comes beyond a place in the direction of the list."""
    after: ColumnElement[bool] = here < place if query.descending else here > place
    return after


def along(query: JobQuery, after: Sequence[Any] | None) -> list[ColumnElement[bool]]:
    """The conditions that the index of the order answers.

    Of several ends on one side the nearest: SQLite would begin at the first one that it reads.
    """
    lows, highs = [], []
    if query.sort_by == "CreationTime":
        key = jobs.c.created_at
        lows += [] if query.created_after is None else [(query.created_after, key >= query.created_after)]
        highs += [] if query.created_before is None else [(query.created_before, key <= query.created_before)]
    if after is not None:
        at = after[1] if query.sort_by == "Name" else after[0]
        (highs if query.descending else lows).append((at, beyond(query, after, jobs.c)))
    # Of two at the same value the last one says more.
    conditions = [max(reversed(lows), key=itemgetter(0))[1]] if lows else []
    conditions += [min(reversed(highs), key=itemgetter(0))[1]] if highs else []
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
    return [dialect.position(jobs.c.name, query.name_contains) > 0] if query.name_contains else []


def created(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """What is asked of the time of its creation."""
    return _between(columns["created_at"], query.created_after, query.created_before)


def modified(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """And of its last change."""
    return _between(columns["modified_at"], query.modified_after, query.modified_before)


def _between(at: ColumnElement[int], low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    return ([] if low is None else [at >= low]) + ([] if high is None else [at <= high])
