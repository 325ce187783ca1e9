"""All checks of values that the service model states, with all violations told at once, in AWS's words.

botocore's own validator, which clients run, knows types, required members and minimums only; maximums,
patterns and enums are checked by the service alone. The wording is part of the API: people and programs
search for it.

A list or map of scalars is told in one violation with all constraints of its elements, and of its value only
the elements that break one are shown: the cut of a long value would hide them. A list of structures is told by
the path of the member (`tags.1.member.key`). What lies in a list or map that is longer than allowed isn't looked
at: that bounds the work and the message, and the length is what has to be mended first. Lists within lists can still
break more constraints than anybody reads, so looking ends after `_MOST` violations.

One check is not the model's: no text may hold a NUL character, which passes AWS's patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from penstock.wire import faults, limits, model, nearest
from penstock.wire.parse import Call, step
from penstock.wire.patterns import translate

if TYPE_CHECKING:
    from botocore.model import Shape

#: A value as parsed, its path, and the list that violations are added to.
Check = Callable[[Any, str, list[str]], None]

#: A value and its place in a message are cut here.
_SHOWN = 256
#: So many violations are told. A request of 600 kB was seen to break 160,000 constraints, each at a long path.
_MOST = 200
#: Patterns are tried on texts up to this length, or the shape's own maximum where that is more: some patterns
#: need time that grows with the square of the length.
_MATCHED = 1024


def check(call: Call, *, relaxed: bool = False) -> None:
    """Refuse `call` when its parameters break the model.

    Args:
        call: What was asked.
        relaxed: Whether the limits of `limits.RELAXED` are raised.

    Raises:
        Fault: One ValidationException with all violations; or, where there are none, with all NUL characters.
    """
    shape = model.operation(call.service, call.operation).input_shape
    if shape is None:
        return
    found = violations(call.service, shape.name, call.params, relaxed=relaxed)
    if found:
        errors = "error" if len(found) == 1 else "errors"
        if len(found) == _MOST:
            more = f" (No more than {_MOST} are told.)"
        else:
            asked = (call.service, shape.name, call.params)
            more = ("" if relaxed else limits.exceeded(*asked)) + nearest.meant(*asked)
        raise faults.validation(f"{len(found)} validation {errors} detected: {'; '.join(found)}{more}")
    if _has_nul(call.params):
        raise faults.validation(" ".join(islice(_nul(call.params, ""), _MOST)))


def _has_nul(params: Mapping[str, Any]) -> bool:
    """Whether `_nul` has anything to say, which almost never is so: told without the places."""
    values: list[Any] = [params]
    for value in values:  # which grows by what is found within
        if isinstance(value, str):
            if "\0" in value:
                return True
        elif isinstance(value, dict):  # as parsed from JSON; to ask for a Mapping is ten times slower
            values += value
            values += value.values()
        elif isinstance(value, list):
            values += value
    return False


def _nul(value: Any, where: str) -> Iterator[str]:
    """Where a NUL character is. No argument, variable or path can have one, and no text in PostgreSQL."""
    if isinstance(value, str) and "\0" in value:
        yield f"{where} holds a NUL character, which no argument, variable, path or text on record can have."
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _nul(name, where)
            yield from _nul(inner, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _nul(inner, f"{where}.{number}")


def violations(
    service: str, shape_name: str, params: Mapping[str, Any], *, relaxed: bool = False
) -> list[str]:
    """What is wrong with `params` (as `parse` makes them) by the shape, `_MOST` at most; empty when nothing is."""
    found: list[str] = []
    _checker(service, shape_name, relaxed)(params, "", found)
    return found[:_MOST]


@cache
def _checker(service: str, shape_name: str, relaxed: bool) -> Check:
    """What checks a shape; made once, by name, so that a shape may contain itself."""
    shape = model.service(service).shape_for(shape_name)
    match shape.type_name:
        case "structure":
            return _structure(service, shape, relaxed)
        case "list":
            return _list(service, shape, relaxed)
        case "map":
            return _map(service, shape, relaxed)
        case _:
            return _scalar(service, shape, relaxed)


def _structure(service: str, shape: Shape, relaxed: bool) -> Check:
    required = set(shape.required_members)

    @cache
    def members() -> list[tuple[str, str, bool, Check]]:
        # Made at the first look: a shape that contains itself would never be ready otherwise.
        return [
            (name, step(name), name in required, _checker(service, member.name, relaxed))
            for name, member in shape.members.items()
        ]

    def look(value: Any, path: str, found: list[str]) -> None:
        for name, label, needed, check_member in members():
            item = value.get(name)
            if item is not None:
                check_member(item, f"{path}.{label}" if path else label, found)
            elif needed:
                found.append(_missing(f"{path}.{label}" if path else label))

    return look


def _list(service: str, shape: Shape, relaxed: bool) -> Check:
    sized = _size(service, shape, relaxed)
    element = shape.member
    scalar = element.type_name not in {"structure", "list", "map"}
    broken = _broken(service, element, relaxed) if scalar else None
    look_within = _elements(service, element.name, relaxed)
    demand = f"Member must satisfy constraint: [{', '.join(_constraints(service, element, relaxed))}]"

    def look(value: Any, path: str, found: list[str]) -> None:
        if sized(value, path, found):
            return
        if broken is not None:
            if bad := [item for item in value if item is None or broken(item)]:
                found.append(_violation(bad, path, demand))
            return
        look_within(((f"{path}.{number}.member", item) for number, item in enumerate(value, 1)), found)

    return look


def _map(service: str, shape: Shape, relaxed: bool) -> Check:
    sized = _size(service, shape, relaxed)
    broken_key = _broken(service, shape.key, relaxed)
    keys = f"Map keys must satisfy constraint: [{', '.join(_constraints(service, shape.key, relaxed))}]"
    element = shape.value
    scalar = element.type_name not in {"structure", "list", "map"}
    broken = _broken(service, element, relaxed) if scalar else None
    look_within = _elements(service, element.name, relaxed)
    values = f"Map value must satisfy constraint: [{', '.join(_constraints(service, element, relaxed))}]"

    def look(value: Any, path: str, found: list[str]) -> None:
        if sized(value, path, found):
            return
        if bad := {key: item for key, item in value.items() if broken_key(key)}:
            found.append(_violation(bad, path, keys))
        if broken is not None:
            if bad := {key: item for key, item in value.items() if item is None or broken(item)}:
                found.append(_violation(bad, path, values))
            return
        look_within(((f"{path}.{key[:_SHOWN]}.member", item) for key, item in value.items()), found)

    return look


def _elements(
    service: str, shape_name: str, relaxed: bool
) -> Callable[[Iterable[tuple[str, Any]], list[str]], None]:
    """What checks the elements of a list or map, each with its path."""

    def look(items: Iterable[tuple[str, Any]], found: list[str]) -> None:
        # The checker is looked up at use: a shape that contains itself would never be ready otherwise.
        for place, item in items:
            if len(found) >= _MOST:
                return
            if item is None:
                found.append(_missing(place))
            else:
                _checker(service, shape_name, relaxed)(item, place, found)

    return look


def _scalar(service: str, shape: Shape, relaxed: bool) -> Check:
    broken = _broken(service, shape, relaxed)
    sensitive = bool(shape.metadata.get("sensitive"))

    def look(value: Any, path: str, found: list[str]) -> None:
        if bad := broken(value):
            found.extend(_violation(value, path, constraint, sensitive=sensitive) for constraint in bad)

    return look


def _size(service: str, shape: Shape, relaxed: bool) -> Callable[[Any, str, list[str]], bool]:
    """What adds a violation when a list or map is too long or too short; True when it is too long."""
    low, high = shape.metadata.get("min", 0), limits.most(service, shape, relaxed=relaxed)

    def look(value: Any, path: str, found: list[str]) -> bool:
        if high is not None and len(value) > high:
            found.append(_violation(value, path, _at_most("length", high)))
            return True
        if len(value) < low:
            found.append(_violation(value, path, _at_least("length", low)))
        return False

    return look


def _broken(service: str, shape: Shape, relaxed: bool) -> Callable[[Any], Sequence[str]]:
    """What tells which constraints of a scalar shape a value breaks."""
    tests = _tests(service, shape, relaxed)

    def look(value: Any) -> Sequence[str]:
        for _, holds in tests:
            if not holds(value):
                return [constraint for constraint, keeps in tests if not keeps(value)]
        return ()

    return look


def _constraints(service: str, shape: Shape, relaxed: bool) -> list[str]:
    """All constraints of a scalar shape, in words."""
    if shape.type_name in {"structure", "list", "map"}:
        return []
    return [constraint for constraint, _ in _tests(service, shape, relaxed)] or ["Member must not be null"]


def _tests(service: str, shape: Shape, relaxed: bool) -> list[tuple[str, Callable[[Any], bool]]]:
    """The constraints of a scalar shape: in words, and as a function that tells whether a value keeps it."""
    meta = shape.metadata
    tests: list[tuple[str, Callable[[Any], bool]]] = []
    low, high = meta.get("min"), limits.most(service, shape, relaxed=relaxed)
    if shape.type_name in {"string", "blob"}:
        if high is not None:
            tests.append((_at_most("length", high), lambda value: len(value) <= high))
        if low is not None:
            tests.append((_at_least("length", low), lambda value: len(value) >= low))
    else:
        if high is not None:
            tests.append((_at_most("value", high), lambda value: value <= high))
        if low is not None:
            tests.append((_at_least("value", low), lambda value: value >= low))
    if "pattern" in meta:
        full = translate(meta["pattern"]).fullmatch
        limit = max(high or 0, _MATCHED)
        tests.append(
            (
                f"Member must satisfy regular expression pattern: {meta['pattern']}",
                lambda value: len(value) > limit or full(value) is not None,
            )
        )
    if "enum" in meta:
        allowed = frozenset(meta["enum"])
        tests.append(
            (
                f"Member must satisfy enum value set: [{', '.join(meta['enum'])}]",
                lambda value: value in allowed,
            )
        )
    return tests


def _at_most(what: str, limit: int) -> str:
    return f"Member must have {what} less than or equal to {limit}"


def _at_least(what: str, limit: int) -> str:
    return f"Member must have {what} greater than or equal to {limit}"


def _missing(path: str) -> str:
    return f"Value null at '{path}' failed to satisfy constraint: Member must not be null"


def _violation(value: Any, path: str, constraint: str, *, sensitive: bool = False) -> str:
    shown = "" if sensitive else f" '{_shown(value)}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: Any) -> str:
    """A value as Java prints it, cut. Of a map only the keys: environment variables may hold secrets."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = value
        case list():
            text = f"[{', '.join(_shown(item) for item in islice(value, _SHOWN))}]"
        case dict():
            text = f"{{{', '.join(f'{key}=...' for key in islice(value, _SHOWN))}}}"
        case None:
            text = "null"
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
