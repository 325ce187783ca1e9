"""The statements by which a page of jobs is read, each written for the conditions of a list and not for their values.

So each is written and compiled once, and the driver runs it with the values of every list that has the same ones: to
write it anew took longer than the database needs to answer it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    true,
)

from penstock.job.life import STATUS
from penstock.store.bare import Bare
from penstock.store.dialect import Dialect
from penstock.store.functions import in_list
from penstock.store.job_query import (
    COLUMNS,
    CONDITIONS,
    ROW,
    VEILED,
    VEILED_ROW,
    JobQuery,
    SortKey,
    along,
    beside,
    beyond,
    created,
    directed,
    held,
    modified,
    ordered,
    veil,
)
from penstock.store.stretches import NAMES, TIMES, Order
from penstock.store.tables import jobs

#: The statuses of jobs that have not ended, which few have.
ACTIVE_ONES = sorted({status for phase, status in STATUS.items() if not phase.final})
#: So many statements are kept, of some hundreds that there may be.
_KEPT = 256
_NO_BITS: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Shape:
    """What a statement is written for."""

    dialect: Dialect
    query: JobQuery
    """With parameters in the place of values."""
    after: Sequence[BindParameter[Any]] | None
    """The place of a job, if the page begins after one."""
    bits: int
    """How many parameters say the bits of a part of a name."""


#: What writes a statement.
Way = Callable[[Shape], Select[Any]]

#: How many jobs or stretches are read at most.
_COUNT: BindParameter[int] = bindparam("count", type_=Integer)


class Ways:
    """The statements of a database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._written = lru_cache(_KEPT)(self._write)

    def rows(
        self,
        cursor: Any,
        way: Way,
        query: JobQuery,
        after: Sequence[Any] | None = None,
        *,
        bits: Mapping[str, Any] = _NO_BITS,
        **more: Any,
    ) -> list[Any]:
        """What a way finds. `more` are the values of its own parameters."""
        values = {name: value for name in CONDITIONS if (value := getattr(query, name)) is not None}
        order = query.sort_by, query.descending
        rare = query.status if query.status in ACTIVE_ONES else None
        written = self._written(way, tuple(values), rare, order, after is not None, len(bits))
        if after is not None:
            values |= {"key": after[0], "name": after[1]}
        return written.rows(cursor, **values, **bits, **more)

    def _write(
        self,
        way: Way,
        given: Sequence[str],
        rare: str | None,
        order: tuple[SortKey, bool],
        placed: bool,
        bits: int,
    ) -> Bare:
        parameters: dict[str, Any] = {name: bindparam(name, type_=CONDITIONS[name].type) for name in given}
        if rare is not None:
            # As it is: of a parameter PostgreSQL can't tell how few jobs have it, and makes a plan for each list.
            parameters["status"] = literal_column(f"'{rare}'", String)
        query = JobQuery(**parameters, sort_by=order[0], descending=order[1])
        place = [bindparam("key", type_=COLUMNS[query.sort_by].type), bindparam("name", type_=String)]
        shape = Shape(self._dialect, query, place if placed else None, bits)
        return Bare(self._dialect.engine, way(shape))


def near(shape: Shape) -> Select[Any]:
    """How many jobs fulfil each time that is asked for; no more are counted than asked for."""
    counts = []
    for by, (column, holds, index) in _times(shape.query).items():
        if holds:
            # In their order: else PostgreSQL may read the table, and hope to have found enough of them soon.
            some = select(literal(1)).select_from(jobs).where(*holds).order_by(column).limit(_COUNT)
            counted = select(func.count()).select_from(_hinted(some, index).subquery())
            counts.append(counted.scalar_subquery().label(by))
    return select(*counts)


def _times(query: JobQuery) -> Mapping[str, tuple[ColumnElement[int], list[ColumnElement[bool]], str]]:
    return {
        "created": (jobs.c.created_at, created(query, jobs.c), "jobs_by_creation"),
        "modified": (jobs.c.modified_at, modified(query, jobs.c), "jobs_by_modification"),
    }


def walk(shape: Shape) -> Select[Any]:
    """Jobs of the query, along the index that has them in their order."""
    query = shape.query
    some, others = along(query, shape.after), beside(shape.dialect, query, jobs.c)
    if not others:
        return select(jobs).where(*some).order_by(*ordered(query, jobs.c)).limit(_COUNT)
    # Rows are read whole when it is known which ones: requests may be long.
    walked = select(jobs.c.name).where(*some, *others).order_by(*ordered(query, jobs.c)).limit(_COUNT)
    return _whole(query, _hinted(walked, _index(query)))


def skip(shape: Shape) -> Select[Any]:
    """The same, but only in stretches that may have some, of those that begin from `low` on and before `high`.

    Whatever is said of a job besides its stretch and status is veiled, so that no database reads by it.
    """
    return _whole(shape.query, names_of(shape))


