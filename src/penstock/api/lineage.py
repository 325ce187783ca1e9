"""QueryLineage: what led to something, and to what it led, over several associations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.job.experiments import Component
from penstock.job.lineage import Artifact, Association, type_of
from penstock.wire.faults import not_found

#: The API reference: the deepest that can be asked for, and the largest page; also where nothing is said.
_DEEPEST, _PAGE = 10, 50
_LINEAGE_TYPES: Mapping[type[Any], str] = {Artifact: "Artifact", Component: "TrialComponent"}


def query(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """The vertices that are reached from the start and fit the filters, the nearest first."""
    if len(params.get("StartArns") or ()) != 1:
        raise invalid("QueryLineage needs one ARN in StartArns, to begin with.")
    for name in ("MaxDepth", "MaxResults"):  # the model has no least
        if params.get(name, 1) < 1:
            raise invalid(f"{name} must be 1 at least.")
    start, edged = params["StartArns"][0].lower(), bool(params.get("IncludeEdges"))
    filters, size = params.get("Filters") or {}, params.get("MaxResults", _PAGE)
    if not _things(context, [start]):
        raise not_found(f"The resource '{params['StartArns'][0]}' does not exist.")
    after = place(params.get("NextToken"))
    if after is not None and not entities.is_place(after, int):
        raise invalid("The NextToken is not one that QueryLineage returned.")
    depths, edges = {start: 0}, dict[tuple[str, str], Association]()
    things: dict[str, Artifact | Component] = {}
    beyond: list[tuple[int, str]] = []
    steps = _walk(context, start, params.get("Direction", "Both"), params.get("MaxDepth", _DEEPEST))
    for depth, (reached, met) in enumerate(steps, 1):
        edges |= {(one.source, one.destination): one for one in met}
        depths |= dict.fromkeys(reached, depth)
        # Experiments are on the way, and no lineage entities; what is deleted in this moment is none any more.
        things |= _things(context, reached)
        shown = {arn for arn, one in things.items() if _fits(one, filters)}
        if edged:
            shown |= _between(start, shown, depths, edges.values()) & things.keys()
        placed = sorted((depths[arn], arn) for arn in shown)
        beyond = [one for one in placed if after is None or one > tuple(after)]
        # Of the farthest ones not all edges have been met; and what fits none may lie on the way to what comes.
        known = [one for one in beyond if one[0] < depth] if edged else beyond
        if len(known) > size and not (edged and filters):
            break
    page = beyond[:size]
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
            if _farther(one, depths) in told and {one.source, one.destination} <= {start, *shown}
        ]
        if edged
        else [],
        "NextToken": token(page[-1]) if len(page) < len(beyond) else None,
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


def _things(context: Context, arns: Iterable[str]) -> dict[str, Artifact | Component]:
    return {arn: one for arn, one in entities.at_arns(context, arns).items() if type(one) in _LINEAGE_TYPES}


def _fits(one: Any, filters: Mapping[str, Any]) -> bool:
    properties = filters.get("Properties") or {}
    has: Mapping[str, Any] = one.properties if isinstance(one, Artifact) else {}
    return (
        ("Types" not in filters or type_of(one) in filters["Types"])
        and ("LineageTypes" not in filters or _LINEAGE_TYPES.get(type(one)) in filters["LineageTypes"])
        and one.created_at <= filters.get("CreatedBefore", one.created_at)
        and one.created_at >= filters.get("CreatedAfter", one.created_at)
        and one.modified_at <= filters.get("ModifiedBefore", one.modified_at)
        and one.modified_at >= filters.get("ModifiedAfter", one.modified_at)
        and (not properties or any(has.get(name) == value for name, value in properties.items()))
    )
