"""Phases of a job, the events that move it, and AWS's five statuses.

The table `MOVES` is data: tests prove it, the docs draw it, and `advance` is the only function that changes a
phase. A host (one instance's piece of a job) has a phase of its own, reported by its runner; the job's phase
follows from its hosts by `dispatch.settle`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from penstock.errors import IllegalMove


class Phase(StrEnum):
    """Where a job (or one of its hosts) is, in our words."""

    QUEUED = "queued"
    """Accepted and on record; no instance has been started."""
    PREPARING = "preparing"
    """Instances are started; the environment of the image is made or found."""
    DOWNLOADING = "downloading"
    """Inputs are on their way from S3, then requirements are installed when there are any."""
    RUNNING = "running"
    """The user's program runs."""
    UPLOADING = "uploading"
    """The program has ended; outputs are on their way to S3."""
    STOPPING = "stopping"
    """A stop was asked for; programs get their signal, outputs are still uploaded."""
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self in {Phase.COMPLETED, Phase.FAILED, Phase.STOPPED}


#: Our phase -> the ProcessingJobStatus that AWS's API shows for it.
STATUS: Mapping[Phase, str] = {
    Phase.QUEUED: "InProgress",
    Phase.PREPARING: "InProgress",
    Phase.DOWNLOADING: "InProgress",
    Phase.RUNNING: "InProgress",
    Phase.UPLOADING: "InProgress",
    Phase.STOPPING: "Stopping",
    Phase.COMPLETED: "Completed",
    Phase.FAILED: "Failed",
    Phase.STOPPED: "Stopped",
}


@dataclass(frozen=True)
class Started:
    """Instances are being started for the job."""


@dataclass(frozen=True)
class Reached:
    """All hosts have come at least as far as `phase` (one of the working phases)."""

    phase: Phase


@dataclass(frozen=True)
class StopAsked:
    """Somebody called StopProcessingJob."""


@dataclass(frozen=True)
class Succeeded:
    """Every host ended well and every output byte is in S3."""

    exit_message: str | None = None


@dataclass(frozen=True)
class Failed:
    """A host failed, or the job could not be run at all."""

    reason: str
    exit_message: str | None = None


@dataclass(frozen=True)
class Halted:
    """The hosts ended because a stop was asked for or the time limit was reached."""

    exit_message: str | None = None


Event = Started | Reached | StopAsked | Succeeded | Failed | Halted

_P = Phase
#: (phase, event) -> next phase. `Reached` moves forward only, to the phase it names.
MOVES: Mapping[tuple[Phase, type[Event]], Phase | None] = {
    (_P.QUEUED, Started): _P.PREPARING,
    (_P.QUEUED, StopAsked): _P.STOPPED,
    (_P.QUEUED, Failed): _P.FAILED,
    **{(p, Reached): None for p in (_P.PREPARING, _P.DOWNLOADING, _P.RUNNING)},
    **{
        (p, kind): target
        for p in (_P.PREPARING, _P.DOWNLOADING, _P.RUNNING, _P.UPLOADING)
        for kind, target in (
            (StopAsked, _P.STOPPING),
            (Succeeded, _P.COMPLETED),
            (Failed, _P.FAILED),
            (Halted, _P.STOPPED),
        )
    },
    # A job that was asked to stop is Stopped whatever its program made of the signal; only a loss of output
    # (an upload that failed) is worth more than that, and is told by the reason.
    (_P.STOPPING, Succeeded): _P.STOPPED,
    (_P.STOPPING, Halted): _P.STOPPED,
    (_P.STOPPING, Failed): _P.FAILED,
}

_ORDER = (_P.PREPARING, _P.DOWNLOADING, _P.RUNNING, _P.UPLOADING)


@dataclass(frozen=True, slots=True)
class Carrier:
    """The right of one server to carry jobs on: its id, and a number that grows each time it takes that right anew.

    Every write of a dispatcher names it, and one whose right is over writes nothing ("fencing token").
    """

    server: str = ""
    epoch: int = 0


#: That of a server that has a database of its own.
ALONE = Carrier()


@dataclass(frozen=True)
class Job:
    """A processing job on record. Times are milliseconds since the epoch."""

    name: str
    uid: str
    """Unique for ever, also when the name is used again after a delete; names folders and runs."""
    arn: str
    request: Mapping[str, Any]
    """The CreateProcessingJob request as received, with AWS's defaults filled in."""
    created_at: int
    modified_at: int
    phase: Phase = Phase.QUEUED
    version: int = 0
    phases: Mapping[str, int] = field(default_factory=dict)
    """Phase -> when it was reached."""
    started_at: int | None = None
    """ProcessingStartTime: when the first host began to fetch inputs."""
    ended_at: int | None = None
    failure_reason: str | None = None
    exit_message: str | None = None
    owner: str = ""
    """For whom it is: the queue is fair between owners."""
    priority: int = 0
    """From -100 to 100; the higher is started first."""
    carrier: Carrier = ALONE
    """Who carries it on, once it has been started."""
    place: str = ""
    """The server on whose machine it was started, whoever carries it on."""
    engine: str = ""
    """The name of the engine that it waits for, and has once it has been started; empty: whichever a server has."""
    lock: str | None = None
    """The SHA-256 of the environment's lock that it asks for; None: it asks for none."""
    logs_removed_at: int | None = None
    """When its logs were removed, though it is still on record."""

    @property
    def status(self) -> str:
        """The ProcessingJobStatus of AWS's API."""
        return STATUS[self.phase]

    @property
    def trial_component(self) -> str | None:
        """The name of the trial component that stands for the job in experiments; None without ExperimentConfig.

        One without is given it with its first metric.
        """
        return self.component_name if self.request.get("ExperimentConfig") else None

    @property
    def component_name(self) -> str:
        """By which name a trial component stands for the job, if there is one.

        Names of components are not case-sensitive, so this one is in lower case.
        """
        return f"{self.name}-aws-processing-job".lower()

    @property
    def instance_count(self) -> int:
        """How many instances (hosts) the job has."""
        return int(self.request["ProcessingResources"]["ClusterConfig"].get("InstanceCount", 1))


def advance(job: Job, event: Event, at: int) -> Job:
    """What `job` becomes when `event` happens to it at time `at`; nothing else changes a phase.

    A clock that was set back does not lead behind what happened before: times never go back.

    Raises:
        IllegalMove: The event can't happen in the job's phase.
    """
    key = (job.phase, type(event))
    if key not in MOVES:
        raise IllegalMove(f"Job {job.name} is {job.phase}: {type(event).__name__} can't happen to it.")
    if isinstance(event, Reached):
        if event.phase not in _ORDER or _ORDER.index(event.phase) <= _ORDER.index(job.phase):
            raise IllegalMove(f"Job {job.name} is {job.phase} and can't go back to {event.phase}.")
        phase = event.phase
    else:
        target = MOVES[key]
        assert target is not None  # only Reached names its own target
        phase = target
    at = max(at, job.created_at, job.started_at or 0, *job.phases.values())
    begun = phase in {Phase.DOWNLOADING, Phase.RUNNING, Phase.UPLOADING}
    return replace(
        job,
        phase=phase,
        version=job.version + 1,
        modified_at=max(at, job.modified_at),
        phases={**job.phases, phase.value: at},
        started_at=at if begun and job.started_at is None else job.started_at,
        ended_at=at if phase.final else None,
        failure_reason=event.reason if isinstance(event, Failed) and phase is Phase.FAILED else None,
        exit_message=getattr(event, "exit_message", None),
    )
