"""What the jobs of a stretch have in common: which parts of a list's order need not be looked at.

In each order by which lists go, by name and by creation, the ended jobs are cut into stretches of some thousand. Of
each is on record when its jobs were created and modified, from the first to the last, and which letters stand
beside each other in their names. A list whose conditions no job of a stretch can fulfil passes over it, so it costs
as much to find ten jobs at the far end of a million as at the beginning.

What a stretch says is widened in the transaction in which a job ends, and never narrowed when one is deleted: it may
hold less than it says, and never more. One that has grown too large is cut, and those without a job are given up.
Jobs that have not ended belong to no stretch, so that a new one costs nothing here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from penstock.job.life import Job
from penstock.store.bare import Bare
from penstock.store.dialect import Dialect
from penstock.store.tables import ENDED, jobs, name_stretches, time_stretches

#: A stretch of so many jobs is cut.
MOST = 4096
#: Into such with so many.
FEW = 2048
#: Parts of names of so many letters are noted, each length in bits of its own: of three letters there are few, and
#: of five most of those that times are written with.
_NOTED = {1: range(512), 2: range(512, 2048), 3: range(2048, 8192), 6: range(8192, 32768)}
#: Bytes of them.
LETTERS = 4096
_LONGEST = 1 << 62
_SAID = ("jobs", "created_first", "created_last", "modified_first", "modified_last", "letters")


@dataclass(frozen=True)
class Order:
    """An order that is cut into stretches."""

    table: Table
    key: Column[Any]
    """The column of a job by which it goes. A stretch begins at a value of it and ends where the next one begins."""
    bottom: Any
    """Where the first one begins."""
    top: Any
    """Where the last one ends: beyond every value."""

    @property
    def begins(self) -> Column[Any]:
        """Where a stretch begins."""
        return self.table.c.begins


NAMES = Order(name_stretches, jobs.c.name, "", "\U0010ffff")
TIMES = Order(time_stretches, jobs.c.created_at, 0, _LONGEST)


def letters(part: str) -> dict[int, int]:
    """Which bytes of a stretch's letters have which bits set, if one of its names has that part."""
    found: dict[int, int] = {}
    length = next(n for n in sorted(_NOTED, reverse=True) if n <= len(part))
    for bit in _bits(_parts(part, length), length):
        found[bit >> 3] = found.get(bit >> 3, 0) | 1 << (bit & 7)
    return found


class Stretches:
    """The stretches of both orders, as those who end jobs know them."""

    def __init__(self, dialect: Dialect) -> None:
        first = name_stretches.c.begins
        self._lock = Bare(dialect.engine, select(first).where(first == bindparam("wanted")).with_for_update())
        self._names, self._times = _Said(dialect, NAMES), _Said(dialect, TIMES)

    def widen(self, cursor: Any, job: Job) -> None:
        """Have them know of a job that has ended, within the transaction that puts its end on record."""
        # One at a time: of two that cut a stretch at once, one would go on with what is no more.
        self._lock.rows(cursor, wanted="")
        for say, key in ((self._names, job.name), (self._times, job.created_at)):
            # Of times there may be none: before 1970, which no clock shows.
            for row in say.at.rows(cursor, wanted=key):
                if (row.jobs + 1) % MOST == 0:
                    _cut(cursor, say, row.begins)
                else:
                    say.change.run(cursor, of=row.begins, jobs=row.jobs + 1, **_widened(row, job))


class _Said:
    """What is asked and written of the stretches of an order."""

    def __init__(self, dialect: Dialect, order: Order) -> None:
        table, begins, later = order.table, order.table.c.begins, order.table.alias()
        end = (
            select(func.min(later.c.begins)).where(later.c.begins > begins).correlate(table).scalar_subquery()
        )
        within = (order.key >= begins, or_(end.is_(None), order.key < end))
        some = select(jobs.c.name).where(*within).correlate(table).exists()
        first = select(func.min(later.c.begins)).scalar_subquery()
        wanted: BindParameter[Any] = bindparam("wanted", type_=begins.type)
        ended = _ended(order).where(order.key >= wanted)
        last = select(func.max(begins)).where(begins <= wanted)
        engine = dialect.engine
        self.at = Bare(engine, select(table).where(begins == last.scalar_subquery()))
        self.end = Bare(engine, select(func.min(begins).label("end")).where(begins > wanted))
        self.ended = Bare(engine, ended)
        self.ended_before = Bare(engine, ended.where(order.key < bindparam("end", type_=begins.type)))
        self.change = Bare(engine, update(table).where(begins == bindparam("of")), _SAID)
        self.add = Bare(engine, insert(table))
        # The one before reaches as far as both then, and still says enough.
        self.give_up_empty = Bare(engine, delete(table).where(begins > first, ~some))


