"""Which jobs, in which order, from which place on: a page of jobs.

A page must cost the same however many jobs are on record, so every way to it leads along an index, and there are
three of them. Without conditions beside the order's own the jobs are *walked* in their order until the page is full.
Else the walk *skips* those stretches of the order that can have no job of the page (`stretches.py`), in one statement
that ends when the page is full. What few jobs fulfil, here and there, is *picked* by an index of it, and sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from penstock.job.life import STATUS, Phase
from penstock.store.dialect import Dialect
from penstock.store.stretches import NAMES, TIMES, Order, letters
from penstock.store.tables import jobs

#: By their names.
Columns = Mapping[str, ColumnElement[Any]] | ReadOnlyColumnCollection[str, Any]

SortKey = Literal["Name", "CreationTime", "Status"]

_COLUMNS = {"Name": jobs.c.name, "CreationTime": jobs.c.created_at, "Status": jobs.c.status}

#: Jobs are picked by a time that at most so many fulfil: they lie beside each other.
NEAR = 2000
#: And by a part of their names that at most so many have, which lie here and there.
FEW = 500
#: Before it is asked how many have it, so many stretches are walked, or `MANY` times as many for a status that few
#: jobs have: a step from name to name costs a hundredth of what it does to pick a job.
TRIED = 8
MANY = 16

_ACTIVE = sorted({status for phase, status in STATUS.items() if not phase.final})
_ENDED = sorted(set(STATUS.values()) - set(_ACTIVE))


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
    if query.sort_by == "Status" and query.status is not None:
        parts = _parts(query, after, [query.status])
        return [row for part, place in parts for row in page(c, dialect, part, count, place)]
    if query.modified_before is not None:
        # No job is changed before it is created.
        bounds = [at for at in (query.created_before, query.modified_before) if at is not None]
        query = replace(query, created_before=min(bounds))
    if not _beside(dialect, query, jobs.c):
        return c.execute(_walk(dialect, query, after, count)).all()
    way = _near(c, query)
    if way is not None:
        return c.execute(_pick(dialect, query, after, count, way)).all()
    found: list[Row[Any]] = []
    # Before the ended ones: a job that ends meanwhile is found in both, else in neither.
    for part, place in _parts(query, after, _ACTIVE):
        found += c.execute(_walk(dialect, part, place, count)).all()
    if query.status not in _ACTIVE:
        ended = _ended(c, dialect, query, after, count)
        if isinstance(ended, _Way):
            return c.execute(_pick(dialect, query, after, count, ended)).all()
        found += ended
    by_name = {row.name: row for row in found}.values()
    return sorted(by_name, key=lambda row: place_of(query, row), reverse=query.descending)[:count]


def place_of(query: JobQuery, row: Row[Any]) -> list[Any]:
    """The place of a job in the order of `query`."""
    return [getattr(row, _COLUMNS[query.sort_by].name), row.name]


def _parts(
    query: JobQuery, after: Sequence[Any] | None, statuses: Sequence[str]
) -> Iterator[tuple[JobQuery, Sequence[Any] | None]]:
    """The query for each of these statuses, and the place in it: by name, where the list is one by status."""
    for status in reversed(statuses) if query.descending else statuses:
        part, place = replace(query, status=status), after
        if query.sort_by == "Status":
            part = replace(part, sort_by="Name")
            if after is not None and after[0] != status:
                if status > after[0] if query.descending else status < after[0]:
                    continue
                place = None
        if query.status in {None, status}:
            yield part, place


def _ended(
    c: Connection, dialect: Dialect, query: JobQuery, after: Sequence[Any] | None, count: int
) -> list[Row[Any]] | _Way:
    """Jobs of the stretches; or the condition by which all jobs are better picked."""
    found: list[Row[Any]] = []
    named = dialect.names_with(query.name_contains) if query.name_contains else None
    first: Sequence[Any] | None = None
    for part, place in _parts(query, after, _ENDED) if query.sort_by == "Status" else [(query, after)]:
        begins, passing = _stretched(part).begins, _passing(dialect, part, place)
        rest = True
        if query.name_contains:
            if first is None or after is not None:
                first = c.execute(_first(part, passing)).scalars().all()
            these = first[: _tried(part)]
            if these:
                last = begins >= these[-1] if part.descending else begins <= these[-1]
                within = [*passing, last]
                found += c.execute(_skip(dialect, part, place, count - len(found), within)).all()
            rest = len(found) < count and len(these) == _tried(part)
            if rest:
                if named is not None:
                    few = c.execute(named.limit(FEW + 1)).scalars().all()
                    if len(few) <= FEW:
                        return _Way([jobs.c.name.in_(few)], "sqlite_autoindex_jobs_1")
                    named = None
                passing.append(_later(part, begins, these[-1]))
        if rest:
            found += c.execute(_skip(dialect, part, place, count - len(found), passing)).all()
        if len(found) == count:
            break
    return found


@dataclass(frozen=True)
class _Way:
    """A condition that an index answers."""

    holds: Sequence[ColumnElement[bool]]
    index: str
    """Its name in SQLite, which must be told; PostgreSQL counts for itself."""


def _near(c: Connection, query: JobQuery) -> _Way | None:
    """The time that the fewest jobs fulfil, if these are few."""
    ways, counts = [], []
    for column, holds, index in (
        (jobs.c.created_at, _created(query, jobs.c), "jobs_by_creation"),
        (jobs.c.modified_at, _modified(query, jobs.c), "jobs_by_modification"),
    ):
        if holds:
            # In their order: else PostgreSQL may read the table, and hope to have found enough of them soon.
            some = select(literal(1)).select_from(jobs).where(*holds).order_by(column).limit(NEAR + 1)
            counted = select(func.count()).select_from(_hinted(some, index).subquery())
            counts.append(counted.scalar_subquery())
            ways.append(_Way(holds, index))
    if not ways:
        return None
    least, way = min(zip(c.execute(select(*counts)).one(), ways, strict=True), key=itemgetter(0))
    return way if least <= NEAR else None


def _walk(dialect: Dialect, query: JobQuery, after: Sequence[Any] | None, count: int) -> Select[Any]:
    """At most `count` jobs of the query, along the index that has them in their order."""
    along, beside = _along(query, after), _beside(dialect, query, jobs.c)
    if not beside:
        return select(jobs).where(*along).order_by(*_order(query, jobs.c)).limit(count)
    # Rows are read whole when it is known which ones: requests may be long.
    walked = select(jobs.c.name).where(*along, *beside).order_by(*_order(query, jobs.c)).limit(count)
    return _whole(query, _hinted(walked, _index(query)))


def _skip(
    dialect: Dialect,
    query: JobQuery,
    after: Sequence[Any] | None,
    count: int,
    passing: Sequence[ColumnElement[bool]],
) -> Select[Any]:
    """The same, but only in stretches of which `passing` is true.

    Whatever is said of a job besides its stretch and status is veiled, so that no database reads by it.
    """
    order = _stretched(query)
    stretches, begins = _in_order(dialect, query, order, passing)
    later = order.table.alias()
    end = select(func.min(later.c.begins)).where(later.c.begins > begins).correlate(stretches)
    within = and_(order.key >= _veil(begins), order.key < func.coalesce(end.scalar_subquery(), order.top))
    found = select(jobs.c.name, order.key).where(*_held(dialect, query))
    if query.status is not None:
        found = found.where(jobs.c.status == query.status)
    if after is not None:
        found = found.where(_beyond(query, after, _VEILED))
    apart = dialect.lateral and bool(query.name_contains)
    veiled = _VEILED_ROW if apart else _VEILED
    times = _modified(query, veiled)
    if query.sort_by == "CreationTime":
        found = found.where(*_created(query, _VEILED))
    else:
        times += _created(query, veiled)
    if not dialect.lateral:
        found = found.select_from(stretches.join(jobs, within)).where(*times, *passing)
        found = found.order_by(*_directed(query, [begins]), *_order(query, jobs.c)).limit(count)
        return _whole(query, _hinted(found, _index(query)))
    each = found.where(within).order_by(*_order(query, jobs.c))
    if times and apart:
        # All that the names need is in the index. PostgreSQL would read each row for its time first.
        named = each.correlate(stretches).lateral()
        each = select(named).join(_ROW, _ROW.c.name == named.c.name).order_by(*_order(query, named.c))
    # Each stretch has a limit of its own: else PostgreSQL may sort all of them.
    some = each.where(*times).limit(count).lateral()
    merged = select(some.c.name).select_from(stretches.join(some, true()))
    return _whole(query, merged.order_by(*_directed(query, [begins]), *_order(query, some.c)).limit(count))


def _in_order(
    dialect: Dialect, query: JobQuery, order: Order, passing: Sequence[ColumnElement[bool]]
) -> tuple[FromClause, ColumnElement[Any]]:
    """Stretches as what a join begins with, and where each begins.

    SQLite reads them in their order by itself. PostgreSQL can't tell how many pass, and gets them ready-made.
    """
    if not dialect.lateral:
        return order.table, order.begins
    gathered = func.array(select(order.begins).where(*passing).scalar_subquery())
    each = func.unnest(gathered, type_=order.begins.type).column_valued("begins")
    some = select(each).order_by(*_directed(query, [each])).subquery()
    return some, some.c.begins


def _first(query: JobQuery, passing: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Where the first stretches begin of which this is true."""
    begins = _stretched(query).begins
    return select(begins).where(*passing).order_by(*_directed(query, [begins])).limit(MANY * TRIED)


