"""Which experiments, trials or components, in which order, from which place on: as far as a database can tell.

What can't be asked so (a part of a job, say) is for the caller to judge, among what these leave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, tuple_

from penstock.store.conditions import LENDERS, Every, Test, Value, column, holds, of_name
from penstock.store.entities import TABLES, Entity, entities, from_column, to_entity
from penstock.store.functions import among


@dataclass(frozen=True)
class Order:
    """By a value, then by key. What has no value comes last in either direction.

    Of several trials of a component the first counts; a parameter's numbers come before its texts.
    """

    value: Value
    descending: bool


def find(
    c: Connection,
    kind: type[Entity],
    tests: Sequence[Test],
    order: Order,
    limit: int | None,
    after: Sequence[Any] | None,
) -> tuple[list[Entity], list[Any] | None]:
    """A page of those that fulfil all tests, and the place after it (None when there is no more).

    The place is that of the last one, its value and its key: pages stay true while others are being added.
    """
    page, more = places(c, kind, tests, order, limit, after)
    by_key = named(c, kind, [key for _, key in page])
    found = [by_key[key] for _, key in page if key in by_key]
    return found, page[-1] if more else None


def places(
    c: Connection,
    kind: type[Any],
    tests: Sequence[Test],
    order: Order,
    limit: int | None,
    after: Sequence[Any] | None,
) -> tuple[list[list[Any]], bool]:
    """The places of those that `find` finds, each a value and a key, and whether there are more."""
    keys = _keys(kind, tests, order, after)
    rows = c.execute(keys if limit is None else keys.limit(limit + 1)).all()
    return [_place(*row) for row in rows[:limit]], limit is not None and len(rows) > limit


def named(
    c: Connection, kind: type[Entity], keys: Iterable[str], without: Collection[str] = ()
) -> dict[str, Entity]:
    """Those with these keys that there are, by them, and empty what of them is named in `without`."""
    return {
        row.key: to_entity(kind, row, without)
        for row in c.execute(entities(kind, without).where(among(TABLES[kind].c.key, keys))).all()
    }


def every(
    c: Connection, kind: type[Entity], tests: Sequence[Test], without: Collection[str]
) -> Iterator[Entity]:
    """All that fulfil all tests, in no order, and empty what is named in `without`: to read it is most of the work."""
    for row in c.execute(entities(kind, without).where(holds(kind, Every(tests)))):
        yield to_entity(kind, row, without)


def columns(
    c: Connection, kind: type[Any], keys: Collection[str], tests: Sequence[Test], names: Sequence[str]
) -> list[list[Any]]:
    """These columns of those with these keys that fulfil all tests, in no order."""
    table = TABLES[kind]
    wanted = select(*(table.c[name] for name in names)).where(
        among(table.c.key, keys), holds(kind, Every(tests))
    )
    return [list(map(from_column, names, row)) for row in c.execute(wanted).all()]


def count(c: Connection, kind: type[Any], tests: Sequence[Test], most: int | None) -> int:
    """How many fulfil all tests; no more than `most` are counted."""
    fit = select(TABLES[kind].c.key).where(holds(kind, Every(tests)))
    counted = fit if most is None else fit.limit(most)
    return c.execute(select(func.count()).select_from(counted.subquery())).scalar_one()


def _keys(kind: type[Any], tests: Sequence[Test], order: Order, after: Sequence[Any] | None) -> Select[Any]:
    key = TABLES[kind].c.key
    source, columns, nullable = _sorted_by(kind, order.value)
    where = [holds(kind, Every(tests))]
    if after is not None:
        where.append(_beyond(columns, key, order, after, nullable=nullable))
    # Only where there is none: no index has the values in that order.
    last = [and_(*(c.is_(None) for c in columns))] if nullable else []
    directed = [*columns, key]
    if len(columns) == 2:
        directed.insert(0, columns[1].is_not(None))
    by = [c.desc() if order.descending else c.asc() for c in directed]
    return select(key, *columns).select_from(source).where(*where).order_by(*last, *by)


def _sorted_by(kind: type[Any], value: Value) -> tuple[Any, list[ColumnElement[Any]], bool]:
    """From where rows with their values come; the columns of these, one of which has it; whether all may be NULL."""
    table = TABLES[kind]
    if value.of == "row":
        return table, [column(table.c, value)], bool(value.path or table.c[value.column].nullable)
    lender = LENDERS[value.of]
    lent = lender.table.alias("sorted")
    own = lent.c[lender.owner] == table.c[lender.by]
    if value.of == "parent":
        first = select(column(lent.c, value)).where(own).order_by(lent.c.trial).limit(1)
        return table, [first.scalar_subquery()], True
    names = ("number", "text") if value.column == "either" else (value.column,)
    columns = [column(lent.c, replace(value, column=name)) for name in names]
    return table.outerjoin(lent, and_(own, *of_name(lender, lent.c, value.name))), columns, True


def _place(key: str, *values: Any) -> list[Any]:
    return [next((value for value in values if value is not None), None), key]


def _beyond(
    columns: Sequence[Any], key: Any, order: Order, after: Sequence[Any], *, nullable: bool
) -> ColumnElement[bool]:
    value, last = after
    none = and_(*(column.is_(None) for column in columns))
    if value is None:
        return and_(none, key < last if order.descending else key > last)
    number, *text = columns
    is_text = bool(text) and isinstance(value, str)
    here, place = tuple_(text[0] if is_text else number, key), tuple_(value, last)
    beyond = [here < place if order.descending else here > place]
    if text and is_text == order.descending:  # the other sort comes after it
        beyond.append((number if is_text else text[0]).is_not(None))
    return or_(*beyond, none) if nullable else beyond[0]
