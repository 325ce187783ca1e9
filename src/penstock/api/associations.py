"""AddAssociation, DeleteAssociation, ListAssociations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.api import entities, permissions
from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.errors import InUse, Missing
from penstock.job.experiments import Trial
from penstock.job.life import Job
from penstock.job.lineage import Artifact, Association, type_of
from penstock.store.lineage import AssociationQuery
from penstock.wire.faults import not_found

_PAGE = 10
_SORTS = {
    "SourceArn": "source",
    "DestinationArn": "destination",
    "SourceType": "source_type",
    "DestinationType": "destination_type",
    "CreationTime": "created_at",
}


def add(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Say that one thing led to another. One of them must be an artifact: how the others belong together is told."""
    ends = [_end(context, params[name]) for name in ("SourceArn", "DestinationArn")]
    if not any(isinstance(one, Artifact) for one in ends):
        raise invalid("An association needs an artifact at one of its ends.")
    if context.caller is not None:
        _check_its_own(context, context.caller, ends)
    source, destination = ends
    new = Association(
        source.arn,
        destination.arn,
        params.get("AssociationType"),
        context.clock(),
        entities.who(context),
        type_of(source) or "",
        type_of(destination) or "",
    )
    if source.arn == destination.arn:
        raise invalid("Nothing can be associated with itself.")
    try:
        context.store.lineage.add(new, [(type(one), one.arn.rpartition("/")[2]) for one in ends])
    except Missing as error:  # deleted between reading and writing
        raise not_found(f"An end of the association does not exist: {error}") from error
    except InUse as error:
        raise invalid(f"Association from '{source.arn}' to '{destination.arn}' already exists.") from error
    return {"SourceArn": source.arn, "DestinationArn": destination.arn}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Take it back."""
    source, destination = params["SourceArn"].lower(), params["DestinationArn"].lower()
    try:
        context.store.lineage.remove(source, destination)
    except Missing as error:
        raise not_found(f"Association from '{source}' to '{destination}' does not exist.") from error
    return {"SourceArn": source, "DestinationArn": destination}


def list_associations(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of associations, the newest first unless told otherwise."""
    query = AssociationQuery(
        source=_lower(params.get("SourceArn")),
        destination=_lower(params.get("DestinationArn")),
        source_type=params.get("SourceType"),
        destination_type=params.get("DestinationType"),
        type=params.get("AssociationType"),
        created_after=params.get("CreatedAfter"),
        created_before=params.get("CreatedBefore"),
        sort_by=_SORTS[params.get("SortBy", "CreationTime")],  # type: ignore[arg-type]
        descending=params.get("SortOrder", "Descending") == "Descending",
    )
    after = place(params.get("NextToken"))
    kind = int if query.sort_by == "created_at" else str
    if after is not None and not (
        isinstance(after, list) and len(after) == 3 and entities.is_place(after[:2], kind)
        and isinstance(after[2], str)
    ):  # fmt: skip
        raise invalid("The NextToken is not one that ListAssociations returned.")
    found, following = context.store.lineage.find(query, params.get("MaxResults", _PAGE), after)
    names = _names(context, found)
    return {
        "AssociationSummaries": [
            {
                "SourceArn": one.source,
                "DestinationArn": one.destination,
                "SourceType": one.source_type or None,
                "DestinationType": one.destination_type or None,
                "AssociationType": one.type,
                "SourceName": names.get(one.source),
                "DestinationName": names.get(one.destination),
                "CreationTime": one.created_at,
                "CreatedBy": entities.user(one.created_by),
            }
            for one in found
        ],
        "NextToken": None if following is None else token(following),
    }


def _end(context: Context, arn: str) -> Any:
    """What an ARN names.

    Raises:
        Fault: It is not there.
    """
    named = entities.named_by_arn(context, arn)
    if named is None or named[0] is Trial:
        raise not_found(f"The resource '{arn}' does not exist.")
    return entities.find(context, *named)


def _check_its_own(context: Context, job: Job, ends: Sequence[Any]) -> None:
    """See that a job's program speaks of artifacts of its own making alone.

    Raises:
        Fault: AccessDeniedException.
    """
    for one in ends:
        if isinstance(one, Artifact) and one.created_by != entities.who(context):
            raise permissions.denied(context.account, job, "sagemaker:AddAssociation", one.arn)


def _names(context: Context, found: Sequence[Association]) -> dict[str, str]:
    """The names of all ends that have one, by their ARNs."""
    ends = {end for one in found for end in (one.source, one.destination)}
    return {arn: one.name for arn, one in entities.at_arns(context, ends).items() if one.name}


def _lower(arn: str | None) -> str | None:
    return None if arn is None else arn.lower()
