"""QueryLineage: what led to something, and to what it led, over several associations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.job.experiments import SOURCE_TYPE, Component
from penstock.job.lineage import Artifact
from penstock.store.conditions import Condition, Operator, Test, Value
from penstock.wire.faults import not_found

#: The API reference: the deepest that can be asked for, and the largest page; also where nothing is said.
_DEEPEST, _PAGE = 10, 50
#: Where filters ask, so many vertices are looked at for a page, which is short then, or empty, and has a NextToken.
_LOOKED_AT = 2000
#: And so many at once, until the page is full.
_AT_ONCE = 500
_LINEAGE_TYPES: Mapping[type[Any], str] = {Artifact: "Artifact", Component: "TrialComponent"}
#: What of each says its type.
_TYPE: Mapping[type[Any], str] = {Artifact: "type", Component: "source"}
_TIMES: Sequence[tuple[str, str, Operator]] = (
    ("CreatedBefore", "created_at", "<="),
    ("CreatedAfter", "created_at", ">="),
    ("ModifiedBefore", "modified_at", "<="),
    ("ModifiedAfter", "modified_at", ">="),
)

#: Where something stands in the order: how far it is from the start, and its ARN.
_Place = tuple[int, str]
_Vertex = dict[str, Any]


@dataclass(frozen=True)
class _Walked:
    """What was reached from a start as far as a page needs."""

    start: str
    depths: Mapping[str, int]
    """What was reached, the start too, by how many associations it is away."""
    nearer: Mapping[str, str]
    """By what on a shortest way each was reached: of several, by the first."""
    fitting: Mapping[str, _Vertex]
    """What of it fits the filters, among those that were looked at."""
    cut: _Place | None
    """The last that was looked at, where there are more; None where all were, or the page is full."""

    def places(self, arns: Iterable[str]) -> list[_Place]:
        """Their places, in order."""
        return sorted((self.depths[arn], arn) for arn in arns)

    def way(self, arn: str) -> Iterator[str]:
        """What lies on a shortest way from the start, without that, with what it leads to."""
        while arn != self.start:
            yield arn
            arn = self.nearer[arn]


def query(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """The vertices that are reached from the start and fit the filters, the nearest first."""
    if len(params.get("StartArns") or ()) != 1:
        raise invalid("QueryLineage needs one ARN in StartArns, to begin with.")
    for name in ("MaxDepth", "MaxResults"):  # the model has no least
        if params.get(name, 1) < 1:
            raise invalid(f"{name} must be 1 at least.")
    start, edged = params["StartArns"][0].lower(), bool(params.get("IncludeEdges"))
    filters, size = params.get("Filters") or {}, params.get("MaxResults", _PAGE)
    if not _fitting(context, [start], {}):
        raise not_found(f"The resource '{params['StartArns'][0]}' does not exist.")
    after = place(params.get("NextToken"))
    if after is not None and not entities.is_place(after, int):
        raise invalid("The NextToken is not one that QueryLineage returned.")
    walked = _walk(context, start, params, (0, "") if after is None else (after[0], after[1]))
    placed = walked.places(walked.fitting)
    ways = _with_ways(walked, placed, size) if edged and filters else [[arn] for _, arn in placed[:size]]
    told = {arn for way in ways for arn in way}
    vertices = {arn: one for arn, one in walked.fitting.items() if arn in told}
    vertices |= _fitting(context, told - vertices.keys(), {})  # what lies on ways may fit none
    page = walked.places(vertices)
    end = placed[len(ways) - 1] if len(ways) < len(placed) else walked.cut
    return {
        "Vertices": [{"Arn": arn, **vertices[arn]} for _, arn in page],
        "Edges": _edges(context, walked, page, met_before=not filters) if edged and page else [],
        "NextToken": token(end) if end is not None else None,
    }


def _walk(context: Context, start: str, params: Mapping[str, Any], after: _Place) -> _Walked:
    """Go by one association more, step by step, until a page is full, all is reached, or enough was looked at."""
    filters, size = params.get("Filters") or {}, params.get("MaxResults", _PAGE)
    direction = params.get("Direction", "Both")
    depths, nearer, fitting = {start: 0}, dict[str, str](), dict[str, _Vertex]()
    left, last = _LOOKED_AT if filters else size + 1, after
    frontier = [start]
    for depth in range(1, params.get("MaxDepth", _DEEPEST) + 1):
        around = context.store.lineage.around(
            frontier,
            ascending=direction != "Descendants",
            descending=direction != "Ascendants",
            # One more than are looked at, for all that was reached before may be among them.
            most=left + len(depths) + 1 if depth > after[0] else None,
        )
        reached = {arn: near for arn, near in around.items() if arn not in depths}
        depths |= dict.fromkeys(reached, depth)
        nearer |= reached
        new = [arn for arn in reached if (depth, arn) > after]
        now = new[:left]
        left -= len(now)
        # Experiments are on the way, and no lineage entities; what is deleted in this moment is none any more.
        for first in range(0, len(now), _AT_ONCE):
            fitting |= _fitting(context, now[first : first + _AT_ONCE], filters)
            if len(fitting) > size:
                return _Walked(start, depths, nearer, fitting, None)
        last = (depth, now[-1]) if now else last
        if len(now) < len(new):
            return _Walked(start, depths, nearer, fitting, last)
        if not reached:
            break
        frontier = list(reached)
    return _Walked(start, depths, nearer, fitting, None)


def _with_ways(walked: _Walked, placed: Sequence[_Place], size: int) -> list[list[str]]:
    """The ways to the first of these, as many as make a page: one at least."""
    ways: list[list[str]] = []
    told: set[str] = set()
    for _, arn in placed:
        way = list(walked.way(arn))
        if ways and len(told | set(way)) > size:
            break
        ways.append(way)
        told |= set(way)
    return ways


def _edges(
    context: Context, walked: _Walked, page: Sequence[_Place], *, met_before: bool
) -> list[dict[str, Any]]:
    """The associations of a page's vertices with each other and the start, and with those that were met before."""
    told = {arn for _, arn in page}
    known = told | {walked.start}
    if met_before:
        known |= {arn for arn, depth in walked.depths.items() if (depth, arn) < page[-1]}
    found = context.store.lineage.between(told, known)
    ends = {end for one in found for end in (one.source, one.destination)}
    there = told | {walked.start} | _fitting(context, ends - told - {walked.start}, {}).keys()
    return [
        {"SourceArn": one.source, "DestinationArn": one.destination, "AssociationType": one.type}
        for one in found
        if {one.source, one.destination} <= there
    ]


