"""What of a search the database can answer: conditions that all records found must fulfil, and the order.

Only what means the same there as in `search_expression` is handed over; whatever else is asked is judged record by
record, among those that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from penstock.api.search_expression import Expression, decimal, moment, number
from penstock.job.experiments import Component, Experiment, Trial
from penstock.store.finding import Condition, Operator, Value

#: `name` is a text without regard to case, of which the database has the lower case; `either` a parameter's value, a
#: number or a text.
_Type = Literal["name", "text", "time", "number", "either"]


@dataclass(frozen=True)
class Known:
    """A property that the database has, and as what."""

    value: Value
    type: _Type


#: What all kinds have.
_COMMON = {
    "creationtime": Known(Value("created_at"), "time"),
    "lastmodifiedtime": Known(Value("modified_at"), "time"),
    "displayname": Known(Value("display_name", lower=True), "name"),
}
#: Kind -> property, in lower case -> what the database has of it. Tags, metrics and parameters are named freely, see
#: `known`.
_KNOWN: Mapping[type[Any], Mapping[str, Known]] = {
    Experiment: {**_COMMON, "experimentname": Known(Value("key"), "name")},
    Trial: {
        **_COMMON,
        "trialname": Known(Value("key"), "name"),
        "experimentname": Known(Value("experiment_key"), "name"),
    },
    Component: {
        **_COMMON,
        "trialcomponentname": Known(Value("key"), "name"),
        "source.sourcearn": Known(Value("source_key"), "name"),
        "status.primarystatus": Known(Value("status"), "text"),
        "starttime": Known(Value("started_at"), "time"),
        "endtime": Known(Value("ended_at"), "time"),
        "runname": Known(Value("run_name", lower=True), "name"),
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
    "Exists": "exists",
    "NotExists": "absent",
}
#: What a database may have in the place of a character 0, which it can't hold.
_ALTERED = "\0\ufffd"


def known(kind: type[Any], name: str) -> Known | None:
    """What the database has of a property; None for what only the record can tell."""
    start, _, rest = name.partition(".")
    if start.lower() == "tags" and rest:
        return Known(Value("value", "tag", rest), "text")
    if start.lower() == "metrics" and kind is Component:
        metric, _, statistic = rest.rpartition(".")
        column = _STATISTICS.get(statistic.lower())
        return Known(Value(column, "metric", metric), "number") if metric and column else None
    if start.lower() == "parameters" and kind is Component:
        # A part of a parameter is named by few, and its name may hold a dot.
        part = "." in rest and rest.rpartition(".")[2].lower() in {"numbervalue", "stringvalue"}
        return (
            None if not rest or part or _alters(rest) else Known(Value("either", "parameter", rest), "either")
        )
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
    if operator in {"exists", "absent"}:
        yield Condition(found.value, operator)
        return
    wanted = given["Value"]
    match found.type:
        case "either" if operator in {"=", "!=", "in"}:
            texts = [part.strip() for part in wanted.split(",")] if operator == "in" else [wanted]
            if not any(map(_alters, texts)):
                exact = [double for text in texts if (double := _exactly(decimal(text))) is not None]
                yield Condition(found.value, "!=" if operator == "!=" else "in", (texts, exact))
        case "either" if operator != "contains":
            if (bound := _exactly(number(wanted, given["Name"]))) is not None:
                yield Condition(replace(found.value, column="number"), operator, bound)
        case "name" | "text":
            wanted = wanted.lower() if found.type == "name" else wanted
            if operator == "in":
                wanted = [part.strip() for part in wanted.split(",")]
            yield Condition(found.value, operator, wanted)
        case "number":
            # What a double can't hold is compared as it is written, by the record.
            if (bound := _exactly(number(wanted, given["Name"]))) is not None:
                yield Condition(found.value, operator, bound)
        case "time":
            yield from _times(found.value, operator, *moment(wanted, given["Name"]))


def _exactly(exact: Decimal | None) -> float | None:
    """The double that is this number, if one is."""
    return float(exact) if exact is not None and Decimal(repr(float(exact))) == exact else None


def _alters(text: str) -> bool:
    return any(character in text for character in _ALTERED)


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
