"""What is to be seen of experiments, trials and trial components, as values: read from answers of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock import units

#: What a job's component is given by the server begins so: known of the job, and the same for many.
OF_THE_JOB = "SageMaker."
#: And the variables among these so.
VARIABLES = "SageMaker.Environment."
#: What the names of jobs' components end in, after the job's.
OF_JOBS = "-aws-processing-job"


@dataclass(frozen=True)
class Component:
    """A trial component at a moment."""

    name: str
    """What is shown for it."""
    status: str
    """In AWS's words; empty for one that nobody gave a status."""
    message: str
    """What its status says besides."""
    started: datetime | None
    ended: datetime | None
    trials: tuple[str, ...]
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    """Name and last value."""
    inputs: Mapping[str, str]
    """Name and place of what it used."""
    outputs: Mapping[str, str]

    @property
    def took(self) -> str:
        """How long it took; empty when that is not known (yet)."""
        if self.started is None or self.ended is None:
            return ""
        return units.duration((self.ended - self.started).total_seconds() * 1000)


@dataclass(frozen=True)
class Group:
    """An experiment or a trial at a moment, with its newest components."""

    kind: str
    """`Experiment` or `Trial`."""
    name: str
    created: datetime
    display_name: str = ""
    description: str = ""
    experiment: str = ""
    """Of a trial."""
    trials: int = 0
    """How many there are, of an experiment."""
    empty: tuple[str, ...] = ()
    """Trials without components, among the newest."""
    components: tuple[Component, ...] = ()
    total: int = 0
    """How many components there are."""


def component(told: Mapping[str, Any]) -> Component:
    """What a search or a Describe tells of a component."""
    status = told.get("Status") or {}
    return Component(
        name=told.get("DisplayName") or told["TrialComponentName"],
        status=status.get("PrimaryStatus", ""),
        message=status.get("Message", ""),
        started=told.get("StartTime"),
        ended=told.get("EndTime"),
        trials=tuple(parent["TrialName"] for parent in told.get("Parents") or ()),
        parameters={name: _text(value) for name, value in (told.get("Parameters") or {}).items()},
        metrics={one["MetricName"]: one["Last"] for one in told.get("Metrics") or () if "Last" in one},
        inputs={name: one["Value"] for name, one in (told.get("InputArtifacts") or {}).items()},
        outputs={name: one["Value"] for name, one in (told.get("OutputArtifacts") or {}).items()},
    )


def names(of: Sequence[Mapping[str, Any]]) -> list[str]:
    """All names in mappings: those that most of them have come first, then by name."""
    counts: dict[str, int] = {}
    for one in of:
        for name in one:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def _text(parameter: Mapping[str, Any]) -> str:
    number = parameter.get("NumberValue")
    return f"{number:g}" if number is not None else str(parameter.get("StringValue", ""))