def _fitting(context: Context, arns: Collection[str], filters: Mapping[str, Any]) -> dict[str, _Vertex]:
    """What there is of these ARNs and fits the filters, by them, with its types."""
    found: dict[str, _Vertex] = {}
    properties = filters.get("Properties") or {}
    for kind, of_kind in entities.keys_at(context, arns).items():
        # Artifacts alone have properties.
        if kind not in _TYPE or (properties and kind is not Artifact):
            continue
        if (tests := _narrowed(kind, filters)) is None:
            continue
        columns = ["key", _TYPE[kind], *(["properties"] if properties else [])]
        for key, type_, *has in context.store.experiments.columns(kind, of_kind, tests, columns):
            if not properties or any(has[0].get(name) == value for name, value in properties.items()):
                named = type_ if kind is Artifact or type_ is None else SOURCE_TYPE
                found[of_kind[key]] = {"Type": named, "LineageType": _LINEAGE_TYPES[kind]}
    return found


def _narrowed(kind: type[Any], filters: Mapping[str, Any]) -> list[Test] | None:
    """What filters ask of a kind, but for properties; None: there are none that fit."""
    if _LINEAGE_TYPES[kind] not in filters.get("LineageTypes", _LINEAGE_TYPES.values()):
        return None
    tests: list[Test] = [
        Condition(Value(column), operator, filters[name])
        for name, column, operator in _TIMES
        if name in filters
    ]
    if "Types" in filters and kind is Artifact:
        tests.append(Condition(Value("type"), "in", filters["Types"]))
    if "Types" in filters and kind is Component:
        if SOURCE_TYPE not in filters["Types"]:
            return None
        tests.append(Condition(Value("source_key"), "exists"))
    return tests
