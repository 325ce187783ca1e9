"""QueryLineage: what led to something, and to what it led, over several associations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.job.experiments import SOURCE_TYPE, Component
from penstock.job.lineage import Artifact, Association, type_of
from penstock.store.conditions import Condition, Operator, Test, Value
from penstock.store.portions import portions
from penstock.wire.faults import not_found

#: The API reference: the deepest that can be asked for, and the largest page; also where nothing is said.
_DEEPEST, _PAGE = 10, 50
#: So many vertices are looked at for a page, which is short then, or empty, and has a NextToken.
_LOOKED_AT = 2000
#: And so many at once, until the page is full.
_AT_ONCE = 500
#: What of things takes long to read, and is not asked for.
_LARGE: Mapping[type[Any], Sequence[str]] = {
    Component: ("parameters", "inputs", "outputs", "metadata"),
    Artifact: ("source_types", "metadata"),
}
_LINEAGE_TYPES: Mapping[type[Any], str] = {Artifact: "Artifact", Component: "TrialComponent"}
_TIMES: Sequence[tuple[str, str, Operator]] = (
    ("CreatedBefore", "created_at", "<="),
    ("CreatedAfter", "created_at", ">="),
    ("ModifiedBefore", "modified_at", "<="),
    ("ModifiedAfter", "modified_at", ">="),
)


def query(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """The vertices that are reached from the start and fit the filters, the nearest first."""
    if len(params.get("StartArns") or ()) != 1:
        raise invalid("QueryLineage needs one ARN in StartArns, to begin with.")
    for name in ("MaxDepth", "MaxResults"):  # the model has no least
        if params.get(name, 1) < 1:
            raise invalid(f"{name} must be 1 at least.")
    start, edged = params["StartArns"][0].lower(), bool(params.get("IncludeEdges"))
    filters, size = params.get("Filters") or {}, params.get("MaxResults", _PAGE)
    if not _things(context, [start], {}):
        raise not_found(f"The resource '{params['StartArns'][0]}' does not exist.")
    after = place(params.get("NextToken"))
    if after is not None and not entities.is_place(after, int):
        raise invalid("The NextToken is not one that QueryLineage returned.")
    depths, edges = {start: 0}, dict[tuple[str, str], Association]()
    things: dict[str, Artifact | Component] = {}
    beyond: list[tuple[int, str]] = []
    looked = 0
    last: Sequence[Any] | None = None
    cut: Sequence[Any] | None = None
    steps = _walk(context, start, params.get("Direction", "Both"), params.get("MaxDepth", _DEEPEST))
    for depth, (reached, met) in enumerate(steps, 1):
        edges |= {(one.source, one.destination): one for one in met}
        depths |= dict.fromkeys(reached, depth)
        # With edges all are needed: what fits none may lie on the way to what comes.
        new = sorted(arn for arn in reached if edged or after is None or (depth, arn) > tuple(after))
        now = new if edged else new[: _LOOKED_AT - looked]
        looked += len(now)
        # Experiments are on the way, and no lineage entities; what is deleted in this moment is none any more.
        for first in range(0, len(now), _AT_ONCE):
            things |= _things(context, now[first : first + _AT_ONCE], filters)
            if not edged and len(things) > size:
                break
        beyond = _beyond(things, depths, after)
        # Of the farthest ones not all edges have been met.
        known = [one for one in beyond if one[0] < depth] if edged else beyond
        if len(known) > size and not (edged and filters):
            break
        if len(now) < len(new):
            cut = (depth, now[-1]) if now else last
            break
        last = (depth, now[-1]) if now else last
    if edged and filters:
        things |= _things(context, _between(start, set(things), depths, edges.values()) - things.keys(), {})
        beyond = _beyond(things, depths, after)
    page = beyond[:size]
    end = page[-1] if len(page) < len(beyond) else cut
    told = {arn for _, arn in page}
    return {
        "Vertices": [
            {
                "Arn": arn,
                "Type": type_of(things[arn]),
                "LineageType": _LINEAGE_TYPES.get(type(things[arn])),
            }
            for _, arn in page
        ],
        "Edges": [
            {"SourceArn": one.source, "DestinationArn": one.destination, "AssociationType": one.type}
            for one in edges.values()
            if _farther(one, depths) in told and {one.source, one.destination} <= {start, *things}
        ]
        if edged
        else [],
        "NextToken": token(end) if end is not None else None,
    }


def _walk(
    context: Context, start: str, direction: str, deepest: int
) -> Iterator[tuple[set[str], Sequence[Association]]]:
    """What is reached by one association more, step by step, and the associations that were met."""
    seen, frontier = {start}, {start}
    for _ in range(deepest):
        met = context.store.lineage.around(
            frontier, ascending=direction != "Descendants", descending=direction != "Ascendants"
        )
        frontier = {end for one in met for end in (one.source, one.destination)} - seen
        seen |= frontier
        yield frontier, met
        if not frontier:
            return


def _between(
    start: str, wanted: set[str], depths: Mapping[str, int], edges: Iterable[Association]
) -> set[str]:
    """What lies on the shortest ways from the start to what is wanted."""
    nearer: dict[str, set[str]] = {}
    for one in edges:
        for near, far in ((one.source, one.destination), (one.destination, one.source)):
            if near in depths and depths.get(far) == depths[near] + 1:
                nearer.setdefault(far, set()).add(near)
    found: set[str] = set()
    left = set(wanted)
    while left:
        left = {near for far in left for near in nearer.get(far, ())} - found - {start}
        found |= left
    return found


def _farther(one: Association, depths: Mapping[str, int]) -> str:
    return max((one.source, one.destination), key=lambda arn: (depths.get(arn, -1), arn))


def _beyond(
    arns: Iterable[str], depths: Mapping[str, int], after: Sequence[Any] | None
) -> list[tuple[int, str]]:
    """The places of things, in order, that come after a place."""
    placed = sorted((depths[arn], arn) for arn in arns)
    return [one for one in placed if after is None or one > tuple(after)]


def _things(
    context: Context, arns: Iterable[str], filters: Mapping[str, Any]
) -> dict[str, Artifact | Component]:
    """What there is of these ARNs and fits the filters, by them. What it says at length is left empty."""
    found: dict[str, Artifact | Component] = {}
    for kind, of_kind in entities.keys_at(context, arns).items():
        if kind in _LARGE and (tests := _narrowed(kind, filters)) is not None:
            for some in portions(of_kind):
                here = Condition(Value("key"), "in", some)
                for one in context.store.experiments.every(kind, [here, *tests], _LARGE[kind]):
                    if _fits(one, filters):
                        found[one.arn.lower()] = one
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


def _fits(one: Artifact | Component, filters: Mapping[str, Any]) -> bool:
    """Whether what the database has found has one of the properties."""
    properties = filters.get("Properties") or {}
    has: Mapping[str, Any] = one.properties if isinstance(one, Artifact) else {}
    return not properties or any(has.get(name) == value for name, value in properties.items())