def _tried(query: JobQuery) -> int:
    return TRIED if query.status in {None, STATUS[Phase.COMPLETED]} else MANY * TRIED


def _stretched(query: JobQuery) -> Order:
    return TIMES if query.sort_by == "CreationTime" else NAMES


def _passing(dialect: Dialect, query: JobQuery, after: Sequence[Any] | None) -> list[ColumnElement[bool]]:
    """What is true of a stretch that may have jobs of the page."""
    order = _stretched(query)
    s = order.table.c
    where: list[ColumnElement[bool]] = []
    if after is not None:
        place = after[1] if query.sort_by == "Name" else after[0]
        other = order.table.alias()
        has_it = select(func.max(other.c.begins)).where(other.c.begins <= place).scalar_subquery()
        where.append(s.begins <= place if query.descending else s.begins >= has_it)
    for column, least, most in (
        ("created", query.created_after, query.created_before),
        ("modified", query.modified_after, query.modified_before),
    ):
        where += [] if least is None else [s[f"{column}_last"] >= least]
        where += [] if most is None else [s[f"{column}_first"] <= most]
    if query.name_contains:
        where.append(dialect.has_bits(s.letters, letters(query.name_contains)))
    return where


def _pick(
    dialect: Dialect, query: JobQuery, after: Sequence[Any] | None, count: int, way: _Way
) -> Select[Any]:
    """The same as `_walk`, but all that fulfil one condition are found first and sorted then."""
    where = (*way.holds, *_along(query, after), *_beside(dialect, query, jobs.c))
    # Sorted by what no index has: else a database would rather walk, and hope to find the page soon.
    keys = select(jobs.c.name, _COLUMNS[query.sort_by]).where(*where)
    return _whole(query, _hinted(keys.order_by(*_order(query, _VEILED)).limit(count), way.index))


