"""Trial components of jobs, as Search shows them: made of the job's record at the time of asking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from penstock.api.context import Context
from penstock.api.metrics import STATISTICS
from penstock.api.translate import description
from penstock.job.life import Job
from penstock.store.metrics import Metric


def record(context: Context, job: Job, tags: Mapping[str, str]) -> dict[str, Any]:
    """The component of a job that has one, without its metrics. The job's tags count as the component's."""
    config = job.request["ExperimentConfig"]
    name = job.trial_component
    assert name is not None  # the caller has asked for such jobs only
    shown = [{"Key": k, "Value": v} for k, v in tags.items()]
    parent = {k: config[k] for k in ("TrialName", "ExperimentName") if k in config}
    return {
        "TrialComponentName": name,
        "TrialComponentArn": context.trial_component_arn(name),
        "DisplayName": config.get("TrialComponentDisplayName", name),
        "RunName": config.get("RunName"),
        "Source": {"SourceArn": job.arn, "SourceType": "SageMakerProcessingJob"},
        "SourceDetail": {"SourceArn": job.arn, "ProcessingJob": {**description(job), "Tags": shown}},
        "Status": {"PrimaryStatus": job.status, "Message": job.failure_reason},
        "StartTime": job.started_at,
        "EndTime": job.ended_at,
        "CreationTime": job.created_at,
        "LastModifiedTime": job.modified_at,
        "Parameters": _parameters(job),
        "InputArtifacts": _inputs(job),
        "OutputArtifacts": _outputs(job),
        "Parents": [parent] if parent else [],
        "Tags": shown,
    }


def summaries(job: Job, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """What a component's metrics come to, by their names."""
    by_name = sorted(
        metrics, key=lambda m: m.name
    )  # stable: of one name, they stay in the order of their times
    return [_summary(job, name, list(of_one)) for name, of_one in groupby(by_name, key=lambda m: m.name)]


def _summary(job: Job, name: str, metrics: Sequence[Metric]) -> dict[str, Any]:
    values = [m.value for m in metrics]
    return {
        "MetricName": name,
        "SourceArn": job.arn,
        "TimeStamp": metrics[-1].at,
        **{stat: summarize(values) for stat, summarize in STATISTICS.items()},
        "Count": len(values),
    }


def _parameters(job: Job) -> dict[str, Any]:
    cluster = job.request["ProcessingResources"]["ClusterConfig"]
    chosen = cluster.get("InstanceType") or cluster["SelectedInstanceType"]
    return {
        "SageMaker.InstanceCount": {"NumberValue": float(job.instance_count)},
        "SageMaker.InstanceType": {"StringValue": chosen},
        "SageMaker.VolumeSizeInGB": {"NumberValue": float(cluster["VolumeSizeInGB"])},
    }


def _inputs(job: Job) -> dict[str, Any]:
    image = {"SageMaker.ImageUri": {"Value": job.request["AppSpecification"]["ImageUri"]}}
    return {**image, **dict(_artifacts(job.request.get("ProcessingInputs"), "InputName", "S3Input"))}


def _outputs(job: Job) -> dict[str, Any]:
    outputs = (job.request.get("ProcessingOutputConfig") or {}).get("Outputs")
    return dict(_artifacts(outputs, "OutputName", "S3Output"))


def _artifacts(given: Sequence[Any] | None, name: str, place: str) -> Iterator[tuple[str, Any]]:
    for one in given or ():
        if place in one:
            yield one[name], {"Value": one[place]["S3Uri"]}
