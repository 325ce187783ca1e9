"""What of a search the database can answer: tests that all records found must fulfil, and the order.

Only what means the same there as in `search_expression` is handed over; whatever else is asked is judged record by
record, among those that are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from penstock.api.search_expression import Expression, decimal, moment, number, of_element
from penstock.api.search_known import ELEMENTS, Known, known
from penstock.api.translate import invalid
from penstock.store.conditions import Condition, Every, Operator, Same, Some, Test, Value

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
#: What numbers are written with, also the largest, the smallest and the infinite ones.
_OF_NUMBERS = frozenset("0123456789+-.einfa")
#: What is known of a filter: tests that it implies, and whether they say all of it.
_Narrowed = tuple[list[Test], bool]


def order(kind: type[Any], name: str) -> Value | None:
    """What the database sorts by for a property; None where it can't: of several metrics, say, the first counts."""
    found = known(kind, name)
    if found is None or found.type == "whole" or alters(name):
        return None
    value = found.value
    return value if value.of in {"row", "parent", "job"} or value.name is not None else None


def narrow(kind: type[Any], expression: Expression | None) -> tuple[list[Test], Expression | None]:
    """The tests that an expression implies, and what of it they don't say: that is for the records to tell.

    The expression is a sound one: `search_expression.compiled` has taken it.
    """
    if expression is None:
        return [], None
    parts: list[tuple[str, list[Test], Expression | None]] = []
    for one in expression.get("Filters") or ():
        tests, said = _of_filter(known(kind, one["Name"]), one)
        parts.append(("Filters", tests, None if said else one))
    for one in expression.get("NestedFilters") or ():
        tests, said = _of_nested(one)
        parts.append(("NestedFilters", tests, None if said else one))
    parts += [("SubExpressions", *narrow(kind, one)) for one in expression.get("SubExpressions") or ()]
    implied = [tests for _, tests, _ in parts]
    if expression.get("Operator") != "Or" or len(parts) == 1:
        rest: dict[str, Any] = {}
        for member, _, left in parts:
            if left is not None:
                rest.setdefault(member, []).append(left)
        return [test for tests in implied for test in tests], rest or None
    if not all(implied):  # of one of them nothing is known
        return [], expression
    either = Some([tests[0] if len(tests) == 1 else Every(tests) for tests in implied])
    return [either], None if all(left is None for *_, left in parts) else expression


def visible(conditions: Sequence[Mapping[str, str]]) -> list[Test]:
    """What VisibilityConditions leave to be seen: records whose tags of these keys, if they have them, fit.

    Raises:
        Fault: A key is not `Tags.<key>`.
    """
    wanted: dict[str, list[str]] = {}
    for condition in conditions:
        start, _, key = condition.get("Key", "").partition(".")
        if start != "Tags" or not key:
            raise invalid("The Key of a VisibilityCondition must be Tags.<key>.")
        wanted.setdefault(key, []).append(condition.get("Value", ""))
    tags = ((Value("value", "tag", key), values) for key, values in wanted.items())
    return [Some([Condition(tag, "absent"), Condition(tag, "in", values)]) for tag, values in tags]


def _of_nested(nested: Mapping[str, Any]) -> _Narrowed:
    """One element must fulfil them all: so what is known of some of them is true of all that is found."""
    name = nested["NestedPropertyName"]
    if name.lower() not in ELEMENTS:
        return [], False
    origin, properties = ELEMENTS[name.lower()]
    parts = [
        _conditions(properties.get(of_element(name, one["Name"]).lower()), one) for one in nested["Filters"]
    ]
    found = [condition for conditions, _ in parts for condition in conditions]
    return [Same(origin, found)] if found else [], all(said for _, said in parts)


def _of_filter(found: Known | None, given: Mapping[str, Any]) -> _Narrowed:
    conditions, said = _conditions(found, given)
    if said or found is None or found.type != "either" or given.get("Operator") != "Contains":
        return [*conditions], said
    # How a number is written, the record alone knows.
    texts, numbers = (replace(found.value, column=column) for column in ("text", "number"))
    return [Some([Condition(texts, "contains", given["Value"]), Condition(numbers, "exists")])], False


def _conditions(found: Known | None, given: Mapping[str, Any]) -> tuple[list[Condition], bool]:
    """The same as a filter of something that is known; nothing where the database can't say it."""
    operator, wanted = _OPERATORS[given.get("Operator", "Equals")], given.get("Value", "")
    if found is None or alters(given["Name"]) or (alters(wanted) and found.type in {"text", "either"}):
        return [], False
    if operator in {"exists", "absent"}:
        return [Condition(found.value, operator)], True
    listed = [part.strip() for part in wanted.split(",")] if operator == "in" else [wanted]
    match found.type:
        case "either" if operator in {"=", "!=", "in"}:
            exact = [double for text in listed if (double := _exactly(decimal(text))) is not None]
            return [Condition(found.value, "not in" if operator == "!=" else "in", (listed, exact))], True
        case "either" if operator == "contains":
            if _OF_NUMBERS.issuperset(wanted):
                return [], False
            return [Condition(replace(found.value, column="text"), operator, wanted)], True
        case "either" | "number":
            numbers = replace(found.value, column="number") if found.type == "either" else found.value
            return [Condition(numbers, *_bound(operator, number(wanted, given["Name"])))], True
        case "time":
            return [Condition(found.value, *_period(operator, *moment(wanted, given["Name"])))], True
        case "name":
            wanted, listed = wanted.lower(), [part.lower() for part in listed]
    return [Condition(found.value, operator, listed if operator == "in" else wanted)], True


def _exactly(exact: Decimal | None) -> float | None:
    """The double that is this number, if one is."""
    return float(exact) if exact is not None and Decimal(repr(float(exact))) == exact else None


def _bound(operator: Operator, exact: Decimal) -> tuple[Operator, Any]:
    """What a double must be so that, as it is written, it compares so with a number that may be none."""
    nearest = float(exact)
    written = Decimal(repr(nearest))
    if written == exact:
        return operator, nearest
    beyond = written > exact
    others: Mapping[str, tuple[Operator, Any]] = {
        "=": ("in", []),
        "!=": ("not in", []),
        ">": (">=" if beyond else ">", nearest),
        "<": ("<" if beyond else "<=", nearest),
    }
    return others[operator if operator in others else operator[0]]


def alters(text: str) -> bool:
    """Whether a database may have another text in its place."""
    return any(character in text for character in _ALTERED)


def _period(operator: Operator, at: int, unit: int) -> tuple[Operator, Any]:
    """A time that is given in whole seconds stands for all of its second."""
    first = at // unit * unit
    last = first + unit - 1
    periods: Mapping[str, tuple[Operator, Any]] = {
        "=": ("within", (first, last)),
        "!=": ("not within", (first, last)),
        ">": (">", last),
        ">=": (">=", first),
        "<": ("<", first),
        "<=": ("<=", last),
    }
    return periods[operator]