def _whole(query: JobQuery, few: Select[Any]) -> Select[Any]:
    found = few.subquery()
    # Sorted by what no index has: else SQLite would look for each of the jobs in order among the few.
    return select(jobs).join(found, jobs.c.name == found.c.name).order_by(*_order(query, _VEILED))


def _hinted(statement: Select[Any], index: str) -> Select[Any]:
    return statement.with_hint(jobs, f"INDEXED BY {index}", "sqlite")


def _index(query: JobQuery) -> str:
    """The name of the index of the order, in SQLite."""
    if query.sort_by == "Name":
        return "sqlite_autoindex_jobs_1" if query.status is None else "jobs_by_status_and_name"
    return "jobs_by_creation" if query.status is None else "jobs_by_status"


def _veil(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same value, as no index has it."""
    return column + 0 if isinstance(column.type, BigInteger) else column.concat("")


def _veiled(table: FromClause) -> Columns:
    return {name: _veil(table.c[name]) for name in ("name", "status", "created_at", "modified_at")}


_VEILED = _veiled(jobs)
#: Jobs whose names were found, looked at once more.
_ROW = jobs.alias()
_VEILED_ROW = _veiled(_ROW)


def _order(query: JobQuery, columns: Columns) -> list[Any]:
    first = [] if query.sort_by == "Name" else [columns[_COLUMNS[query.sort_by].name]]
    return _directed(query, [*first, columns["name"]])


def _directed(query: JobQuery, order: Sequence[Any]) -> list[Any]:
    return [o.desc() if query.descending else o.asc() for o in order]


def _beyond(query: JobQuery, after: Sequence[Any], columns: Columns) -> ColumnElement[bool]:
    by_name = query.sort_by == "Name"
    key: Any = columns[_COLUMNS[query.sort_by].name]
    here: Any = key if by_name else tuple_(key, columns["name"])
    return _later(query, here, after[1] if by_name else tuple(after))


def _later(query: JobQuery, here: Any, place: Any) -> ColumnElement[bool]:
    later: ColumnElement[bool] = here < place if query.descending else here > place
    return later


def _along(query: JobQuery, after: Sequence[Any] | None) -> list[ColumnElement[bool]]:
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
        (highs if query.descending else lows).append((at, _beyond(query, after, jobs.c)))
    # Of two at the same value the last one says more.
    conditions = [max(reversed(lows), key=itemgetter(0))[1]] if lows else []
    conditions += [min(reversed(highs), key=itemgetter(0))[1]] if highs else []
    if query.status is not None:
        conditions.append(jobs.c.status == query.status)
    return conditions


def _beside(dialect: Dialect, query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """The others; first what the index of the order has."""
    created = [] if query.sort_by == "CreationTime" else _created(query, columns)
    return [*_held(dialect, query), *created, *_modified(query, columns)]


def _held(dialect: Dialect, query: JobQuery) -> list[ColumnElement[bool]]:
    # Not LIKE, which SQLite answers without regard to case and PostgreSQL with.
    return [dialect.position(jobs.c.name, query.name_contains) > 0] if query.name_contains else []


def _created(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns["created_at"], query.created_after, query.created_before)


def _modified(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns["modified_at"], query.modified_after, query.modified_before)


def _between(at: ColumnElement[int], low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    return ([] if low is None else [at >= low]) + ([] if high is None else [at <= high])
