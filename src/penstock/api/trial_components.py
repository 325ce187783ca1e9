"""CreateTrialComponent, DescribeTrialComponent, ListTrialComponents, UpdateTrialComponent, DeleteTrialComponent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.api.translate import invalid
from penstock.errors import InUse
from penstock.job.experiments import (
    MOST_ARTIFACTS,
    MOST_PARAMETERS,
    SOURCE_TYPE,
    Component,
    Experiment,
    Trial,
    key_of,
)
from penstock.store.conditions import Condition, Value
from penstock.store.metrics import Summary


def create(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put a component on record that no job has made."""
    name, at = params["TrialComponentName"], context.clock()
    status = params.get("Status") or {}
    new = Component(
        name=name,
        arn=entities.arn_of(context, Component, name),
        display_name=params.get("DisplayName", name),
        created_at=at,
        modified_at=at,
        status=status.get("PrimaryStatus"),
        message=status.get("Message"),
        started_at=params.get("StartTime"),
        ended_at=params.get("EndTime"),
        metadata=params.get("MetadataProperties") or {},
        created_by=entities.who(context),
        modified_by=entities.who(context),
        parameters=params.get("Parameters") or {},
        inputs=params.get("InputArtifacts") or {},
        outputs=params.get("OutputArtifacts") or {},
    )
    _check(new)
    try:
        context.store.experiments.add(new, entities.tags_of(params))
    except InUse as error:
        raise entities.taken(Component, name) from error
    return {"TrialComponentArn": new.arn}


def describe(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of a component, which is named by its name or its ARN."""
    name = params["TrialComponentName"]
    named = entities.named_by_arn(context, name)
    one = entities.find(context, Component, named[1] if named and named[0] is Component else name)
    source = source_of(one.source)
    return {
        **record(one),
        "Sources": source and [source],
        "Metrics": summaries(one, context.store.metrics.summaries([key_of(one.name)]).get(key_of(one.name), ())),
    }  # fmt: skip


def list_components(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of components: of an experiment, a trial or a source if one of these is named; the newest first."""
    given = [name for name in ("ExperimentName", "TrialName", "SourceArn") if name in params]
    if len(given) > 1:
        raise invalid(f"{' and '.join(given)} exclude each other: name one of them.")
    conditions = []
    if name := params.get("ExperimentName"):
        entities.find(context, Experiment, name)
        conditions.append(Condition(Value("experiment", "parent"), "=", key_of(name)))
    if name := params.get("TrialName"):
        entities.find(context, Trial, name)
        conditions.append(Condition(Value("trial", "parent"), "=", key_of(name)))
    if (arn := params.get("SourceArn")) is not None:
        conditions.append(Condition(Value("source_key"), "=", arn.lower()))
    found, following = entities.listed(context, Component, params, conditions, _summary)
    return {"TrialComponentSummaries": found, "NextToken": following}


def update(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is given, and in the maps only the entries that are: they are added, replaced or removed by name.

    What follows the job of a component (its status and times) is the job's again when that moves on.
    """
    at, by = context.clock(), entities.who(context)

    def changed(old: Component) -> Component:
        status = params.get("Status")
        new = replace(
            old,
            display_name=params.get("DisplayName", old.display_name),
            started_at=params.get("StartTime", old.started_at),
            ended_at=params.get("EndTime", old.ended_at),
            modified_at=max(at, old.modified_at),
            modified_by=by,
            parameters=_mended(old.parameters, params, "Parameters"),
            inputs=_mended(old.inputs, params, "InputArtifacts"),
            outputs=_mended(old.outputs, params, "OutputArtifacts"),
        )
        if status:
            new = replace(new, status=status.get("PrimaryStatus", old.status), message=status.get("Message"))
        _check(new)
        return new

    return {"TrialComponentArn": entities.change(context, Component, params["TrialComponentName"], changed)}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a component that is in no trial, with its metrics. Its job, if it has one, is not touched."""
    return {"TrialComponentArn": entities.delete(context, Component, params["TrialComponentName"])}


def record(one: Component) -> dict[str, Any]:
    """A component as Describe tells it, and Search, without its metrics."""
    return {
        **_summary(one, source="Source"),
        "Parameters": one.parameters,
        "InputArtifacts": one.inputs,
        "OutputArtifacts": one.outputs,
        "MetadataProperties": one.metadata or None,
    }


def summaries(one: Component, of: Sequence[Summary]) -> list[dict[str, Any]]:
    """What a component's metrics come to, by AWS's names."""
    return [
        {
            "MetricName": found.name,
            "SourceArn": one.source or one.arn,
            "TimeStamp": found.at,
            "Max": found.maximum,
            "Min": found.minimum,
            "Last": found.last,
            "Count": found.size,
            "Avg": found.mean,
            "StdDev": found.deviation,
        }
        for found in of
    ]


def _summary(one: Component, source: str = "TrialComponentSource") -> dict[str, Any]:
    status = {"PrimaryStatus": one.status, "Message": one.message}
    return {
        "TrialComponentName": one.name,
        "TrialComponentArn": one.arn,
        "DisplayName": one.display_name,
        source: source_of(one.source),
        "Status": status if one.status or one.message else None,
        "StartTime": one.started_at,
        "EndTime": one.ended_at,
        "CreationTime": one.created_at,
        "CreatedBy": entities.user(one.created_by),
        "LastModifiedTime": one.modified_at,
        "LastModifiedBy": entities.user(one.modified_by),
    }


def source_of(arn: str | None) -> dict[str, str] | None:
    """Where a component comes from; None of one made by hand."""
    return None if arn is None else {"SourceArn": arn, "SourceType": SOURCE_TYPE}


def _mended(old: Mapping[str, Any], params: Mapping[str, Any], member: str) -> dict[str, Any]:
    gone = set(params.get(f"{member}ToRemove") or ())
    return {name: value for name, value in {**old, **(params.get(member) or {})}.items() if name not in gone}


def _check(one: Component) -> None:
    """The rules that the model does not hold.

    Raises:
        Fault: One is broken.
    """
    for member, given, most in (
        ("Parameters", one.parameters, MOST_PARAMETERS),
        ("InputArtifacts", one.inputs, MOST_ARTIFACTS),
        ("OutputArtifacts", one.outputs, MOST_ARTIFACTS),
    ):
        if len(given) > most:
            raise invalid(
                f"The trial component {one.name} would have {len(given)} {member}; it can have {most}."
            )
    for name, value in one.parameters.items():
        if len(value) != 1:
            raise invalid(f"parameters.{name}: give exactly one of StringValue and NumberValue.")
