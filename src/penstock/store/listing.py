"""Which jobs, in which order, from which place on: a page of jobs.

A page must cost the same however many jobs are on record, so every way to it leads along an index (`ways.py`), and
there are three of them. Without conditions beside the order's own the jobs are *walked* in their order until the page
is full. Else the walk *skips* those stretches of the order that can have no job of the page (`stretches.py`), in one
statement that ends when the page is full. What few jobs fulfil, here and there, is *picked* by an index of it, and
sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection, Select

from penstock.job.life import STATUS, Phase
from penstock.store.dialect import Dialect
from penstock.store.job_query import COLUMNS, JobQuery, is_plain, nearest
from penstock.store.stretches import NAMES, letters
from penstock.store.ways import ACTIVE_ONES, PICKS, Way, Ways, first, names_of, near, skip, stretched, walk

#: Jobs are picked by a time that at most so many fulfil: they lie beside each other.
NEAR = 2000
#: And by a part of their names that at most so many have, by trigrams: these lie here and there.
FEW = 500
#: Before it is asked how many have it, so many stretches are walked, or `MANY` times as many for a status that few
#: jobs have: a step from name to name costs a hundredth of what it does to pick a job.
TRIED = 8
MANY = 32
#: Of so many that pass, all are walked (some 0.2 ms each): their letters tell the part apart, and to ask for what parts
#: of it all names have, as those of a date, takes far longer.
WALKED = 32

_ENDED = sorted(set(STATUS.values()) - set(ACTIVE_ONES))


class Lists:
    """Pages of the jobs in a database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._ways = Ways(dialect)

    def page(self, c: Connection, query: JobQuery, count: int, after: Sequence[Any] | None) -> Sequence[Any]:
        """At most `count` jobs of `query` beyond the place `after`, in order: rows of their table."""
        with closing(c.connection.cursor()) as cursor:
            return _Page(self._dialect, self._ways, c, cursor, count).of(*nearest(query, after))


@dataclass(frozen=True)
class _Page:
    """A page that is being read."""

    dialect: Dialect
    ways: Ways
    c: Connection
    cursor: Any
    count: int

    def of(self, query: JobQuery, after: Sequence[Any] | None) -> Sequence[Any]:
        """Its jobs."""
        if query.sort_by == "Status" and query.status is not None:
            parts = _parts(query, after, [query.status])
            return [row for part, place in parts for row in self.of(part, place)]
        if is_plain(query):
            return self._rows(walk, query, after)
        by = self._near(query)
        if by is not None:
            return self._rows(PICKS[by], query, after)
        found: list[Any] = []
        # Before the ended ones: a job that ends meanwhile is found in both, else in neither.
        for part, place in _parts(query, after, ACTIVE_ONES):
            found += self._rows(walk, part, place)
        if query.status not in ACTIVE_ONES:
            found += self._ended(query, after)
        by_name = {row.name: row for row in found}.values()
        return sorted(by_name, key=lambda row: place_of(query, row), reverse=query.descending)[: self.count]

    def _rows(
        self, way: Way, query: JobQuery, after: Sequence[Any] | None, less: int = 0, **more: Any
    ) -> list[Any]:
        return self.ways.rows(self.cursor, way, query, after, count=self.count - less, **more)

    def _near(self, query: JobQuery) -> str | None:
        """By which time jobs are best picked; None where each is that of many."""
        times = (query.created_after, query.created_before, query.modified_after, query.modified_before)
        if not any(at is not None for at in times):
            return None
        [row] = self.ways.rows(self.cursor, near, JobQuery(*times), count=NEAR + 1)
        counts = row._asdict()
        by = min(counts, key=counts.__getitem__)
        return by if counts[by] <= NEAR else None

    def _ended(self, query: JobQuery, after: Sequence[Any] | None) -> list[Any]:
        """Those that have ended."""
        part_of_name = query.name_contains
        named = None if part_of_name is None else self.dialect.names_with(part_of_name)
        bits = {} if part_of_name is None else self.dialect.bits(letters(part_of_name))
        parts = list(_parts(query, after, _ENDED)) if query.sort_by == "Status" else [(query, after)]
        by_time = query.sort_by == "CreationTime"
        found: list[Any] = []
        first_ones: list[Any] | None = None
        for number, (part, place) in enumerate(parts):
            span = {"low": stretched(part).bottom, "high": stretched(part).top}
            choosing = named is not None or (by_time and number == 0)
            if part_of_name is not None and (choosing or number):
                some = max(_tried(part), WALKED)
                most = MANY * TRIED if len(parts) > 1 else some
                # Once for all statuses.
                if first_ones is None or after is not None:
                    first_ones = self._first(part, place, most, bits=bits, **span)
                if not first_ones:
                    continue
                if len(first_ones) <= most:
                    span = _span(first_ones)
                if choosing and len(first_ones) > some:
                    tried, rest = first_ones[: _tried(part)], first_ones[_tried(part)]
                    found += self._rows(skip, part, place, len(found), bits=bits, **_span(tried))
                    if len(found) == self.count:
                        break
                    names = self._names(query, named, bits)
                    if names is not None:
                        return self._rows(PICKS["names"], query, after, names=orjson.dumps(names).decode())
                    named = None
                    span |= {"high": rest.ends} if query.descending else {"low": rest.begins}
            found += self._rows(skip, part, place, len(found), bits=bits, **span)
            if len(found) == self.count:
                break
        return found

    def _first(self, query: JobQuery, after: Sequence[Any] | None, most: int, **more: Any) -> list[Any]:
        """The first stretches that may have jobs: as many as may be walked, and one more."""
        return self.ways.rows(self.cursor, first, replace(query, status=None), after, count=most + 1, **more)

    def _names(
        self, query: JobQuery, named: Select[Any] | None, bits: Mapping[str, Any]
    ) -> Sequence[str] | None:
        """The names of all ended jobs of the query, if these are few."""
        if query.sort_by == "CreationTime":
            # What stands in names as times do lies beside each other in their own order.
            by_name = replace(query, sort_by="Name")
            some = self._first(by_name, None, WALKED, bits=bits, low=NAMES.bottom, high=NAMES.top)
            if len(some) <= WALKED:
                span = _span(some) if some else {"low": NAMES.top, "high": NAMES.top}
                rows = self.ways.rows(self.cursor, names_of, by_name, bits=bits, count=NEAR + 1, **span)
                return [row.name for row in rows] if len(rows) <= NEAR else None
        if named is None:
            return None
        few = self.c.execute(named.limit(FEW + 1)).scalars().all()
        return few if len(few) <= FEW else None


def _tried(query: JobQuery) -> int:
    """How many stretches are walked before it is asked how many jobs have a part of a name."""
    return TRIED if query.status in {None, STATUS[Phase.COMPLETED]} else MANY * TRIED


def _span(stretches: Sequence[Any]) -> dict[str, Any]:
    """From the beginning to the end of all these, for `skip`: should one be cut meanwhile, it has all the pieces."""
    one, other = stretches[0], stretches[-1]
    return {"low": min(one.begins, other.begins), "high": max(one.ends, other.ends)}


def place_of(query: JobQuery, row: Any) -> list[Any]:
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
