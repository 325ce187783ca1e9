"""What a job asks of the machine, for whom, and how urgently. Pure.

Named by its instance types: each instance claims the processors, memory and graphics cards of its type, whether its
program uses them or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.job.instances import instance
from penstock.job.life import Job

#: The tags of a job that say how urgent it is, whose, and on which engine it is to run.
PRIORITY, OWNER, ENGINE = "penstock:priority", "penstock:owner", "penstock:engine"
#: That says how many attempts may follow the first.
RETRIES = "penstock:retries"
#: The highest priority; the lowest is the opposite.
MOST = 100
#: As AWS has it for training jobs (RetryStrategy.MaximumRetryAttempts).
MOST_RETRIES = 30


@dataclass(frozen=True, slots=True)
class Resources:
    """What a machine has, or what all instances of a job take of it together."""

    cpus: int = 0
    memory: int = 0
    """Bytes."""
    gpus: int = 0
    instances: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpus + other.cpus,
            self.memory + other.memory,
            self.gpus + other.gpus,
            self.instances + other.instances,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.cpus - other.cpus,
            self.memory - other.memory,
            self.gpus - other.gpus,
            self.instances - other.instances,
        )

    def __str__(self) -> str:
        """In words: ``4 CPUs, 16 GiB of memory, 2 instances``; what is none, and the one instance, is left out."""
        parts = [
            counted(self.cpus, "CPU") if self.cpus else "",
            f"{gib(self.memory)} of memory" if self.memory else "",
            counted(self.gpus, "GPU") if self.gpus else "",
            counted(self.instances, "instance") if self.instances > 1 else "",
        ]
        return ", ".join(part for part in parts if part) or "nothing"

    def __mul__(self, count: int) -> Resources:
        return Resources(count * self.cpus, count * self.memory, count * self.gpus, count * self.instances)

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        """All of them in their order."""
        return self.cpus, self.memory, self.gpus, self.instances

    def within(self, room: Resources) -> bool:
        """Whether there is room for it."""
        return (
            self.cpus <= room.cpus
            and self.memory <= room.memory
            and self.gpus <= room.gpus
            and self.instances <= room.instances
        )

    def least(self, other: Resources) -> Resources:
        """Of each the smaller amount."""
        return Resources(*map(min, self.amounts, other.amounts))

    def of(self, capacity: Resources) -> Resources:
        """What it takes of a machine: all, when it is larger than that. Then nobody else has room beside it."""
        return self if self.within(capacity) else capacity

    def share(self, capacity: Resources) -> float:
        """The part of the machine that it is, by the resource of which it takes most."""
        pairs = zip(self.amounts, capacity.amounts, strict=True)
        return max((wanted / there for wanted, there in pairs if there), default=0.0)


@dataclass(frozen=True, slots=True)
class Claim:
    """A job as the queue sees it. `created_at` is in milliseconds since the epoch."""

    uid: str
    name: str
    owner: str
    resources: Resources
    created_at: int
    priority: int = 0
    engine: str = ""
    """As `Job.engine`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine a job waits for: the one that its tag names; else, where there are several, that of a setting."""

    engines: tuple[str, ...] = ("local",)
    """The names of those that a server has."""
    default: str | None = None
    """The setting: a name, or None for by size."""
    here: Resources = Resources()
    """What is given out of the server's own machine, on which runs what asks for one instance that it has room for."""

    def of(self, tags: Mapping[str, str], wanted: Resources) -> str:
        """The engine's name; empty where there is only one, so that a server with another one may take the job.

        Raises:
            ValueError: The tag names none that there is.
        """
        named = tags.get(ENGINE)
        if named is not None:
            if named not in self.engines:
                raise ValueError(
                    f"{named!r} is no engine of this server, which has {' and '.join(self.engines)}"
                )
            return named
        if len(self.engines) == 1:
            return ""
        if self.default is not None:
            return self.default
        return self.engines[0] if wanted.instances == 1 and wanted.within(self.here) else self.engines[-1]


def claim_of(job: Job) -> Claim:
    """What a job claims."""
    wanted = resources_of(job.request)
    return Claim(job.uid, job.name, job.owner, wanted, job.created_at, job.priority, job.engine)


def resources_of(request: Mapping[str, Any]) -> Resources:
    """What all instances of a CreateProcessingJob request take together.

    Of an instance type that isn't known, an instance takes one processor.
    """
    cluster = (request.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    kind = cluster.get("InstanceType") or cluster.get("SelectedInstanceType") or ""
    return _of_type(str(kind)) * int(cluster.get("InstanceCount", 1))


def priority_of(tags: Mapping[str, str]) -> int:
    """The priority that a job's tags give it; 0 when they say nothing.

    Raises:
        ValueError: It is no whole number from -100 to 100.
    """
    text = tags.get(PRIORITY, "0")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 4 and int(digits) <= MOST):
        raise ValueError(f"{text!r} is no whole number from -{MOST} to {MOST}")
    return int(text)


def retries_of(tags: Mapping[str, str], usual: int) -> int:
    """How many attempts may follow a job's first one, by its tags; `usual` when they say nothing.

    Raises:
        ValueError: It is no whole number from 0 to 30.
    """
    text = tags.get(RETRIES, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 3 and int(text) <= MOST_RETRIES):
        raise ValueError(f"{text!r} is no whole number from 0 to {MOST_RETRIES}")
    return int(text)


def too_large(wanted: Resources, capacity: Resources) -> str | None:
    """A sentence if the machine has less than is asked for."""
    if wanted.within(capacity):
        return None
    return f"The job asks for {wanted}, and this machine has {capacity} to give."


def counted(number: int, what: str) -> str:
    """``1 CPU``, ``2 CPUs``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def gib(count: int) -> str:
    """Bytes as GiB, rounded to a tenth."""
    return f"{count / (1 << 30):.1f}".removesuffix(".0") + " GiB"


@lru_cache
def _of_type(kind: str) -> Resources:
    has = instance(kind)
    if has is None:
        return Resources(1, 0, 0, 1)
    return Resources(has.cpus or 1, has.memory_bytes or 0, has.gpus or 0, 1)
