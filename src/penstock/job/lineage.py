"""Where data comes from and goes to: artifacts, which stand for what a URI leads to, and how things are associated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from penstock.job.experiments import SOURCE_TYPE, Component, entity_arn
from penstock.job.life import Job


@dataclass(frozen=True)
class Artifact:
    """Something that a URI leads to. Its source (the URI, and the IDs of what lies there) makes it what it is."""

    ARN_KIND: ClassVar = "artifact"

    arn: str
    type: str
    uri: str
    created_at: int
    modified_at: int
    source_types: Sequence[Mapping[str, str]] = ()
    """AWS's SourceTypes."""
    name: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_by: str | None = None
    modified_by: str | None = None


@dataclass(frozen=True)
class Association:
    """That one thing led to another. Both are ARNs; a type is empty where there is none."""

    source: str
    destination: str
    type: str | None
    created_at: int
    created_by: str | None = None
    source_type: str = ""
    destination_type: str = ""


def artifact_key(uri: str, source_types: Sequence[Mapping[str, str]] = ()) -> str:
    """What an artifact is found by: the same for the same source. The last part of its ARN."""
    ids = sorted((one["SourceIdType"], one["Value"]) for one in source_types)
    return hashlib.sha256(json.dumps([uri, ids]).encode()).hexdigest()[:32]


def uri_key(uri: str) -> str:
    """By what artifacts of a source are looked for: URIs may be long."""
    return hashlib.sha256(uri.encode()).hexdigest()


def lineage_of(job: Job, component: Component) -> Iterator[tuple[Artifact, Association]]:
    """The artifacts of a job: its image and inputs contribute to its component, which produces its outputs."""
    at = job.created_at

    def artifact(uri: str, kind: str) -> Artifact:
        return Artifact(entity_arn(job.arn, Artifact, artifact_key(uri)), kind, uri, at, at)

    for name, given in component.inputs.items():
        used = artifact(given["Value"], "Image" if name == "SageMaker.ImageUri" else "DataSet")
        yield (
            used,
            Association(
                used.arn,
                component.arn,
                "ContributedTo",
                at,
                source_type=used.type,
                destination_type=SOURCE_TYPE,
            ),
        )
    for given in component.outputs.values():
        made = artifact(given["Value"], "DataSet")
        yield (
            made,
            Association(
                component.arn,
                made.arn,
                "Produced",
                at,
                source_type=SOURCE_TYPE,
                destination_type=made.type,
            ),
        )


def type_of(one: object) -> str | None:
    """What AWS calls the type of an end of an association; None of what has none."""
    if isinstance(one, Artifact):
        return one.type
    return SOURCE_TYPE if isinstance(one, Component) and one.source is not None else None
