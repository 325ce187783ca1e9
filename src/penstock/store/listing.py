"""Which jobs, in which order, from which place on: a page of jobs.

A page must cost the same however many jobs are on record, so every way to it leads along an index, and there are
two of them. With few conditions, or such as many jobs fulfil, the jobs are *walked* in their order until the page is
full. Where that takes more than `WALK` jobs, conditions are told by few: those are *picked* by an index of the
condition, and sorted. What neither can shorten is a condition that very many jobs fulfil, all of them far from the
order's beginning; then as many are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal, select, tuple_
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from penstock.store.dialect import Dialect
from penstock.store.tables import jobs

Columns = ReadOnlyColumnCollection[str, Any]

SortKey = Literal["Name", "CreationTime", "Status"]

_COLUMNS = {"Name": jobs.c.name, "CreationTime": jobs.c.created_at, "Status": jobs.c.status}

#: So many jobs are looked at before another way is taken.
WALK = 1000
#: Of several conditions the one is taken that fewest jobs fulfil; beyond so many they are not counted.
_COUNTED = 2000


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


def page(
    c: Connection, dialect: Dialect, query: JobQuery, count: int, after: Sequence[Any] | None
) -> Sequence[Row[Any]]:
    """At most `count` jobs of `query` beyond the place `after`, in order."""
    query = _with_creation(c, query)
    ways = list(_ways(query, dialect))
    if not ways:
        return c.execute(_walk(query, after).limit(count)).all()
    found = c.execute(_walk_a_while(query, after, count)).all()
    if len(found) == count:
        return found
    return c.execute(_pick(query, after, count, _narrowest(c, ways))).all()


def place_of(query: JobQuery, row: Row[Any]) -> list[Any]:
    """The place of a job in the order of `query`."""
    return [getattr(row, _COLUMNS[query.sort_by].name), row.name]


def _with_creation(c: Connection, query: JobQuery) -> JobQuery:
    """What a condition on the modification says of the creation, by which jobs are ordered.

    The creation is no later, and earlier by no more than the longest span that there is between the two.
    """
    span = jobs.c.modified_at - jobs.c.created_at
    after, before = query.created_after, query.created_before
    if query.modified_before is not None:
        before = min(query.modified_before, query.modified_before if before is None else before)
    if query.modified_after is not None:
        longest = c.execute(select(span).order_by(span.desc()).limit(1)).scalar() or 0
        after = max(
            query.modified_after - longest, query.modified_after - longest if after is None else after
        )
    return replace(query, created_after=after, created_before=before)


@dataclass(frozen=True)
class _Way:
    """A condition that an index answers."""

    holds: Sequence[ColumnElement[bool]]
    index: str
    """Its name in SQLite, which must be told; PostgreSQL counts for itself."""


def _ways(query: JobQuery, dialect: Dialect) -> Iterator[_Way]:
    if query.name_contains and (holds := dialect.name_holds(query.name_contains)) is not None:
        yield _Way([holds], "sqlite_autoindex_jobs_1")
    if query.sort_by != "CreationTime" and (created := _created(query, jobs.c)):
        yield _Way(created, "jobs_by_creation")
    if modified := _modified(query, jobs.c):
        yield _Way(modified, "jobs_by_modification")


def _narrowest(c: Connection, ways: Sequence[_Way]) -> _Way:
    if len(ways) == 1:
        return ways[0]

    def counted(way: _Way) -> int:
        some = _of_way(select(literal(1)).select_from(jobs), way).limit(_COUNTED).subquery()
        return c.execute(select(func.count()).select_from(some)).scalar_one()

    return min(ways, key=counted)


def _walk(query: JobQuery, after: Sequence[Any] | None) -> Select[Any]:
    """All jobs of the query, along the index that has them in their order."""
    return select(jobs).where(*_along(query, after), *_beside(query, jobs.c)).order_by(*_order(query, jobs.c))


def _walk_a_while(query: JobQuery, after: Sequence[Any] | None, count: int) -> Select[Any]:
    """Those among the first `WALK` jobs that the order's own index has."""
    walked = select(jobs).where(*_along(query, after)).order_by(*_order(query, jobs.c)).limit(WALK).subquery()
    return select(walked).where(*_beside(query, walked.c)).order_by(*_order(query, walked.c)).limit(count)


def _pick(query: JobQuery, after: Sequence[Any] | None, count: int, way: _Way) -> Select[Any]:
    """The same as `_walk`, but all that fulfil one condition are found first and sorted then."""
    column = _COLUMNS[query.sort_by]
    keys = select(jobs.c.name, column).where(*_along(query, after), *_beside(query, jobs.c))
    # Sorted by what no index has: else a database would rather walk, and hope to find the page soon.
    veiled = [column + 0 if column is jobs.c.created_at else column.concat(""), jobs.c.name.concat("")]
    first = _of_way(keys, way).order_by(*_directed(query, veiled)).limit(count).subquery()
    return select(jobs).join(first, jobs.c.name == first.c.name).order_by(*_order(query, jobs.c))


def _of_way(statement: Select[Any], way: _Way) -> Select[Any]:
    return statement.where(*way.holds).with_hint(jobs, f"INDEXED BY {way.index}", "sqlite")


def _order(query: JobQuery, columns: Columns) -> list[Any]:
    first = [] if query.sort_by == "Name" else [columns[_COLUMNS[query.sort_by].name]]
    return _directed(query, [*first, columns["name"]])


def _directed(query: JobQuery, order: Sequence[Any]) -> list[Any]:
    return [o.desc() if query.descending else o.asc() for o in order]


def _along(query: JobQuery, after: Sequence[Any] | None) -> list[ColumnElement[bool]]:
    """The conditions that the index of the order answers."""
    conditions = _created(query, jobs.c) if query.sort_by == "CreationTime" else []
    if query.status is not None:
        conditions.append(jobs.c.status == query.status)
    if after is not None:
        here: Any = jobs.c.name if query.sort_by == "Name" else tuple_(_COLUMNS[query.sort_by], jobs.c.name)
        place = after[1] if query.sort_by == "Name" else tuple(after)
        conditions.append(here < place if query.descending else here > place)
    return conditions


def _beside(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """The others."""
    conditions = [] if query.sort_by == "CreationTime" else _created(query, columns)
    conditions += _modified(query, columns)
    if query.name_contains:
        # Not LIKE, which SQLite answers without regard to case and PostgreSQL with.
        name = columns["name"]
        conditions.append(func.replace(name, query.name_contains, "") != name)
    return conditions


def _created(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns["created_at"], query.created_after, query.created_before)


def _modified(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns["modified_at"], query.modified_after, query.modified_before)


def _between(column: Any, low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    return ([] if low is None else [column >= low]) + ([] if high is None else [column <= high])
