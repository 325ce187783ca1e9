"""Which experiments, trials or components, in which order, from which place on: as far as a database can tell.

What can't be asked so (a part of a job, say) is for the caller to judge, among what these leave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, exists, func, or_, select, tuple_

from penstock.store.entities import TABLES, Entity, entities, to_entity
from penstock.store.portions import portions
from penstock.store.tables import members, metric_summaries, parameters, tags

Operator = Literal["=", "!=", ">", ">=", "<", "<=", "in", "contains", "exists", "absent"]
#: The opposites of others: true also of what has no such value.
_OPPOSITES: Mapping[Operator, Operator] = {"!=": "=", "absent": "exists"}


@dataclass(frozen=True)
class Value:
    """Something that a row has, or several times, or not at all."""

    column: str
    of: Literal["row", "metric", "parameter", "tag", "trial", "experiment", "member"] = "row"
    """Where the column is: in the row itself; in the summary of its metric `name`; in its parameter `name`; in its tag
    `name`; of a component the trials that it is in, and their experiments; of a trial its members."""
    name: str = ""
    lower: bool = False
    """Of a row: what is compared and sorted by is the column in lower case. For texts in ASCII."""


@dataclass(frozen=True)
class Condition:
    """That a row has such a value; `!=` is the opposite of `=`, so also true of what has none.

    A parameter's `either` column is `in` a pair: texts and numbers.
    """

    value: Value
    operator: Operator
    wanted: Any = None


@dataclass(frozen=True)
class Order:
    """By a value, then by key. What has no value comes last in either direction."""

    value: Value
    descending: bool


def find(
    c: Connection,
    kind: type[Entity],
    conditions: Sequence[Condition],
    order: Order,
    limit: int | None,
    after: Sequence[Any] | None,
) -> tuple[list[Entity], list[Any] | None]:
    """A page of those that fulfil all conditions, and the place after it (None when there is no more).

    The place is that of the last one, its value and its key: pages stay true while others are being added.
    """
    keys = _keys(kind, conditions, order, after)
    rows = c.execute(keys if limit is None else keys.limit(limit + 1)).all()
    page = rows if limit is None else rows[:limit]
    by_key = named(c, kind, [row.key for row in page])
    found = [by_key[row.key] for row in page if row.key in by_key]
    more = len(rows) > len(page)
    return found, [page[-1].value, page[-1].key] if more else None


def named(c: Connection, kind: type[Entity], keys: Iterable[str]) -> dict[str, Entity]:
    """Those with these keys that there are, by them."""
    return {
        row.key: to_entity(kind, row)
        for some in portions(keys)
        for row in c.execute(entities(kind).where(TABLES[kind].c.key.in_(some)))
    }


def count(c: Connection, kind: type[Any], conditions: Sequence[Condition]) -> int:
    """How many fulfil all conditions."""
    table = TABLES[kind]
    statement = select(func.count()).select_from(table).where(*_all(kind, conditions))
    return c.execute(statement).scalar_one()


def _keys(
    kind: type[Any], conditions: Sequence[Condition], order: Order, after: Sequence[Any] | None
) -> Select[Any]:
    table = TABLES[kind]
    source: Any = table
    column: ColumnElement[Any]
    if order.value.of == "metric":
        named = metric_summaries.c.name == order.value.name
        source = table.outerjoin(metric_summaries, and_(metric_summaries.c.component == table.c.key, named))
        column = metric_summaries.c[order.value.column]
    else:
        column = _column(table, order.value)
    nullable = order.value.of == "metric" or bool(table.c[order.value.column].nullable)
    where = _all(kind, conditions)
    if after is not None:
        where.append(_beyond(column, table.c.key, order, after, nullable=nullable))
    by = [column.desc(), table.c.key.desc()] if order.descending else [column.asc(), table.c.key.asc()]
    # Only where there is none: no index has the values in that order.
    last = [column.is_(None)] if nullable else []
    return select(table.c.key, column.label("value")).select_from(source).where(*where).order_by(*last, *by)


def _beyond(
    column: Any, key: Any, order: Order, after: Sequence[Any], *, nullable: bool
) -> ColumnElement[bool]:
    value, last = after
    if value is None:
        return and_(column.is_(None), key < last if order.descending else key > last)
    here, place = tuple_(column, key), tuple_(value, last)
    beyond: ColumnElement[bool] = here < place if order.descending else here > place
    return or_(beyond, column.is_(None)) if nullable else beyond


def _all(kind: type[Any], conditions: Sequence[Condition]) -> list[ColumnElement[bool]]:
    return [_holds(kind, condition) for condition in conditions]


def _holds(kind: type[Any], condition: Condition) -> ColumnElement[bool]:
    table, value = TABLES[kind], condition.value
    if value.of == "row":
        return _compared(_column(table, value), condition)
    opposite = _OPPOSITES.get(condition.operator)
    if opposite is None:
        return _lent(table, condition)
    return ~_lent(table, Condition(value, opposite, condition.wanted))


def _column(table: Table, value: Value) -> ColumnElement[Any]:
    column: ColumnElement[Any] = table.c[value.column]
    return func.lower(column) if value.lower else column


def _lent(table: Table, condition: Condition) -> ColumnElement[bool]:
    """That another table lends such a value to a row."""
    value = condition.value
    match value.of:
        case "metric":
            # Looked for row by row: each has its own, by its key, and of one name there are as many as rows.
            own = metric_summaries.alias("own")
            of_row = own.c.component == table.c.key, own.c.name == value.name
            return exists().where(*of_row, _compared(own.c[value.column], condition))
        case "parameter":
            given = parameters.alias("given")
            of_row = given.c.component == table.c.key, given.c.name == value.name
            return exists().where(*of_row, *_given(given.c, condition))
        case "tag":
            holds = tags.c.key == value.name, _compared(tags.c.value, condition)
            return table.c.arn.in_(select(tags.c.arn).where(*holds))
        case "member":
            return table.c.key.in_(select(members.c.trial).where(_compared(members.c.component, condition)))
        case _:
            return table.c.key.in_(
                select(members.c.component).where(_compared(members.c[value.of], condition))
            )


def _given(columns: Any, condition: Condition) -> list[ColumnElement[bool]]:
    """What a parameter of the name in question must be."""
    if condition.operator == "exists":
        return []
    if condition.value.column == "either":
        texts, numbers = condition.wanted
        return [or_(columns.text.in_(texts), columns.number.in_(numbers))]
    return [_compared(columns[condition.value.column], condition)]


def _compared(column: Any, condition: Condition) -> ColumnElement[bool]:
    wanted = condition.wanted
    compare: Mapping[str, Any] = {
        "=": lambda: column == wanted,
        "!=": lambda: column.is_distinct_from(wanted),
        ">": lambda: column > wanted,
        ">=": lambda: column >= wanted,
        "<": lambda: column < wanted,
        "<=": lambda: column <= wanted,
        "in": lambda: column.in_(wanted),
        # Not LIKE, which SQLite answers without regard to case and PostgreSQL with.
        "contains": lambda: func.replace(column, wanted, "") != column,
        "exists": lambda: column.is_not(None),
        "absent": lambda: column.is_(None),
    }
    found: ColumnElement[bool] = compare[condition.operator]()
    return found
