"""Properties, as Search's filters name them, that the database has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from penstock.job.experiments import Component, Experiment, Trial
from penstock.store.conditions import Origin, Value
from penstock.store.rows import PARTS

#: `name` is a text without regard to case, of which the database has the lower case; `either` a parameter's value, a
#: number or a text; `whole` is there or not.
_Type = Literal["name", "text", "time", "number", "either", "whole"]


@dataclass(frozen=True)
class Known:
    """A property that the database has, and as what."""

    value: Value
    type: _Type


def _metric(name: str | None) -> Mapping[str, Known]:
    """What there is of a metric of that name, or of any."""
    return {
        "max": Known(Value("maximum", "metric", name), "number"),
        "min": Known(Value("minimum", "metric", name), "number"),
        "last": Known(Value("last", "metric", name), "number"),
        "avg": Known(Value("mean", "metric", name), "number"),
        "stddev": Known(Value("deviation", "metric", name), "number"),
        "count": Known(Value("size", "metric", name), "number"),
        "timestamp": Known(Value("at", "metric", name), "time"),
    }


def _user(name: str, kept: Value) -> Mapping[str, Known]:
    """What there is of who has made or changed something: of a job's program more is kept than is told."""
    return {
        name: Known(kept, "whole"),
        f"{name}.iamidentity": Known(kept, "whole"),
        f"{name}.iamidentity.arn": Known(replace(kept, first=True), "text"),
    }


#: List -> of what it is made, and what its elements have.
ELEMENTS: Mapping[str, tuple[Origin, Mapping[str, Known]]] = {
    "parents": (
        "parent",
        {
            "trialname": Known(Value("trial", "parent"), "name"),
            "experimentname": Known(Value("experiment", "parent"), "name"),
        },
    ),
    "metrics": ("metric", {**_metric(None), "metricname": Known(Value("name", "metric"), "text")}),
    "tags": (
        "tag",
        {"key": Known(Value("key", "tag"), "text"), "value": Known(Value("value", "tag"), "text")},
    ),
    "trialcomponentsummaries": (
        "member",
        {
            "trialcomponentname": Known(Value("component", "member"), "name"),
            "trialcomponentarn": Known(Value("arn", "member", lower=True), "name"),
            "trialcomponentsource": Known(Value("source_key", "member"), "whole"),
            "trialcomponentsource.sourcearn": Known(Value("source_key", "member"), "name"),
            "creationtime": Known(Value("created_at", "member"), "time"),
            **_user("createdby", Value("created_by", "member")),
        },
    ),
}


def _of_elements(listed: str) -> Mapping[str, Known]:
    return {f"{listed}.{name}": known for name, known in ELEMENTS[listed][1].items()}


#: What all kinds have.
_COMMON = {
    "creationtime": Known(Value("created_at"), "time"),
    "lastmodifiedtime": Known(Value("modified_at"), "time"),
    "displayname": Known(Value("display_name", lower=True), "name"),
    "tags": Known(Value("key", "tag"), "whole"),
    **_user("createdby", Value("created_by")),
    **_user("lastmodifiedby", Value("modified_by")),
}
_METADATA = {
    f"metadataproperties.{name.lower()}": Known(Value("metadata", path=(name,)), "text")
    for name in ("CommitId", "Repository", "GeneratedBy", "ProjectId")
}
#: What of a job's request is a name, and so without letters' case.
_NAMES = "ExperimentConfig.", "RoleArn"


def _requested(path: str, column: Literal["text", "number"]) -> Known:
    """What a job's request has there."""
    named = path.startswith(_NAMES)
    return Known(Value(column, "part", path.lower(), lower=named), "name" if named else column)


_JOB = {
    **{path.lower(): _requested(path, column) for path, column in PARTS.items()},
    "processingjobname": Known(Value("name", "job"), "text"),
    "processingjobarn": Known(Value("arn", "job", lower=True), "name"),
    "processingjobstatus": Known(Value("status", "job"), "text"),
    "creationtime": Known(Value("created_at", "job"), "time"),
    "lastmodifiedtime": Known(Value("modified_at", "job"), "time"),
    "processingstarttime": Known(Value("started_at", "job"), "time"),
    "processingendtime": Known(Value("ended_at", "job"), "time"),
    "failurereason": Known(Value("failure_reason", "job"), "text"),
    "exitmessage": Known(Value("exit_message", "job"), "text"),
}
#: Kind -> property, in lower case -> what the database has of it. What has a name of its own, see `known`.
_KNOWN: Mapping[type[Any], Mapping[str, Known]] = {
    Experiment: {
        **_COMMON,
        "experimentname": Known(Value("key"), "name"),
        "experimentarn": Known(Value("arn", lower=True), "name"),
        "description": Known(Value("description"), "text"),
    },
    Trial: {
        **_COMMON,
        **_METADATA,
        **_of_elements("trialcomponentsummaries"),
        "trialname": Known(Value("key"), "name"),
        "trialarn": Known(Value("arn", lower=True), "name"),
        "experimentname": Known(Value("experiment_key"), "name"),
        "trialcomponentsummaries": Known(Value("component", "member"), "whole"),
    },
    Component: {
        **_COMMON,
        **_METADATA,
        **_of_elements("parents"),
        **_of_elements("metrics"),
        **{f"sourcedetail.processingjob.{name}": known for name, known in _JOB.items()},
        "trialcomponentname": Known(Value("key"), "name"),
        "trialcomponentarn": Known(Value("arn", lower=True), "name"),
        "source": Known(Value("source_key"), "whole"),
        "source.sourcearn": Known(Value("source_key"), "name"),
        "sourcedetail": Known(Value("source_key"), "whole"),
        "sourcedetail.sourcearn": Known(Value("source_key"), "name"),
        "sourcedetail.processingjob": Known(Value("uid", "job"), "whole"),
        "status.primarystatus": Known(Value("status"), "text"),
        "status.message": Known(Value("message"), "text"),
        "starttime": Known(Value("started_at"), "time"),
        "endtime": Known(Value("ended_at"), "time"),
        "runname": Known(Value("run_name", lower=True), "name"),
        "parents": Known(Value("trial", "parent"), "whole"),
        "metrics": Known(Value("name", "metric"), "whole"),
        "parameters": Known(Value("either", "parameter"), "whole"),
        "inputartifacts": Known(Value("value", "input"), "whole"),
        "outputartifacts": Known(Value("value", "output"), "whole"),
    },
}


def known(kind: type[Any], name: str) -> Known | None:
    """What the database has of a property that there is; None for what only the record can tell."""
    if (found := _KNOWN[kind].get(name.lower())) is not None:
        return found
    start, dot, rest = name.partition(".")
    if not dot:
        return None
    # The name of a parameter or of a metric may hold dots itself.
    before, _, part = rest.rpartition(".")
    match start.lower():
        case "tags":
            return Known(Value("value", "tag", rest), "text")
        case "metrics":
            return _metric(before).get(part.lower())
        case "parameters":
            match part.lower() if "." in rest else "":
                case "numbervalue":
                    return Known(Value("number", "parameter", before), "number")
                case "stringvalue":
                    return Known(Value("text", "parameter", before), "text")
            return Known(Value("either", "parameter", rest), "either")
        case "inputartifacts" | "outputartifacts":
            side: Origin = "input" if start.lower() == "inputartifacts" else "output"
            match part.lower() if "." in rest else "":
                case "value":
                    return Known(Value("value", side, before), "text")
                case "mediatype":
                    return Known(Value("media_type", side, before), "text")
            return Known(Value("value", side, rest), "text")
    return None
