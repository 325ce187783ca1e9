"""CreateArtifact, DescribeArtifact, ListArtifacts, UpdateArtifact, DeleteArtifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.api.translate import invalid
from penstock.errors import InUse
from penstock.job.lineage import Artifact, artifact_key, uri_key
from penstock.store.finding import Condition, Value

#: As long as AWS's names in experiments may be.
_LONGEST_NAME = 120


def as_modelled(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters with a name that the service model takes, where ours is one that only we take.

    The model wants letters, digits and single `-`, and yet smexperiments names an artifact as its file is named
    (`made.csv`), and SageMaker's SDK as a chart is titled.
    """
    name = params.get("ArtifactName")
    if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable():
        return {**params, "ArtifactName": "fits"}
    return params


def create(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put an artifact on record. The same source makes the same artifact, which is there once."""
    at, source = context.clock(), params["Source"]
    key = artifact_key(source["SourceUri"], source.get("SourceTypes") or ())
    new = Artifact(
        arn=entities.arn_of(context, Artifact, key),
        type=params["ArtifactType"],
        uri=source["SourceUri"],
        source_types=source.get("SourceTypes") or (),
        name=params.get("ArtifactName"),
        properties=params.get("Properties") or {},
        metadata=params.get("MetadataProperties") or {},
        created_at=at,
        modified_at=at,
        created_by=entities.who(context),
        modified_by=entities.who(context),
    )
    try:
        context.store.experiments.add(new, entities.tags_of(params))
    except InUse as error:
        raise invalid(f"Artifact '{new.arn}' of this Source already exists.") from error
    return {"ArtifactArn": new.arn}


def describe(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of an artifact."""
    one = entities.find(context, Artifact, _key(context, params["ArtifactArn"]))
    return {
        **_summary(one),
        "Properties": one.properties,
        "MetadataProperties": one.metadata or None,
        "CreatedBy": entities.user(one.created_by),
        "LastModifiedBy": entities.user(one.modified_by),
    }


def list_artifacts(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of artifacts, of a source or a type if such is named; the newest first unless told otherwise.

    A job's program is told of its own alone: whatever else has the same source is somebody else's.
    """
    conditions = []
    if context.caller is not None:
        conditions.append(Condition(Value("created_by"), "=", entities.who(context)))
    if "SourceUri" in params:
        conditions.append(Condition(Value("uri_key"), "=", uri_key(params["SourceUri"])))
    if "ArtifactType" in params:
        conditions.append(Condition(Value("type"), "=", params["ArtifactType"]))
    found, following = entities.listed(context, Artifact, params, conditions, _summary)
    return {"ArtifactSummaries": found, "NextToken": following}


def update(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give an artifact another name, or other properties in the place of those that it has."""
    at, by, key = context.clock(), entities.who(context), _key(context, params["ArtifactArn"])

    def changed(old: Artifact) -> Artifact:
        given = params.get("Properties", old.properties)
        gone = set(params.get("PropertiesToRemove") or ())
        return replace(
            old,
            name=params.get("ArtifactName", old.name),
            properties={name: value for name, value in given.items() if name not in gone},
            modified_at=max(at, old.modified_at),
            modified_by=by,
        )

    return {"ArtifactArn": entities.change(context, Artifact, key, changed)}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove an artifact without associations, which is named by its ARN or by its source."""
    source = params.get("Source")
    if (source is None) == ("ArtifactArn" not in params):
        raise invalid("Give exactly one of ArtifactArn and Source.")
    if source is None:
        key = _key(context, params["ArtifactArn"])
    else:
        key = artifact_key(source["SourceUri"], source.get("SourceTypes") or ())
    return {"ArtifactArn": entities.delete(context, Artifact, key)}


def _key(context: Context, arn: str) -> str:
    named = entities.named_by_arn(context, arn)
    if named is None or named[0] is not Artifact:
        raise entities.missing(context, Artifact, arn.rpartition("/")[2])
    return named[1].lower()


def _summary(one: Artifact) -> dict[str, Any]:
    return {
        "ArtifactArn": one.arn,
        "ArtifactName": one.name,
        "Source": {"SourceUri": one.uri, "SourceTypes": list(one.source_types)},
        "ArtifactType": one.type,
        "CreationTime": one.created_at,
        "LastModifiedTime": one.modified_at,
    }