def complete(c: Connection) -> None:
    """Make them where a migration has left one of which nothing is known."""
    unknown = select(name_stretches.c.begins).where(name_stretches.c.jobs < 0)
    if c.execute(unknown).first() is not None:
        make(c)


def make(c: Connection) -> None:
    """Make all of them anew, of the jobs on record."""
    for order in (NAMES, TIMES):
        begins = c.execute(select(func.min(order.table.c.begins))).scalar_one()
        rows: Any = c.execute(_ended(order), execution_options={"yield_per": FEW})
        made = _made(rows, begins)
        c.execute(delete(order.table))
        c.execute(insert(order.table), made)


def _cut(cursor: Any, say: _Said, begins: Any) -> None:
    """Make a stretch anew of the jobs that it has, as several where they are many."""
    [after] = say.end.rows(cursor, wanted=begins)
    if after.end is None:
        rows = say.ended.rows(cursor, wanted=begins)
    else:
        rows = say.ended_before.rows(cursor, wanted=begins, end=after.end)
    first, *others = _made(rows, begins)
    # Its row stays the same one: whoever waits for the row that serves as lock finds nothing once that is removed.
    say.change.run(cursor, of=begins, **first)
    for row in others:
        say.add.run(cursor, **row)
    say.give_up_empty.run(cursor)


def _ended(order: Order) -> Select[Any]:
    """The ended jobs in an order."""
    columns = (order.key.label("key"), jobs.c.name, jobs.c.created_at, jobs.c.modified_at)
    return select(*columns).where(ENDED).order_by(order.key, jobs.c.name)


def _made(rows: Iterable[Any], begins: Any) -> list[dict[str, Any]]:
    """Stretches of these jobs, the first of which begins there."""
    made = [{**_summary(piece), "begins": piece[0].key} for piece in _pieces(rows)] or [_summary([])]
    return [{**made[0], "begins": begins}, *made[1:]]


def _pieces(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Some thousand rows each, those with the same key together."""
    piece: list[Any] = []
    for row in rows:
        if len(piece) >= FEW and row.key != piece[-1].key:
            yield piece
            piece = []
        piece.append(row)
    if piece:
        yield piece


def _summary(rows: Sequence[Any]) -> dict[str, Any]:
    bits = bytearray(LETTERS)
    _set(bits, [row.name for row in rows])
    return {
        "jobs": len(rows),
        "created_first": min((row.created_at for row in rows), default=_LONGEST),
        "created_last": max((row.created_at for row in rows), default=-1),
        "modified_first": min((row.modified_at for row in rows), default=_LONGEST),
        "modified_last": max((row.modified_at for row in rows), default=-1),
        "letters": bytes(bits),
    }


def _widened(row: Any, job: Job) -> dict[str, Any]:
    bits = bytearray(row.letters)
    _set(bits, [job.name])
    return {
        "created_first": min(row.created_first, job.created_at),
        "created_last": max(row.created_last, job.created_at),
        "modified_first": min(row.modified_first, job.modified_at),
        "modified_last": max(row.modified_last, job.modified_at),
        "letters": bytes(bits),
    }


def _set(bits: bytearray, names: Sequence[str]) -> None:
    """Note the letters of these names."""
    for length in _NOTED:
        # As one text, which is twice as quick. What reaches from a name into the next one does no harm.
        for bit in _bits(_parts("\n".join(names), length), length):
            bits[bit >> 3] |= 1 << (bit & 7)


def _parts(text: str, length: int) -> Iterable[str]:
    """Each once, in their order."""
    return dict.fromkeys(text[at : at + length] for at in range(len(text) - length + 1))


def _bits(parts: Iterable[str], length: int) -> Iterator[int]:
    noted = _NOTED[length]
    return (noted[zlib.crc32(part.encode()) % len(noted)] for part in parts)
