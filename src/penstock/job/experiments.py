"""What experiments are made of: experiments, their trials, and the components of trials.

A component is a step with its parameters, artifacts and metrics. Some are made by hand; a job makes one of its own,
at once when it has an ExperimentConfig and else with its first metric, which follows the job as long as it is there and
stays behind when the job goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar

from penstock.job.life import Job

#: SourceType of what a processing job has made.
SOURCE_TYPE = "SageMakerProcessingJob"

#: The API reference: so many parameters, and artifacts of either direction, has a component at most.
MOST_PARAMETERS, MOST_ARTIFACTS = 300, 60
#: The API reference: no parameter's name or text is longer, and no artifact's name.
_LONGEST_PARAMETER, _LONGEST_TEXT, _LONGEST_ARTIFACT = 320, 2500, 128


def key_of(name: str) -> str:
    """What a name is found by: names are not case-sensitive."""
    return name.lower()


@dataclass(frozen=True)
class Experiment:
    """A collection of trials. Times are milliseconds since the epoch, here and below."""

    ARN_KIND: ClassVar = "experiment"
    """How ARNs name it."""

    name: str
    arn: str
    display_name: str
    created_at: int
    modified_at: int
    description: str | None = None
    created_by: str | None = None
    """The ARN of whoever made it, a job's program with the job's uid after a blank; None for what a job has made."""
    modified_by: str | None = None


@dataclass(frozen=True)
class Trial:
    """A part of an experiment: components that belong together."""

    ARN_KIND: ClassVar = "experiment-trial"

    name: str
    arn: str
    experiment: str
    """The name of its experiment, as that one is written."""
    display_name: str
    created_at: int
    modified_at: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    """MetadataProperties."""
    created_by: str | None = None
    modified_by: str | None = None


@dataclass(frozen=True)
class Component:
    """A step, by AWS's names where those are only kept: Parameters, InputArtifacts, OutputArtifacts."""

    ARN_KIND: ClassVar = "experiment-trial-component"

    name: str
    arn: str
    display_name: str
    created_at: int
    modified_at: int
    job_uid: str | None = None
    """The job that made it; None for one made by hand."""
    source: str | None = None
    """That job's ARN."""
    run_name: str | None = None
    status: str | None = None
    message: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_by: str | None = None
    modified_by: str | None = None


def entity_arn(beside: str, kind: type[Any], name: str) -> str:
    """The ARN of something in the account and region of another ARN. Its name is in lower case there.

    Args:
        beside: The other ARN, as that of a job.
        kind: Experiment, Trial, Component or Artifact.
        name: In whatever letters; of an artifact its key.
    """
    return f"{':'.join(beside.split(':')[:5])}:{kind.ARN_KIND}/{key_of(name)}"


def trial_of(job: Job) -> str | None:
    """The trial that a job's component is in: the one named by its ExperimentConfig, or a new one of the experiment."""
    config = job.request.get("ExperimentConfig") or {}
    # By the uid: a trial of the job's name may have been left by one before it.
    new = f"{job.uid}-aws-trial" if config.get("ExperimentName") is not None else None
    return config.get("TrialName") or new


def component_of(job: Job) -> Component:
    """The component that a job makes.

    The job's arguments and variables are parameters of it, so far as a parameter can be so long.
    """
    name = job.component_name
    config = job.request.get("ExperimentConfig") or {}
    outputs = (job.request.get("ProcessingOutputConfig") or {}).get("Outputs")
    return Component(
        name=name,
        arn=entity_arn(job.arn, Component, name),
        display_name=config.get("TrialComponentDisplayName", name),
        created_at=job.created_at,
        modified_at=job.modified_at,
        job_uid=job.uid,
        source=job.arn,
        run_name=config.get("RunName"),
        parameters=dict(islice(_parameters(job), MOST_PARAMETERS)),
        inputs=dict(islice(_inputs(job), MOST_ARTIFACTS)),
        outputs=dict(islice(_artifacts(outputs, "OutputName", "S3Output"), MOST_ARTIFACTS)),
        **state_of(job),
    )


def state_of(job: Job) -> dict[str, Any]:
    """What of a job's component follows the job."""
    return {
        "status": job.status,
        "message": job.failure_reason,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def _parameters(job: Job) -> Iterator[tuple[str, Mapping[str, Any]]]:
    cluster = job.request["ProcessingResources"]["ClusterConfig"]
    application = job.request["AppSpecification"]
    yield "SageMaker.InstanceCount", {"NumberValue": float(job.instance_count)}
    yield (
        "SageMaker.InstanceType",
        {"StringValue": cluster.get("InstanceType") or cluster["SelectedInstanceType"]},
    )
    yield "SageMaker.VolumeSizeInGB", {"NumberValue": float(cluster["VolumeSizeInGB"])}
    for name, words in (
        ("SageMaker.ContainerEntrypoint", application.get("ContainerEntrypoint")),
        ("SageMaker.ContainerArguments", application.get("ContainerArguments")),
    ):
        if words:
            yield name, {"StringValue": " ".join(words)[:_LONGEST_TEXT]}
    for variable, value in (job.request.get("Environment") or {}).items():
        name = f"SageMaker.Environment.{variable}"[:_LONGEST_PARAMETER]
        yield name, {"StringValue": value[:_LONGEST_TEXT]}


def _inputs(job: Job) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "SageMaker.ImageUri", {"Value": job.request["AppSpecification"]["ImageUri"]}
    yield from _artifacts(job.request.get("ProcessingInputs"), "InputName", "S3Input")


def _artifacts(given: Sequence[Any] | None, name: str, place: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    for one in given or ():
        if place in one:
            yield one[name][:_LONGEST_ARTIFACT], {"Value": one[place]["S3Uri"]}
