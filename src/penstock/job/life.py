"""Phases of a job, the events that move it, and AWS's five statuses.

The table `MOVES` is data: tests prove it, the docs draw it, and `advance` is the only function that changes a
phase. A host (one instance's piece of a job) has a phase of its own, reported by its runner; the job's phase
follows from its hosts by `dispatch.settle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        return self in _FINAL


_FINAL = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.STOPPED})

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
    lost: bool = False
    """Whether a machine or a runner was lost, and nothing that is the user's had failed."""


@dataclass(frozen=True)
class Retried:
    """The attempt is lost, and another one follows it."""

    reason: str


@dataclass(frozen=True)
class Halted:
    """The hosts ended because a stop was asked for or the time limit was reached."""

    exit_message: str | None = None


Event = Started | Reached | StopAsked | Succeeded | Failed | Retried | Halted

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
            (Retried, _P.QUEUED),
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


def key_of(name: str, attempt: int) -> str:
    """By which an attempt of the job, or a host in it, is known. Neither uids nor names of hosts have dots."""
    return name if attempt == 1 else f"{name}.{attempt}"


def from_key(key: str) -> tuple[str, int]:
    """The name and the attempt of what `key_of` made."""
    name, _, attempt = key.partition(".")
    return name, int(attempt or 1)


@dataclass(frozen=True)
class Attempt:
    """One go at a job by all its instances, which was lost. Times are milliseconds since the epoch."""

    reason: str
    phases: Mapping[str, int]
    """Phase -> when it was reached."""
    ended_at: int

    @property
    def took(self) -> int:
        """For how long its time limit ran: until the loss was on record, or 0."""
        return self.ended_at - self.phases.get(Phase.DOWNLOADING.value, self.ended_at)


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
    """Phase -> when it was reached, in this attempt."""
    lost: Sequence[Attempt] = ()
    """The attempts before this one."""
    started_at: int | None = None
    """ProcessingStartTime: when the first host began to fetch inputs, in the first attempt that came so far."""
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
    def attempt(self) -> int:
        """The number of its attempt, from 1."""
        return len(self.lost) + 1

    @property
    def key(self) -> str:
        """By which its attempt is known."""
        return key_of(self.uid, self.attempt)

    @property
    def spent_ms(self) -> int:
        """What earlier attempts have used of its time limit (MaxRuntimeInSeconds is for all together)."""
        return sum(one.took for one in self.lost)

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
    before, lost = job.phases, job.lost
    if isinstance(event, Retried):
        before, lost = {}, (*lost, Attempt(event.reason, before, at))
    begun = phase in {Phase.DOWNLOADING, Phase.RUNNING, Phase.UPLOADING}
    return replace(
        job,
        phase=phase,
        version=job.version + 1,
        modified_at=max(at, job.modified_at),
        phases={**before, phase.value: at},
        lost=lost,
        started_at=at if begun and job.started_at is None else job.started_at,
        ended_at=at if phase.final else None,
        failure_reason=event.reason if isinstance(event, Failed) and phase is Phase.FAILED else None,
        exit_message=getattr(event, "exit_message", None),
    )
