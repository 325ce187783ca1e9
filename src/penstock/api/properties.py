"""Names of properties, as Search's filters have them, and the values that a record has there.

A name is a path of members (letters' case does not count): `Source.SourceArn`. A list on the way stands for all of
its elements: `Parents.TrialName`. What has names of its own is found by them: `Tags.<key>`, `Metrics.<name>.Max`,
`Parameters.<name>`, `InputArtifacts.<name>`, `SourceDetail.ProcessingJob.Environment.<name>`. Which members there
are, and of which type, the service model says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from botocore.model import Shape

#: `either` is a parameter's value, a number or a text; `whole` can't be compared, only be there or not.
Kind = Literal["text", "number", "time", "boolean", "either", "whole"]

_KINDS: dict[str, Kind] = {
    "string": "text",
    "integer": "number",
    "long": "number",
    "double": "number",
    "float": "number",
    "timestamp": "time",
    "boolean": "boolean",
}


@dataclass(frozen=True)
class Property:
    """A place in records of one shape."""

    kind: Kind
    cased: bool
    """Whether the letters' case counts in comparisons."""
    values: Callable[[Any], list[Any]]
    """All values that a record has there; empty when it has none. Times are milliseconds."""


def resolve(shape: Shape, name: str) -> Property | None:
    """The property of that name; None when records of this shape have none."""
    return _resolve(shape, name.split("."))


def elements(shape: Shape, name: str) -> tuple[Shape, Property] | None:
    """A property that is a list of structures, with the shape of its elements; None when `name` is no such."""
    found = resolve(shape, name)
    for part in name.split("."):
        if (member := _member(shape, part)) is None:
            return None
        shape = shape.members[member]
    if found is None or shape.type_name != "list" or shape.member.type_name != "structure":
        return None
    return shape.member, found


def _resolve(shape: Shape, parts: Sequence[str]) -> Property | None:
    if not parts:
        # Names in experiments, and ARNs, are not case-sensitive.
        cased = shape.name != "ExperimentEntityName" and not shape.name.endswith("Arn")
        return Property(_KINDS.get(shape.type_name, "whole"), cased, lambda value: [value])
    if shape.type_name == "structure":
        if (member := _member(shape, parts[0])) is None:
            return None
        return _of(_resolve(shape.members[member], parts[1:]), lambda value: [value.get(member)])
    if shape.type_name == "list":
        return _in_list(shape.member, parts)
    if shape.type_name == "map":
        return _in_map(shape.value, parts)
    return None


def _in_list(element: Shape, parts: Sequence[str]) -> Property | None:
    if element.name == "Tag":
        key = ".".join(parts)
        return Property("text", True, lambda tags: [tag["Value"] for tag in tags if tag["Key"] == key])
    if element.name == "TrialComponentMetricSummary" and len(parts) > 1:
        name = ".".join(parts[:-1])
        return _of(_resolve(element, parts[-1:]), lambda found: [m for m in found if m["MetricName"] == name])
    return _of(_resolve(element, parts), list)


def _in_map(value: Shape, parts: Sequence[str]) -> Property | None:
    """An entry by its name, which may hold dots; a member of the entry may follow."""
    if len(parts) > 1 and _member(value, parts[-1]) is not None:
        return _of(_resolve(value, parts[-1:]), _entry(parts[:-1]))
    if value.name == "TrialComponentParameterValue":
        return _of(Property("either", True, lambda entry: list(entry.values())), _entry(parts))
    return _of(_resolve(value, ["Value"] if _member(value, "Value") else []), _entry(parts))


def _entry(parts: Sequence[str]) -> Callable[[Any], list[Any]]:
    key = ".".join(parts)
    return lambda entries: [entries.get(key)]


def _of(inner: Property | None, outer: Callable[[Any], list[Any]]) -> Property | None:
    """`inner`, seen from where `outer` leads to it."""
    if inner is None:
        return None

    def values(value: Any) -> list[Any]:
        return [found for item in outer(value) if item is not None for found in inner.values(item)]

    return Property(inner.kind, inner.cased, values)


def _member(shape: Shape, part: str) -> str | None:
    """The member of a structure that a part of a name means."""
    if shape.type_name != "structure":
        return None
    return next((name for name in shape.members if name.lower() == part.lower()), None)
