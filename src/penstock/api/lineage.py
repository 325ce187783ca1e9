"""QueryLineage: what led to something, and to what it led, over several associations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.job.experiments import SOURCE_TYPE, Component, key_of
from penstock.job.lineage import Artifact, Association
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
    start = params["StartArns"][0].lower()
    if _thing(context, start) is None:
        raise not_found(f"The resource '{params['StartArns'][0]}' does not exist.")
    depths, edges = _walk(context, start, params.get("Direction", "Both"), params.get("MaxDepth", _DEEPEST))
    # Experiments are on the way, and no lineage entities; what is deleted in this moment is none any more.
    things = {arn: one for arn in depths if arn != start and (one := _thing(context, arn)) is not None}
    filters = params.get("Filters") or {}
    wanted = {arn for arn, one in things.items() if _fits(one, filters)}
    shown = set(wanted)
    if params.get("IncludeEdges"):
        shown |= _between(start, wanted, depths, edges) & things.keys()
    placed: list[tuple[int, str]] = sorted((depths[arn], arn) for arn in shown)
    after = place(params.get("NextToken"))
    if after is not None and not entities.is_place(after, int):
        raise invalid("The NextToken is not one that QueryLineage returned.")
    beyond = [one for one in placed if after is None or one > tuple(after)]
    page = beyond[: params.get("MaxResults", _PAGE)]
    told = {arn for _, arn in page}
    return {
        "Vertices": [
            {
                "Arn": arn,
                "Type": _type(things[arn]),
                "LineageType": _LINEAGE_TYPES.get(type(things[arn])),
            }
            for _, arn in page
        ],
        "Edges": [
            {"SourceArn": one.source, "DestinationArn": one.destination, "AssociationType": one.type}
            for one in edges
            if _farther(one, depths) in told and {one.source, one.destination} <= {start, *shown}
        ]
        if params.get("IncludeEdges")
        else [],
        "NextToken": token(page[-1]) if len(page) < len(beyond) else None,
    }


def _walk(
    context: Context, start: str, direction: str, deepest: int
) -> tuple[dict[str, int], list[Association]]:
    """How many associations away all things are that are reached, and the associations that were met."""
    depths, found = {start: 0}, dict[tuple[str, str], Association]()
    frontier = [start]
    for depth in range(1, deepest + 1):
        met = context.store.lineage.around(
            frontier, ascending=direction != "Descendants", descending=direction != "Ascendants"
        )
        found |= {(one.source, one.destination): one for one in met}
        ends = {end for one in met for end in (one.source, one.destination)}
        frontier = sorted(ends - depths.keys())
        depths |= dict.fromkeys(frontier, depth)
        if not frontier:
            break
    return depths, list(found.values())


def _between(
    start: str, wanted: set[str], depths: Mapping[str, int], edges: Sequence[Association]
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


def _thing(context: Context, arn: str) -> Artifact | Component | None:
    named = entities.named_by_arn(context, arn)
    if named is None or named[0] not in _LINEAGE_TYPES:
        return None
    found: Artifact | Component | None = context.store.experiments.get(named[0], key_of(named[1]))
    return found


def _type(one: Any) -> str | None:
    if isinstance(one, Artifact):
        return one.type
    return SOURCE_TYPE if one.source is not None else None


def _fits(one: Any, filters: Mapping[str, Any]) -> bool:
    properties = filters.get("Properties") or {}
    has: Mapping[str, Any] = one.properties if isinstance(one, Artifact) else {}
    return (
        ("Types" not in filters or _type(one) in filters["Types"])
        and ("LineageTypes" not in filters or _LINEAGE_TYPES.get(type(one)) in filters["LineageTypes"])
        and one.created_at <= filters.get("CreatedBefore", one.created_at)
        and one.created_at >= filters.get("CreatedAfter", one.created_at)
        and one.modified_at <= filters.get("ModifiedBefore", one.modified_at)
        and one.modified_at >= filters.get("ModifiedAfter", one.modified_at)
        and (not properties or any(has.get(name) == value for name, value in properties.items()))
    )
