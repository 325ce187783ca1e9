"""Which jobs, in which order, from which place on: a page of jobs.

A page must cost the same however many jobs are on record, so every way to it leads along an index, and there are
three of them. With few conditions, or such as many jobs fulfil, the jobs are *walked* in their order until the page is
full. Where that takes more than `WALK` jobs, those stretches of the order are walked that may have jobs of the page
(`stretches.py`), and the others are skipped. Where that takes more than `SKIP` jobs, conditions are told by few, here
and there: those are *picked* by an index of the condition, and sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Subquery,
    TextClause,
    func,
    literal,
    null,
    select,
    tuple_,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from penstock.job.life import STATUS
from penstock.store.dialect import Dialect
from penstock.store.stretches import NAMES, TIMES, letters
from penstock.store.tables import ACTIVE, jobs

Columns = ReadOnlyColumnCollection[str, Any]

SortKey = Literal["Name", "CreationTime", "Status"]

_COLUMNS = {"Name": jobs.c.name, "CreationTime": jobs.c.created_at, "Status": jobs.c.status}

#: So many jobs are walked before another way is taken.
WALK = 500
#: And so many within stretches.
SKIP = 40_000
#: To ask once more counts as so many.
_ASKED = 1000
#: So many of stretches that follow each other are walked at once.
_TOGETHER = 4000
#: Jobs are picked by a condition that fewer fulfil; beyond so many they are not counted.
COUNTED = 10_000

#: In the order of a list by status.
_STATUSES = sorted(set(STATUS.values()))
_ACTIVE = {status for phase, status in STATUS.items() if not phase.final}


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
    if query.modified_before is not None:
        # No job is changed before it is created.
        bounds = [at for at in (query.created_before, query.modified_before) if at is not None]
        query = replace(query, created_before=min(bounds))
    skipping = _Skipping(c, dialect, query)
    found: list[Row[Any]] = []
    for part, place in _parts(query, after):
        some = _quickly(c, part, count - len(found), place, skipping)
        if some is None:
            return c.execute(_pick(query, after, count, skipping.way)).all()
        found += some
        if len(found) == count:
            break
    return found


def _parts(query: JobQuery, after: Sequence[Any] | None) -> Iterator[tuple[JobQuery, Sequence[Any] | None]]:
    """A list by status is one status after the other, each by name."""
    if query.sort_by != "Status":
        yield query, after
        return
    for status in reversed(_STATUSES) if query.descending else _STATUSES:
        passed = after is not None and (status > after[0] if query.descending else status < after[0])
        if query.status in {None, status} and not passed:
            place = after if after is not None and after[0] == status else None
            yield replace(query, status=status, sort_by="Name"), place


def place_of(query: JobQuery, row: Row[Any]) -> list[Any]:
    """The place of a job in the order of `query`."""
    return [getattr(row, _COLUMNS[query.sort_by].name), row.name]


def _quickly(
    c: Connection,
    query: JobQuery,
    count: int,
    after: Sequence[Any] | None,
    skipping: _Skipping,
) -> Sequence[Row[Any]] | None:
    """The page by walking and skipping; None where its jobs are better picked."""
    if not _beside(query, jobs.c):
        return c.execute(_walk(query, after, count)).all()
    first = c.execute(_walk(query, after, count, first=WALK)).all()
    if len(first) == count:
        return first
    active: Sequence[Row[Any]] = []
    if query.status is None or query.status in _ACTIVE:
        # Before the stretches: a job that ends meanwhile is found in both, else in neither.
        active = c.execute(_pick(query, after, count, _UNFINISHED)).all()
    if query.status in _ACTIVE:
        return active
    ended = _skip(c, query, after, count, skipping)
    if ended is None:
        return None
    merged = {row.name: row for row in (*active, *ended)}.values()
    return sorted(merged, key=lambda row: place_of(query, row), reverse=query.descending)[:count]


@dataclass(frozen=True)
class _Run:
    """Stretches that follow each other."""

    begin: Any
    end: Any | None
    """Where the next one begins."""
    size: int
    """How many jobs it has had."""


def _skip(
    c: Connection,
    query: JobQuery,
    after: Sequence[Any] | None,
    count: int,
    skipping: _Skipping,
) -> Sequence[Row[Any]] | None:
    """Jobs of the stretches that may have some. None where that takes long, and few fulfil one of the conditions."""
    found: list[Row[Any]] = []
    walked = 0
    place = None if after is None else after[1] if query.sort_by == "Name" else after[0]
    for run in skipping.runs:
        if place is not None and (
            run.begin > place if query.descending else run.end is not None and run.end <= place
        ):
            continue
        if walked > SKIP and skipping.narrow:
            return None
        found += c.execute(_walk(query, after, count - len(found), run=run)).all()
        if len(found) == count:
            break
        walked += run.size + _ASKED
    return found


class _Skipping:
    """The stretches of an order that may have jobs of a query, and else a way; looked for when they are needed."""

    def __init__(self, c: Connection, dialect: Dialect, query: JobQuery) -> None:
        self._c = c
        self._dialect = dialect
        self._query = query

    @property
    def narrow(self) -> bool:
        """Whether few jobs fulfil one of the conditions."""
        return self._narrowest[0] < COUNTED

    @property
    def way(self) -> _Way:
        """That condition."""
        return self._narrowest[1]

    @cached_property
    def _narrowest(self) -> tuple[int, _Way]:
        ways = [(self._count(way), way) for way in _ways(self._query, self._dialect)]
        return min(ways, key=itemgetter(0), default=(COUNTED, _UNFINISHED))

    def _count(self, way: _Way) -> int:
        some = way.counted
        if some is None:
            some = _of_way(select(literal(1)).select_from(jobs), way)
        return self._c.execute(select(func.count()).select_from(some.limit(COUNTED).subquery())).scalar_one()

    @cached_property
    def runs(self) -> list[_Run]:
        """In the order of the query; not too many in one."""
        query = self._query
        wanted = letters(query.name_contains) if query.name_contains else {}
        runs: list[_Run] = []
        for begin, end, size, held in self._c.execute(_stretches(query, self._dialect, wanted)):
            if held is not None and not all(held[at] & bits == bits for at, bits in wanted.items()):
                continue
            last = runs[-1] if runs and runs[-1].size < _TOGETHER else None
            if last and query.descending and last.begin == end:
                runs[-1] = _Run(begin, last.end, last.size + size)
            elif last and not query.descending and last.end == begin:
                runs[-1] = _Run(last.begin, end, last.size + size)
            else:
                runs.append(_Run(begin, end, size))
        return runs


def _stretches(query: JobQuery, dialect: Dialect, wanted: Mapping[int, int]) -> Select[Any]:
    """Those whose times may be right, in order: where they begin and end, how many jobs they have, their letters.

    The letters are None where they are not wanted or the database has looked at them.
    """
    table = (TIMES if query.sort_by == "CreationTime" else NAMES).table
    s, next_one = table.c, table.alias().c
    end = select(func.min(next_one.begins)).where(next_one.begins > s.begins).correlate(table)
    where = []
    for column, least, most in (
        ("created", query.created_after, query.created_before),
        ("modified", query.modified_after, query.modified_before),
    ):
        where += [] if least is None else [s[f"{column}_last"] >= least]
        where += [] if most is None else [s[f"{column}_first"] <= most]
    order = s.begins.desc() if query.descending else s.begins
    held = s.letters if wanted and dialect.byte is None else null()
    if dialect.byte is not None:
        where += [dialect.byte(s.letters, at).op("&")(bits) == bits for at, bits in wanted.items()]
    return select(s.begins, end.scalar_subquery(), s.jobs, held).where(*where).order_by(order)


@dataclass(frozen=True)
class _Way:
    """A condition that an index answers."""

    holds: Sequence[ColumnElement[bool] | TextClause]
    index: str
    """Its name in SQLite, which must be told; PostgreSQL counts for itself."""
    counted: Select[Any] | None = None
    """What is quicker to count than the jobs."""


#: The jobs that have not ended, which belong to no stretch.
_UNFINISHED = _Way([ACTIVE], "jobs_by_status")


def _ways(query: JobQuery, dialect: Dialect) -> Iterator[_Way]:
    if query.name_contains and (holds := dialect.name_holds(query.name_contains)) is not None:
        yield _Way([holds], "sqlite_autoindex_jobs_1", dialect.names_with(query.name_contains))
    if query.sort_by != "CreationTime" and (created := _created(query, jobs.c)):
        yield _Way(created, "jobs_by_creation")
    if modified := _modified(query, jobs.c):
        yield _Way(modified, "jobs_by_modification")


def _walk(
    query: JobQuery,
    after: Sequence[Any] | None,
    count: int,
    *,
    first: int | None = None,
    run: _Run | None = None,
) -> Select[Any]:
    """At most `count` jobs of the query, along the index that has them in their order.

    Of that order the first so many, or those of a run; the whole of it without either.
    """
    along = _along(query, after, run)
    if not _beside(query, jobs.c):
        return select(jobs).where(*along).order_by(*_order(query, jobs.c)).limit(count)
    # Rows are read whole when it is known which ones: requests may be long.
    keys = [jobs.c.name]
    if query.sort_by == "CreationTime" or (first is not None and _created(query, jobs.c)):
        keys.append(jobs.c.created_at)
    if first is not None and _modified(query, jobs.c):
        keys.append(jobs.c.modified_at)
    walked = select(*keys).where(*along).order_by(*_order(query, jobs.c))
    walked = walked.with_hint(jobs, f"INDEXED BY {_index(query)}", "sqlite")
    if first is None:
        return _whole(query, walked.where(*_beside(query, jobs.c)).limit(count).subquery())
    some = walked.limit(first).subquery()
    few = select(some.c.name).where(*_beside(query, some.c)).order_by(*_order(query, some.c)).limit(count)
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


def _along(
    query: JobQuery, after: Sequence[Any] | None, run: _Run | None = None
) -> list[ColumnElement[bool]]:
    """The conditions that the index of the order answers.

    Of several ends on one side the nearest: SQLite would begin at the first one that it reads.
    """
    key, by_name = _COLUMNS[query.sort_by], query.sort_by == "Name"
    lows, highs = [], []
    if query.sort_by == "CreationTime":
        lows += [] if query.created_after is None else [(query.created_after, key >= query.created_after)]
        highs += [] if query.created_before is None else [(query.created_before, key <= query.created_before)]
    if run is not None:
        lows.append((run.begin, key >= run.begin))
    if after is not None:
        here: Any = key if by_name else tuple_(key, jobs.c.name)
        place = after[1] if by_name else tuple(after)
        at = after[1] if by_name else after[0]
        (highs if query.descending else lows).append((at, here < place if query.descending else here > place))
    if run is not None and run.end is not None:
        highs.append((run.end, key < run.end))
    # Of two at the same value the last one says more.
    conditions = [max(reversed(lows), key=itemgetter(0))[1]] if lows else []
    conditions += [min(reversed(highs), key=itemgetter(0))[1]] if highs else []
    if query.status is not None:
        conditions.append(jobs.c.status == query.status)
    return conditions


def _beside(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    """The others; first what the index of the order has."""
    conditions = []
    if query.name_contains:
        # Not LIKE, which SQLite answers without regard to case and PostgreSQL with.
        name = columns["name"]
        conditions.append(func.replace(name, query.name_contains, "") != name)
    conditions += [] if query.sort_by == "CreationTime" else _created(query, columns)
    return conditions + _modified(query, columns)


def _created(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns, "created_at", query.created_after, query.created_before)


def _modified(query: JobQuery, columns: Columns) -> list[ColumnElement[bool]]:
    return _between(columns, "modified_at", query.modified_after, query.modified_before)


def _between(columns: Columns, name: str, low: int | None, high: int | None) -> list[ColumnElement[bool]]:
    least = [] if low is None else [columns[name] >= low]
    return least + ([] if high is None else [columns[name] <= high])
