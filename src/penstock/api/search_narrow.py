"""What of a search the database can answer: conditions that all records found must fulfil, and the order.

Only what means the same there as in `search_expression` is handed over; whatever else is asked is judged record by
record, among those that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from penstock.api.search_expression import Expression, moment, number
from penstock.job.experiments import Component, Experiment, Trial
from penstock.store.finding import Condition, Operator, Value

#: `name` is a text without regard to case, of which the database has the lower case.
_Type = Literal["name", "text", "time", "number"]


@dataclass(frozen=True)
class Known:
    """A property that the database has, and as what."""

    value: Value
    type: _Type


_TIMES = {
    "creationtime": Known(Value("created_at"), "time"),
    "lastmodifiedtime": Known(Value("modified_at"), "time"),
}
#: Kind -> property, in lower case -> what the database has of it. Tags and metrics are named freely, see `known`.
_KNOWN: Mapping[type[Any], Mapping[str, Known]] = {
    Experiment: {**_TIMES, "experimentname": Known(Value("key"), "name")},
    Trial: {
        **_TIMES,
        "trialname": Known(Value("key"), "name"),
        "experimentname": Known(Value("experiment_key"), "name"),
    },
    Component: {
        **_TIMES,
        "trialcomponentname": Known(Value("key"), "name"),
        "source.sourcearn": Known(Value("source_key"), "name"),
        "status.primarystatus": Known(Value("status"), "text"),
        "starttime": Known(Value("started_at"), "time"),
        "endtime": Known(Value("ended_at"), "time"),
        "parents.trialname": Known(Value("trial", "trial"), "name"),
        "parents.experimentname": Known(Value("experiment", "experiment"), "name"),
    },
}
_STATISTICS = {
    "max": "maximum",
    "min": "minimum",
    "last": "last",
    "avg": "mean",
    "stddev": "deviation",
    "count": "size",
}
_OPERATORS: Mapping[str, Operator] = {
    "Equals": "=",
    "NotEquals": "!=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": ">=",
    "LessThan": "<",
    "LessThanOrEqualTo": "<=",
    "In": "in",
    "Contains": "contains",
}


def known(kind: type[Any], name: str) -> Known | None:
    """What the database has of a property; None for what only the record can tell."""
    start, _, rest = name.partition(".")
    if start.lower() == "tags" and rest:
        return Known(Value("value", "tag", rest), "text")
    if start.lower() == "metrics" and kind is Component:
        metric, _, statistic = rest.rpartition(".")
        column = _STATISTICS.get(statistic.lower())
        return Known(Value(column, "metric", metric), "number") if metric and column else None
    return _KNOWN[kind].get(name.lower())


def order(kind: type[Any], name: str) -> Value | None:
    """What the database sorts by for a property; None where it can't: of several trials, say, the first counts."""
    found = known(kind, name)
    return found.value if found is not None and found.value.of in {"row", "metric"} else None


def narrow(kind: type[Any], expression: Expression | None) -> tuple[list[Condition], bool]:
    """The conditions that an expression implies, and whether they say all of it.

    The expression is a sound one: `search_expression.compiled` has taken it.
    """
    if expression is None:
        return [], True
    filters, nested, inner = (expression.get(n) or () for n in ("Filters", "NestedFilters", "SubExpressions"))
    if expression.get("Operator") == "Or" and len(filters) + len(nested) + len(inner) > 1:
        return [], False
    conditions: list[Condition] = []
    whole = not nested
    for one in filters:
        found = list(_conditions(kind, one))
        conditions += found
        whole = whole and bool(found)
    for sub in inner:
        found, said = narrow(kind, sub)
        conditions += found
        whole = whole and said
    return conditions, whole


def _conditions(kind: type[Any], given: Mapping[str, Any]) -> Iterator[Condition]:
    """The same as a filter; none where the database can't say it."""
    found, operator = known(kind, given["Name"]), _OPERATORS.get(given.get("Operator", "Equals"))
    if found is None or operator is None:
        return
    wanted = given["Value"]
    match found.type:
        case "name" | "text":
            wanted = wanted.lower() if found.type == "name" else wanted
            if operator == "in":
                wanted = [part.strip() for part in wanted.split(",")]
            yield Condition(found.value, operator, wanted)
        case "number":
            exact = number(wanted, given["Name"])
            # What a double can't hold is compared as it is written, by the record.
            if Decimal(repr(float(exact))) == exact:
                yield Condition(found.value, operator, float(exact))
        case "time":
            yield from _times(found.value, operator, *moment(wanted, given["Name"]))


def _times(value: Value, operator: Operator, at: int, unit: int) -> Iterator[Condition]:
    """A time that is given in whole seconds stands for all of its second."""
    first = at // unit * unit
    last = first + unit - 1
    bounds: Mapping[str, list[tuple[Operator, int]]] = {
        "=": [(">=", first), ("<=", last)],
        ">": [(">", last)],
        ">=": [(">=", first)],
        "<": [("<", first)],
        "<=": [("<=", last)],
    }
    for compare, bound in bounds.get(operator, []):
        yield Condition(value, compare, bound)
