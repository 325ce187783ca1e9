"""SearchExpression -> a function that tells whether a record fits it.

What can't be asked (a property that is not there, an order of texts, a number that is none) is refused when the
expression is read, whatever there is to search.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from penstock.api.properties import Property, elements, resolve
from penstock.api.translate import invalid
from penstock.wire.faults import Fault

if TYPE_CHECKING:
    from botocore.model import Shape

#: Tells whether a record fits. Times in records are milliseconds.
Test = Callable[[Any], bool]
Expression = Mapping[str, Any]

#: The API reference of SearchExpression: filters, nested filters and subexpressions, at all depths together.
_MOST_CONDITIONS = 50
#: The API reference of Filter: of these any number of Contains, of all others one.
_CONTAINS_FREELY = {"displayname", "trialcomponentname", "tags", "inputartifacts", "outputartifacts"}

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}


def check_size(expression: Expression) -> None:
    """Refuse an expression that asks nothing somewhere, or for too much.

    Raises:
        Fault: As said.
    """
    expressions = list(_expressions(expression))
    if any(not _conditions(e) for e in expressions):
        raise invalid("A SearchExpression needs at least one of Filters, NestedFilters and SubExpressions.")
    nested = [n for e in expressions for n in e.get("NestedFilters", ())]
    count = sum(map(_conditions, expressions)) + sum(len(n["Filters"]) for n in nested)
    if count > _MOST_CONDITIONS:
        raise invalid(
            f"A SearchExpression can have {_MOST_CONDITIONS} conditions at most; this one has {count}."
        )
    filters = [f for e in [*expressions, *nested] for f in e.get("Filters", ())]
    bounded = [
        f
        for f in filters
        if f.get("Operator") == "Contains" and f["Name"].partition(".")[0].lower() not in _CONTAINS_FREELY
    ]
    if len(bounded) > 1:
        raise invalid("'CONTAINS' operator usage limit of 1 exceeded.")


def compiled(expression: Expression, shape: Shape) -> Test:
    """The test that an expression makes of records of `shape`.

    Raises:
        Fault: It asks what can't be asked of such records.
    """
    tests = [
        *(_filter(f, shape, f["Name"]) for f in expression.get("Filters", ())),
        *(_nested(n, shape) for n in expression.get("NestedFilters", ())),
        *(compiled(e, shape) for e in expression.get("SubExpressions", ())),
    ]
    decide = any if expression.get("Operator") == "Or" else all
    return lambda record: decide(test(record) for test in tests)


def names(expression: Expression) -> Iterator[str]:
    """All property names that an expression asks for."""
    for one in _expressions(expression):
        yield from (f["Name"] for f in one.get("Filters", ()))
        yield from (n["NestedPropertyName"] for n in one.get("NestedFilters", ()))


def of_element(listed: str, name: str) -> str:
    """A property of a list's elements, whose name may begin with the list's."""
    start = f"{listed}.".lower()
    return name[len(start) :] if name.lower().startswith(start) else name


def unknown(name: str) -> Fault:
    """There is no such property."""
    return invalid(f"There is no property {name[:128]!r} that could be searched for.")


def _expressions(expression: Expression) -> Iterator[Expression]:
    yield expression
    for inner in expression.get("SubExpressions", ()):
        yield from _expressions(inner)


def _conditions(expression: Expression) -> int:
    return sum(len(expression.get(k, ())) for k in ("Filters", "NestedFilters", "SubExpressions"))


def _nested(nested: Mapping[str, Any], shape: Shape) -> Test:
    """One element of the list must satisfy all filters; their names may repeat that of the list."""
    name = nested["NestedPropertyName"]
    found = elements(shape, name)
    if found is None:
        raise invalid(
            f"The NestedPropertyName {name[:128]!r} is not that of a list whose elements have properties."
        )
    element, listed = found
    tests = [_filter(one, element, of_element(name, one["Name"])) for one in nested["Filters"]]
    return lambda record: any(
        all(test(item) for test in tests) for items in listed.values(record) for item in items
    )


def _filter(given: Mapping[str, Any], shape: Shape, name: str) -> Test:
    found = resolve(shape, name)
    if found is None:
        raise unknown(given["Name"])
    kind = given.get("Operator", "Equals")
    if kind in {"Exists", "NotExists"}:
        wanted = kind == "Exists"
        return lambda record: any(v not in ([], {}) for v in found.values(record)) is wanted
    if "Value" not in given:
        raise invalid(f"The filter for {given['Name']!r} needs a Value for its Operator {kind}.")
    fits = _comparison(found, kind, given["Value"], given["Name"])
    if kind == "NotEquals":  # the opposite of Equals, so also of what is not there
        return lambda record: not any(map(fits, found.values(record)))
    return lambda record: any(map(fits, found.values(record)))


def _comparison(found: Property, kind: str, wanted: str, name: str) -> Test:
    """What a single value must be."""
    order = _ORDERS.get(kind)
    match found.kind:
        case "whole":
            raise invalid(f"The property {name!r} has parts: name one of them, or use Exists or NotExists.")
        case "text" | "boolean" if order is not None:
            raise invalid(f"The Operator {kind} is not for {name!r}, which is {_NAMED[found.kind]}.")
        case "number" | "time" | "boolean" if kind in {"Contains", "In"}:
            raise invalid(f"The Operator {kind} is not for {name!r}, which is {_NAMED[found.kind]}.")
        case "number":
            return _numbers(order or operator.eq, number(wanted, name))
        case "time":
            return _times(order or operator.eq, wanted, name)
        case "boolean":
            return lambda value: ("true" if value else "false") == wanted.lower()
        case "either" if order is not None:
            return _numbers(order, number(wanted, name))
    return _texts(kind, wanted, cased=found.cased)


def _texts(kind: str, wanted: str, *, cased: bool) -> Test:
    def fold(value: Any) -> str:
        return str(value) if cased else str(value).lower()

    if kind == "Contains":
        part = fold(wanted)
        return lambda value: part in fold(value)
    whole = {fold(w.strip()) for w in wanted.split(",")} if kind == "In" else {fold(wanted)}

    def fits(value: Any) -> bool:
        if isinstance(value, str):
            return fold(value) in whole
        return any(decimal(w) == Decimal(repr(value)) for w in whole)  # a parameter's number

    return fits


def _numbers(compare: Callable[[Any, Any], bool], wanted: Decimal) -> Test:
    # A number is compared as it is written, not by its last binary digit.
    return lambda value: not isinstance(value, str) and compare(Decimal(repr(value)), wanted)


def _times(compare: Callable[[Any, Any], bool], text: str, name: str) -> Test:
    wanted, unit = moment(text, name)
    return lambda value: compare(value // unit, wanted // unit)


def moment(text: str, name: str) -> tuple[int, int]:
    """A time, and in which unit it is to be compared: whole seconds where it has no fraction, as AWS's format has none.

    Raises:
        Fault: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return round(found.timestamp() * 1000), 1 if found.microsecond else 1000
    except (ValueError, OverflowError):
        raise invalid(
            f"The property {name!r} is a time: {text[:64]!r} must be written as 2024-12-31T23:59:59, in UTC."
        ) from None


def number(text: str, name: str) -> Decimal:
    """A number as it is written.

    Raises:
        Fault: It is none.
    """
    found = decimal(text)
    if found is None:
        raise invalid(f"The property {name!r} is a number, and {text[:64]!r} is none.")
    return found


def decimal(text: str) -> Decimal | None:
    """The finite number that a text is, if it is one."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


_NAMED = {"text": "a text", "number": "a number", "time": "a time", "boolean": "true or false"}
