"""Which jobs, in which order, from which place on: a page of jobs.

A page must cost the same however many jobs are on record, so every way to it leads along an index, and there are
three of them. Without conditions beside the order's own the jobs are *walked* in their order until the page is full.
Else the walk *skips* those stretches of the order that can have no job of the page (`stretches.py`), in one statement
that ends when the page is full. What few jobs fulfil, here and there, is *picked* by an index of it, and sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, and_, func, literal, select, true

from penstock.job.life import STATUS, Phase
from penstock.store.dialect import Dialect
from penstock.store.job_query import (
    COLUMNS,
    ROW,
    VEILED,
    VEILED_ROW,
    JobQuery,
    along,
    beside,
    beyond,
    created,
    directed,
    held,
    later,
    modified,
    ordered,
    veil,
)
from penstock.store.stretches import NAMES, TIMES, Order, letters
from penstock.store.tables import jobs

__all__ = ["JobQuery", "page", "place_of"]

#: Jobs are picked by a time that at most so many fulfil: they lie beside each other.
NEAR = 2000
#: And by a part of their names that at most so many have, which lie here and there.
FEW = 500
#: Before it is asked how many have it, so many stretches are walked, or `MANY` times as many for a status that few
#: jobs have: a step from name to name costs a hundredth of what it does to pick a job.
TRIED = 8
MANY = 32

_ACTIVE = sorted({status for phase, status in STATUS.items() if not phase.final})
_ENDED = sorted(set(STATUS.values()) - set(_ACTIVE))


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
    if not beside(dialect, query, jobs.c):
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
    return [getattr(row, COLUMNS[query.sort_by].name), row.name]


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
                most = MANY * TRIED if query.sort_by == "Status" else _tried(part)
                first = c.execute(_first(part, passing, most)).scalars().all()
            these = first[: _tried(part)]
            if these:
                within = [*passing, begins.between(min(these), max(these))]
                found += c.execute(_skip(dialect, part, place, count - len(found), within)).all()
            rest = len(found) < count and len(these) == _tried(part)
            if rest:
                if named is not None:
                    few = c.execute(named.limit(FEW + 1)).scalars().all()
                    if len(few) <= FEW:
                        return _Way([jobs.c.name.in_(few)], "sqlite_autoindex_jobs_1")
                    named = None
                passing.append(later(part, begins, these[-1]))
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
        (jobs.c.created_at, created(query, jobs.c), "jobs_by_creation"),
        (jobs.c.modified_at, modified(query, jobs.c), "jobs_by_modification"),
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
    some, others = along(query, after), beside(dialect, query, jobs.c)
    if not others:
        return select(jobs).where(*some).order_by(*ordered(query, jobs.c)).limit(count)
    # Rows are read whole when it is known which ones: requests may be long.
    walked = select(jobs.c.name).where(*some, *others).order_by(*ordered(query, jobs.c)).limit(count)
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
    next_one = order.table.alias()
    end = select(func.min(next_one.c.begins)).where(next_one.c.begins > begins).correlate(stretches)
    within = and_(order.key >= veil(begins), order.key < func.coalesce(end.scalar_subquery(), order.top))
    found = select(jobs.c.name, order.key).where(*held(dialect, query))
    if query.status is not None:
        found = found.where(jobs.c.status == query.status)
    if after is not None:
        found = found.where(beyond(query, after, VEILED))
    apart = dialect.lateral and bool(query.name_contains)
    veiled = VEILED_ROW if apart else VEILED
    times = modified(query, veiled)
    if query.sort_by == "CreationTime":
        found = found.where(*created(query, VEILED))
    else:
        times += created(query, veiled)
    if not dialect.lateral:
        found = found.select_from(stretches.join(jobs, within)).where(*times, *passing)
        found = found.order_by(*directed(query, [begins]), *ordered(query, jobs.c)).limit(count)
        return _whole(query, _hinted(found, _index(query)))
    each = found.where(within).order_by(*ordered(query, jobs.c))
    if times and apart:
        # All that the names need is in the index. PostgreSQL would read each row for its time first.
        named = each.correlate(stretches).lateral()
        each = select(named).join(ROW, ROW.c.name == named.c.name).order_by(*ordered(query, named.c))
    # Each stretch has a limit of its own: else PostgreSQL may sort all of them.
    some = each.where(*times).limit(count).lateral()
    merged = select(some.c.name).select_from(stretches.join(some, true()))
    return _whole(query, merged.order_by(*directed(query, [begins]), *ordered(query, some.c)).limit(count))


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
    some = select(each).order_by(*directed(query, [each])).subquery()
    return some, some.c.begins


def _first(query: JobQuery, passing: Sequence[ColumnElement[bool]], count: int) -> Select[Any]:
    """Where the first stretches begin of which this is true."""
    begins = _stretched(query).begins
    return select(begins).where(*passing).order_by(*directed(query, [begins])).limit(count)


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
    where = (*way.holds, *along(query, after), *beside(dialect, query, jobs.c))
    # Sorted by what no index has: else a database would rather walk, and hope to find the page soon.
    keys = select(jobs.c.name, COLUMNS[query.sort_by]).where(*where)
    return _whole(query, _hinted(keys.order_by(*ordered(query, VEILED)).limit(count), way.index))


def _whole(query: JobQuery, few: Select[Any]) -> Select[Any]:
    found = few.subquery()
    # Sorted by what no index has: else SQLite would look for each of the jobs in order among the few.
    return select(jobs).join(found, jobs.c.name == found.c.name).order_by(*ordered(query, VEILED))


def _hinted(statement: Select[Any], index: str) -> Select[Any]:
    return statement.with_hint(jobs, f"INDEXED BY {index}", "sqlite")


def _index(query: JobQuery) -> str:
    """The name of the index of the order, in SQLite."""
    if query.sort_by == "Name":
        return "sqlite_autoindex_jobs_1" if query.status is None else "jobs_by_status_and_name"
    return "jobs_by_creation" if query.status is None else "jobs_by_status"