def names_of(shape: Shape) -> Select[Any]:
    """The names of the jobs of `skip`."""
    dialect, query = shape.dialect, shape.query
    order = stretched(query)
    passing = _passing(shape)
    stretches, begins = _in_order(dialect, query, order, passing)
    within = and_(order.key >= veil(begins), order.key < _end(order, stretches, begins))
    found = select(jobs.c.name, order.key).where(*held(dialect, query))
    if query.status is not None:
        found = found.where(jobs.c.status == query.status)
    if shape.after is not None:
        found = found.where(beyond(query, shape.after, VEILED))
    apart = dialect.lateral and query.name_contains is not None
    veiled = VEILED_ROW if apart else VEILED
    times = modified(query, veiled)
    if query.sort_by == "CreationTime":
        found = found.where(*created(query, VEILED))
    else:
        times += created(query, veiled)
    if not dialect.lateral:
        found = found.select_from(stretches.join(jobs, within)).where(*times, *passing)
        found = found.order_by(*directed(query, [begins]), *ordered(query, jobs.c)).limit(_COUNT)
        return _hinted(found, _index(query))
    each = found.where(within).order_by(*ordered(query, jobs.c))
    if times and apart:
        # All that the names need is in the index. PostgreSQL would read each row for its time first.
        named = each.correlate(stretches).lateral()
        each = select(named).join(ROW, ROW.c.name == named.c.name).order_by(*ordered(query, named.c))
    # Each stretch has a limit of its own: else PostgreSQL may sort all of them.
    some = each.where(*times).limit(_COUNT).lateral()
    merged = select(some.c.name).select_from(stretches.join(some, true()))
    return merged.order_by(*directed(query, [begins]), *ordered(query, some.c)).limit(_COUNT)


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


def _end(order: Order, stretches: FromClause, begins: ColumnElement[Any]) -> ColumnElement[Any]:
    """Where a stretch ends."""
    next_one = order.table.alias()
    end = select(func.min(next_one.c.begins)).where(next_one.c.begins > begins).correlate(stretches)
    return func.coalesce(end.scalar_subquery(), order.top)


def first(shape: Shape) -> Select[Any]:
    """Where the first stretches begin and end that `skip` would look through."""
    order = stretched(shape.query)
    some = select(order.begins, _end(order, order.table, order.begins).label("ends")).where(*_passing(shape))
    return some.order_by(*directed(shape.query, [order.begins])).limit(_COUNT)


def stretched(query: JobQuery) -> Order:
    """The order whose stretches a list goes along."""
    return TIMES if query.sort_by == "CreationTime" else NAMES


def _passing(shape: Shape) -> list[ColumnElement[bool]]:
    """What is true of a stretch that may have jobs of the page."""
    query, after = shape.query, shape.after
    order = stretched(query)
    s, begins = order.table.c, order.begins
    low, high = (bindparam(name, type_=begins.type) for name in ("low", "high"))
    where: list[ColumnElement[bool]] = [begins >= low, begins < high]
    if after is not None:
        place = after[1] if query.sort_by == "Name" else after[0]
        other = order.table.alias()
        has_it = select(func.max(other.c.begins)).where(other.c.begins <= place).scalar_subquery()
        where.append(begins <= place if query.descending else begins >= has_it)
    for column, least, most in (
        ("created", query.created_after, query.created_before),
        ("modified", query.modified_after, query.modified_before),
    ):
        where += [] if least is None else [s[f"{column}_last"] >= least]
        where += [] if most is None else [s[f"{column}_first"] <= most]
    if query.name_contains is not None:
        where.append(shape.dialect.has_bits(s.letters, shape.bits))
    return where


def _pick(by: Literal["created", "modified", "names"], shape: Shape) -> Select[Any]:
    """The same as `walk`, but all that fulfil one condition are found first and sorted then."""
    query = shape.query
    if by == "names":
        holds, index = [in_list(jobs.c.name, bindparam("names", type_=String))], "sqlite_autoindex_jobs_1"
    else:
        _, holds, index = _times(query)[by]
    where = (*holds, *along(query, shape.after), *beside(shape.dialect, query, jobs.c))
    # Sorted by what no index has: else a database would rather walk, and hope to find the page soon.
    keys = select(jobs.c.name, COLUMNS[query.sort_by]).where(*where)
    return _whole(query, _hinted(keys.order_by(*ordered(query, VEILED)).limit(_COUNT), index))


#: By what jobs are picked: by a time that few fulfil, or by their `names`, a list in JSON.
PICKS: Mapping[str, Way] = {
    "created": partial(_pick, "created"),
    "modified": partial(_pick, "modified"),
    "names": partial(_pick, "names"),
}


def _whole(query: JobQuery, few: Select[Any]) -> Select[Any]:
    found = few.subquery()
    # Sorted by what no index has: else SQLite would look for each of the jobs in order among the few.
    return select(jobs).join(found, jobs.c.name == found.c.name).order_by(*ordered(query, VEILED))


def _hinted(statement: Select[Any], index: str) -> Select[Any]:
    return statement.with_hint(jobs, f"INDEXED BY {index}", "sqlite")


def _index(query: JobQuery) -> str:
    """The name of the index of the order, in SQLite, which must be told; PostgreSQL counts for itself."""
    if query.sort_by == "Name":
        return "sqlite_autoindex_jobs_1" if query.status is None else "jobs_by_status_and_name"
    return "jobs_by_creation" if query.status is None else "jobs_by_status"
