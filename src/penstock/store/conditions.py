"""What a row must have to be found: conditions, how they are put together, and the same as SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, FromClause, Table, and_, exists, false, func, or_, select, true

from penstock.store.entities import TABLES
from penstock.store.functions import contains, first_word, text_at
from penstock.store.tables import (
    component_artifacts,
    components,
    job_parts,
    jobs,
    members,
    metric_summaries,
    parameters,
    tags,
)

Operator = Literal[
    "=", "!=", ">", ">=", "<", "<=", "in", "not in", "within", "not within", "contains", "exists", "absent"
]
Origin = Literal["row", "metric", "parameter", "input", "output", "tag", "parent", "member", "job", "part"]
#: The opposites of others: true also of what has no such value.
_OPPOSITES: Mapping[Operator, Operator] = {
    "!=": "=",
    "not in": "in",
    "not within": "within",
    "absent": "exists",
}


@dataclass(frozen=True)
class Value:
    """Something that a row has, or several times, or not at all."""

    column: str
    of: Origin = "row"
    """Where the column is: in the row itself, or in what another table lends it (see `LENDERS`)."""
    name: str | None = None
    """Of which of its metrics, parameters, artifacts or tags; None: of any."""
    lower: bool = False
    """What is compared and sorted by is the column in lower case. For texts in ASCII."""
    path: Sequence[str] = ()
    """Where in the column, which is JSON, it is. Names of letters, digits and _."""
    first: bool = False
    """It is what of the column's text stands before the first blank."""


@dataclass(frozen=True)
class Condition:
    """That a row has such a value; what is not so is the opposite of what is, so also true of what has none.

    Wanted is `within` a pair its first and its last; a parameter's `either` column is `in` a pair, texts and numbers.
    """

    value: Value
    operator: Operator
    wanted: Any = None


@dataclass(frozen=True)
class Same:
    """That one and the same row of what is lent fulfils all conditions, whose values are of it."""

    of: Origin
    conditions: Sequence[Condition]


@dataclass(frozen=True)
class Every:
    """That all of these are fulfilled; nothing is asked where there are none."""

    of: Sequence[Test]


@dataclass(frozen=True)
class Some:
    """That one of these is fulfilled; never, where there are none."""

    of: Sequence[Test]


Test = Condition | Same | Every | Some


@dataclass(frozen=True)
class Lender:
    """A table, or what is joined of two, that has more of a row than the row itself."""

    table: FromClause
    owner: str
    """Its column that says whose a row of it is ..."""
    by: str = "key"
    """... and that one's column which is told there."""
    name: str | None = None
    """Its column of names."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """What its rows in question have in common."""
    each: bool = True
    """Whether it is looked into row by row: where there are as many as rows. Else it says whose they are."""


_MEMBERS = select(
    members.c.trial,
    members.c.component,
    components.c.arn,
    components.c.source_key,
    components.c.created_at,
    components.c.created_by,
).join(components, components.c.key == members.c.component)

LENDERS: Mapping[Origin, Lender] = {
    "metric": Lender(metric_summaries, "component", name="name"),
    "parameter": Lender(parameters, "component", name="name"),
    "input": Lender(component_artifacts, "component", name="name", fixed={"side": "input"}),
    "output": Lender(component_artifacts, "component", name="name", fixed={"side": "output"}),
    "tag": Lender(tags, "arn", by="arn", name="key", each=False),
    # The trials that a component is in, with their experiments; and the components that are in a trial.
    "parent": Lender(members, "component", each=False),
    "member": Lender(_MEMBERS.subquery(), "trial", each=False),
    "job": Lender(jobs, "uid", by="job_uid"),
    "part": Lender(job_parts, "job_uid", by="job_uid", name="name"),
}


def holds(kind: type[Any], test: Test) -> ColumnElement[bool]:
    """The test as a condition of the rows of that kind."""
    table = TABLES[kind]
    match test:
        case Every(of):
            return and_(true(), *(holds(kind, one) for one in of))
        case Some(of):
            return or_(false(), *(holds(kind, one) for one in of))
        case Same(origin, conditions):
            return _lent(table, origin, None, conditions)
        case Condition(value, operator, wanted) if value.of != "row":
            opposite = _OPPOSITES.get(operator)
            if opposite is None:
                return _lent(table, value.of, value.name, [test])
            return ~_lent(table, value.of, value.name, [Condition(value, opposite, wanted)])
        case Condition():
            return _compared(table.c, test)
    raise AssertionError(test)


def column(columns: Any, value: Value) -> ColumnElement[Any]:
    """The column of a value among those of its table."""
    found: ColumnElement[Any] = columns[value.column]
    if value.path:
        found = text_at(found, value.path)
    if value.first:
        found = first_word(found)
    return func.lower(found) if value.lower else found


def of_name(lender: Lender, lent: Any, name: str | None) -> list[ColumnElement[bool]]:
    """That a row of what is lent is one of those in question."""
    fixed = {**lender.fixed, **({} if name is None or lender.name is None else {lender.name: name})}
    return [lent[its] == value for its, value in fixed.items()]


def _lent(
    table: Table, origin: Origin, name: str | None, conditions: Sequence[Condition]
) -> ColumnElement[bool]:
    """That another table lends a row what fulfils all conditions."""
    lender = LENDERS[origin]
    lent = lender.table.alias("lent")
    fulfilled = [*of_name(lender, lent.c, name), *(_compared(lent.c, one) for one in conditions)]
    if lender.each:
        return exists().where(lent.c[lender.owner] == table.c[lender.by], *fulfilled)
    return table.c[lender.by].in_(select(lent.c[lender.owner]).where(*fulfilled))


def _compared(columns: Any, condition: Condition) -> ColumnElement[bool]:
    wanted = condition.wanted
    if condition.value.column == "either":  # each parameter has one of the two
        if condition.operator == "exists":
            return true()
        texts, numbers = wanted
        return or_(columns.text.in_(texts), columns.number.in_(numbers))
    its = column(columns, condition.value)
    compare: Mapping[str, Any] = {
        "=": lambda: its == wanted,
        "!=": lambda: its.is_distinct_from(wanted),
        ">": lambda: its > wanted,
        ">=": lambda: its >= wanted,
        "<": lambda: its < wanted,
        "<=": lambda: its <= wanted,
        "in": lambda: its.in_(wanted),
        "not in": lambda: or_(its.is_(None), its.not_in(wanted)),
        "within": lambda: its.between(*wanted),
        "not within": lambda: or_(its.is_(None), ~its.between(*wanted)),
        "contains": lambda: contains(its, wanted),
        "exists": lambda: its.is_not(None),
        "absent": lambda: its.is_(None),
    }
    found: ColumnElement[bool] = compare[condition.operator]()
    return found
