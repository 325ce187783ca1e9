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
    Column,
    Connection,
    Row,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from penstock.job.life import Job
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


@dataclass(frozen=True)
class Order:
    """An order that is cut into stretches."""

    table: Table
    key: Column[Any]
    """The column of a job by which it goes. A stretch begins at a value of it and ends where the next one begins."""


NAMES = Order(name_stretches, jobs.c.name)
TIMES = Order(time_stretches, jobs.c.created_at)


def letters(part: str) -> dict[int, int]:
    """Which bytes of a stretch's letters have which bits set, if one of its names has that part."""
    found: dict[int, int] = {}
    for length in [n for n in _NOTED if n == len(part) or 3 <= n <= len(part)]:
        for bit in _bits(_parts(part, length), length):
            found[bit >> 3] = found.get(bit >> 3, 0) | 1 << (bit & 7)
    return found


def widen(c: Connection, job: Job) -> None:
    """Have the stretches know of a job that has ended, within the transaction that puts its end on record."""
    # One at a time: of two that cut a stretch at once, one would go on with what is no more.
    c.execute(select(name_stretches.c.begins).where(name_stretches.c.begins == "").with_for_update())
    for order, key in ((NAMES, job.name), (TIMES, job.created_at)):
        begins = order.table.c.begins
        row = c.execute(select(order.table).where(begins <= key).order_by(begins.desc()).limit(1)).first()
        if row is None:
            continue  # a time before 1970, which no clock shows
        count = row.jobs + 1
        if count % MOST == 0:
            _cut(c, order, row.begins)
        else:
            summary = _widened(row, job)
            c.execute(update(order.table).where(begins == row.begins).values(jobs=count, **summary))


def complete(c: Connection) -> None:
    """Cut what a migration has left as one stretch of which nothing is known."""
    for order in (NAMES, TIMES):
        unknown = select(order.table.c.begins).where(order.table.c.jobs < 0)
        for begins in c.execute(unknown).scalars().all():
            _cut(c, order, begins)


def _cut(c: Connection, order: Order, begins: Any) -> None:
    """Make a stretch anew of the jobs that it has, as several where they are many."""
    table = order.table
    end = c.execute(select(func.min(table.c.begins)).where(table.c.begins > begins)).scalar()
    within = [order.key >= begins, ENDED] + ([] if end is None else [order.key < end])
    columns = select(order.key.label("key"), jobs.c.name, jobs.c.created_at, jobs.c.modified_at)
    found: Any = c.execute(
        columns.where(*within).order_by(order.key, jobs.c.name).execution_options(yield_per=FEW)
    )
    made = [{**_summary(piece), "begins": piece[0].key} for piece in _pieces(found)]
    first = made[0] if made else _summary([])
    c.execute(delete(table).where(table.c.begins == begins))
    c.execute(insert(table), [{**first, "begins": begins}, *made[1:]])
    _give_up(c, order)


def _pieces(rows: Iterable[Row[Any]]) -> Iterator[list[Row[Any]]]:
    """Some thousand rows each, those with the same key together."""
    piece: list[Row[Any]] = []
    for row in rows:
        if len(piece) >= FEW and row.key != piece[-1].key:
            yield piece
            piece = []
        piece.append(row)
    if piece:
        yield piece


def _give_up(c: Connection, order: Order) -> None:
    """Remove stretches without a job. The one before reaches as far as both then, and still says enough."""
    table, later = order.table, order.table.alias()
    end = (
        select(func.min(later.c.begins))
        .where(later.c.begins > table.c.begins)
        .correlate(table)
        .scalar_subquery()
    )
    within = (order.key >= table.c.begins, or_(end.is_(None), order.key < end))
    some = select(jobs.c.name).where(*within).correlate(table).exists()
    first = select(func.min(later.c.begins)).scalar_subquery()
    c.execute(delete(table).where(table.c.begins > first, ~some))


def _summary(rows: Sequence[Row[Any]]) -> dict[str, Any]:
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


def _widened(row: Row[Any], job: Job) -> dict[str, Any]:
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


def _parts(text: str, length: int) -> set[str]:
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def _bits(parts: Iterable[str], length: int) -> Iterator[int]:
    noted = _NOTED[length]
    return (noted[zlib.crc32(part.encode()) % len(noted)] for part in parts)
