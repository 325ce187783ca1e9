"""Which jobs, in which order, from which place on: a page of jobs.

A page must cost the same however many jobs are on record, so every way to it leads along an index, and there are
three of them. With few conditions, or such as many jobs fulfil, the jobs are *walked* in their order until the page is
full. Where that takes more than `WALK` jobs, those stretches of the order are walked that may have jobs of the page
(`stretches.py`), and the others are skipped. Where that takes more than `SKIP` jobs, conditions are told by few, here
and there: those are *picked* by an index of the condition, and sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    Table,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from penstock.job.life import STATUS
from penstock.store.dialect import Dialect
from penstock.store.stretches import MOST, NAMES, TIMES, letters
from penstock.store.tables import ACTIVE, jobs

Columns = ReadOnlyColumnCollection[str, Any]

SortKey = Literal["Name", "CreationTime", "Status"]

_COLUMNS = {"Name": jobs.c.name, "CreationTime": jobs.c.created_at, "Status": jobs.c.status}

#: So many jobs are walked before another way is taken.
WALK = 500
#: And so many within stretches.
SKIP = 10_000
#: To ask for jobs once more costs as much as to walk so many.
_ASKED = 200
#: So many stretches that follow each other are walked at once.
_TOGETHER = 4
#: Of several conditions the one is taken that fewest jobs fulfil; beyond so many they are not counted.
_COUNTED = 10_000

#: In the order of a list by status.
_STATUSES = sorted(set(STATUS.values()))
_ACTIVE_STATUSES = {status for phase, status in STATUS.items() if not phase.final}


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
    if query.sort_by == "Status":
        return _by_status(c, dialect, query, count, after)
    if query.modified_before is not None:
        # No job is changed before it is created.
        bounds = [at for at in (query.created_before, query.modified_before) if at is not None]
        query = replace(query, created_before=min(bounds))
    if not _beside(query, jobs.c):
        return c.execute(_walk(query, after, count)).all()
    found = c.execute(_walk(query, after, count, first=WALK)).all()
    if len(found) == count:
        return found
    active = _Way([ACTIVE], "jobs_by_status")
    if query.status in _ACTIVE_STATUSES:
        return c.execute(_pick(query, after, count, active)).all()
    # Before the stretches: a job that ends meanwhile is found in both, else in neither.
    found = c.execute(_pick(query, after, count, active)).all()
    ended = _skip(c, query, after, count, bounded=bool(ways := list(_ways(query, dialect))))
    if ended is None:
        return c.execute(_pick(query, after, count, _narrowest(c, ways))).all()
    merged = {row.name: row for row in (*found, *ended)}.values()
    return sorted(merged, key=lambda row: place_of(query, row), reverse=query.descending)[:count]


def place_of(query: JobQuery, row: Row[Any]) -> list[Any]:
    """The place of a job in the order of `query`."""
    return [getattr(row, _COLUMNS[query.sort_by].name), row.name]


def _by_status(
    c: Connection, dialect: Dialect, query: JobQuery, count: int, after: Sequence[Any] | None
) -> Sequence[Row[Any]]:
    """One status after the other, each by name."""
    found: list[Row[Any]] = []
    for status in reversed(_STATUSES) if query.descending else _STATUSES:
        if query.status not in {None, status} or len(found) == count:
            continue
        if after is not None and (status > after[0] if query.descending else status < after[0]):
            continue
        of_it = replace(query, status=status, sort_by="Name")
        place = after if after is not None and after[0] == status else None
        found += page(c, dialect, of_it, count - len(found), place)
    return found


def _skip(
    c: Connection, query: JobQuery, after: Sequence[Any] | None, count: int, *, bounded: bool
) -> Sequence[Row[Any]] | None:
    """Jobs of the stretches that may have some. None where that takes too long, if it is bounded."""
    found: list[Row[Any]] = []
    walked = 0
    for begin, end, size in _runs(c, query, after):
        if bounded and walked > SKIP:
            return None
        found += c.execute(_walk(query, after, count - len(found), within=(begin, end))).all()
        if len(found) == count:
            break
        walked += size + _ASKED
    return found


def _runs(
    c: Connection, query: JobQuery, after: Sequence[Any] | None
) -> Iterator[tuple[Any, Any | None, int]]:
    """Where stretches that may have jobs of the page begin and end, and how many those have; some at once."""
    order = NAMES if query.sort_by == "Name" else TIMES
    wanted = letters(query.name_contains) if query.name_contains else {}
    run: list[Any] = []
    for begin, end, size, held in c.execute(_stretches(order.table, query, after, bool(wanted))):
        if wanted and not all(held[at] & bits == bits for at, bits in wanted.items()):
            continue
        touches = run and (run[0] == end if query.descending else run[1] == begin)
        if run and not (touches and run[2] < _TOGETHER * MOST):
            yield run[0], run[1], run[2]
            run = []
        if not run:
            run = [begin, end, size]
        elif query.descending:
            run = [begin, run[1], run[2] + size]
        else:
            run = [run[0], end, run[2] + size]
    if run:
        yield run[0], run[1], run[2]


def _stretches(table: Table, query: JobQuery, after: Sequence[Any] | None, with_letters: bool) -> Select[Any]:
    """Those whose times may be right, in order: where they begin and end, how many jobs they have, their letters."""
    s, other = table.c, table.alias().c
    # The next one that is cut off from it begins where it ends.
    end = select(func.min(other.begins)).where(other.begins > s.begins).correlate(table).scalar_subquery()
    low, high = (None, None) if query.sort_by == "Name" else (query.created_after, query.created_before)
    if after is not None:
        place = after[1] if query.sort_by == "Name" else after[0]
        low, high = (low, place) if query.descending else (place, high)
    where = []
    for column, least, most in (
        ("created", query.created_after, query.created_before),
        ("modified", query.modified_after, query.modified_before),
    ):
        where += [] if least is None else [s[f"{column}_last"] >= least]
        where += [] if most is None else [s[f"{column}_first"] <= most]
    if low is not None:
        last = select(func.max(other.begins)).where(other.begins <= low).scalar_subquery()
        where.append(or_(last.is_(None), s.begins >= last))
    if high is not None:
        where.append(s.begins <= high)
    held = s.letters if with_letters else null()
    order = s.begins.desc() if query.descending else s.begins
    return select(s.begins, end, s.jobs, held).where(*where).order_by(order)


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


def _walk(
    query: JobQuery,
    after: Sequence[Any] | None,
    count: int,
    *,
    first: int | None = None,
    within: tuple[Any, Any | None] | None = None,
) -> Select[Any]:
    """At most `count` jobs of the query, along the index that has them in their order.

    Of that order the first so many, or what is `within` two keys; the whole of it without either.
    """
    along = _along(query, after)
    if within is not None:
        key = _COLUMNS[query.sort_by]
        along += [key >= within[0]] + ([] if within[1] is None else [key < within[1]])
    if not _beside(query, jobs.c):
        return select(jobs).where(*along).order_by(*_order(query, jobs.c)).limit(count)
    # Rows are read whole when it is known which ones: requests may be long.
    keys = [jobs.c.name]
    if query.sort_by == "CreationTime" or _created(query, jobs.c):
        keys.append(jobs.c.created_at)
    if _modified(query, jobs.c):
        keys.append(jobs.c.modified_at)
    walked = (
        select(*keys)
        .where(*along)
        .order_by(*_order(query, jobs.c))
        .with_hint(jobs, f"INDEXED BY {_index(query)}", "sqlite")
        # Also without a limit it is a part of its own: else a database may think of another order.
        .limit(first)
        .offset(0)
        .subquery()
    )
    few = select(walked.c.name).where(*_beside(query, walked.c)).order_by(*_order(query, walked.c)).limit(count)
    return _whole(query, few.subquery())


def _whole(query: JobQuery, few: Subquery) -> Select[Any]:
    return select(jobs).join(few, jobs.c.name == few.c.name).order_by(*_order(query, jobs.c))


def _index(query: JobQuery) -> str:
    """The name of the index of the order, in SQLite."""
    if query.sort_by == "Name":
        return "sqlite_autoindex_jobs_1" if query.status is None else "jobs_by_status_and_name"
    return "jobs_by_creation" if query.status is None else "jobs_by_status"


def _pick(query: JobQuery, after: Sequence[Any] | None, count: int, way: _Way) -> Select[Any]:
    """The same as `_walk`, but all that fulfil one condition are found first and sorted then."""
    column = _COLUMNS[query.sort_by]
    keys = select(jobs.c.name, column).where(*_along(query, after), *_beside(query, jobs.c))
    # Sorted by what no index has: else a database would rather walk, and hope to find the page soon.
    veiled = [column + 0 if column is jobs.c.created_at else column.concat(""), jobs.c.name.concat("")]
    return _whole(query, _of_way(keys, way).order_by(*_directed(query, veiled)).limit(count).subquery())


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
    return _between(columns, "created_at", query.created_after, query.created_before)


def _modified(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns, "modified_at", query.modified_after, query.modified_before)


def _between(columns: Columns, name: str, low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    least = [] if low is None else [columns[name] >= low]
    return least + ([] if high is None else [columns[name] <= high])
