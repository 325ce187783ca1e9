"""What an engine is: it starts a runner for a run somewhere, finds it again, and can ask it to stop.

An engine never imports the runner: it is started by command line, so that a runner of last week can report to
today's server. Every implementation passes `penstock.testing.engines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from penstock.job.claim import Claim, Resources, too_large
from penstock.job.events import HostEvent
from penstock.job.run import Run


class Life(Enum):
    """Whether a runner lives. What can't be told counts as alive until its lease is over."""

    ALIVE = "alive"
    DEAD = "dead"
    NEVER_STARTED = "never started"
    UNKNOWN = "unknown"
    """Nobody can ask just now. Only for runners with a lease (`Run.leased`), which end with that by themselves."""


@dataclass(frozen=True)
class Reservation:
    """What came of a wish for room for all instances of a job."""

    ready: bool = True
    """They may be started."""
    lacking: str | None = None
    """Why there is no room just now, as a sentence without its subject and its full stop. None and not ready: room is
    being made, and the engine says when something has changed."""
    notes: tuple[str, ...] = ()
    """Lines that the log of each instance is to begin with."""
    pieces: bool = False
    """Whether it is `lacking` because what is free lies in pieces: enough of it can be kept free for the job."""


def alone(wanted: Resources, capacity: Resources) -> Reservation:
    """Room on one machine, all of it for what is larger."""
    note = too_large(wanted, capacity)
    return Reservation(notes=(f"{note} It runs alone on all of it.",) if note else ())


@dataclass(frozen=True)
class Machine:
    """One on which jobs may run, as people are told of it."""

    name: str
    address: str
    """Where others reach it; empty: it is the server's own."""
    engine: str
    total: Resources
    """What is given out of it."""
    free: Resources | None = None
    """What is left of that, to whomever the rest was given; None: the queue alone knows."""
    jobs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The instances that are there, as job uid -> their keys (`Run.key`)."""
    alive: bool = True
    """Whether it can be asked."""


@dataclass(frozen=True)
class Remains:
    """What a dead runner left behind that its server may not have been told."""

    events: Sequence[HostEvent]
    log: bytes
    """The host's log from the asked position on, or a first part of it: ask again from its end."""
    last_words: str
    """The end of the runner's own error output, to tell why it died."""


def part_of(engine: Engine, name: str) -> Engine | None:
    """The part that begins those jobs which wait for the engine `name`; the first for those that wait for any.

    None: there is none of that name.
    """
    parts = engine.parts()
    return next((part for part in parts if part.name == name), None if name else parts[0])


class Engine(Protocol):
    """Where instances run."""

    name: str

    def parts(self) -> Sequence[Engine]:
        """The engines that it is made of, each with a line of waiting jobs of its own. Most are of one piece."""
        ...

    def warm_up(self) -> None:
        """Make ready what takes a while. Jobs may come before it is."""
        ...

    def close(self) -> None:
        """End what was made ready. Runners go on."""
        ...

    def capacity(self) -> Resources:
        """What there is to give out on all machines together."""
        ...

    def machines(self) -> Sequence[Machine]:
        """Those machines, and what is known of them; also those out of reach on which jobs are. Answers at once."""
        ...

    def lacking(self, wanted: Resources) -> str | None:
        """Why a job that wants so much could not be begun even if no other ran, in the form of `Reservation.lacking`.

        None: it could. It is asked often and answers at once.
        """
        ...

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:
        """Take room for all instances of a job or for none, before they are prepared. May be repeated; answers at once.

        It is given back when the last of its runs is forgotten, or by `cancel`.

        Args:
            job_uid: The job.
            wanted: What its instances take together.
            beside: A job whose turn comes before, which found room in `pieces` only and has waited its time: enough is
                kept free for it.
        """
        ...

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """Those who have found no room, the next first: who can have more machines asks for them.

        Args:
            waiting: Gives them; of no use, and so not called, where there will be no more machines.
        """
        ...

    def cancel(self, job_uid: str) -> None:
        """Give back the room of a job that will not begin. No effect where there is none."""
        ...

    def prepare(self, run: Run) -> str:
        """Make ready what `start` needs and return the handle. It depends on nothing but the run's identity."""
        ...

    def knows(self, handle: str) -> bool:
        """Whether that run was prepared here and has not been forgotten, by whichever server of this home."""
        ...

    def start(self, handle: str) -> None:
        """Start the runner, unless it lives or its journal has the end: who has had no answer asks once more, or late.

        Raises:
            InternalFailure: It can't be started; the message says why.
        """
        ...

    def probe(self, handle: str) -> Life:
        """Whether the runner lives."""
        ...

    def stop(self, handle: str) -> None:
        """Ask the runner to stop its program and conclude. No effect on one that is gone. May be repeated."""
        ...

    def remains(self, handle: str, log_from: int) -> Remains:
        """What a dead runner left behind."""
        ...

    def manifest(self, handle: str, start: int) -> bytes:
        """The upload manifest of a dead runner from byte `start` on, or a first part of it; nothing at its end."""
        ...

    def forget(self, handle: str) -> None:
        """Remove all that is left of a run that has ended. May be repeated."""
        ...

    def sweep(self, keep: set[str]) -> None:
        """Forget all runs but those of the handles in `keep`, and but those whose runner lives."""
        ...

    def tidy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have its machines remove inputs and environments that they keep no longer; what each tells, by its address.

        What is asked and told says `retention/tidying.py`, of a machine that can't a member `failed`. It may take a
        minute. What the server keeps in its own home it sees to by itself.
        """
        ...
