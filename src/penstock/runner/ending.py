"""How a run's program ended, kept for another runner, should this one be killed before all outputs are uploaded.

It stands in the journal, in the event that tells of the upload's beginning: whole or not at all.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from penstock.job.life import Phase
from penstock.runner.journal import Journal
from penstock.small import read_small

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Ending:
    """All that the outcome needs, but for the upload."""

    exit_code: int | None
    halted: bool
    """By a stop or the time limit."""
    reasons: list[str]
    """Why the run has failed by now; none: it has not."""
    lost: bool = False
    """Whether nothing of that is the user's: its runner died, or was without a server for too long."""


def keep(journal: Journal, ending: Ending) -> None:
    """Write it down, with the beginning of the upload.

    It counts as long as the machine is up: after a loss of power, what the program wrote may be gone in part.
    """
    journal.phase(Phase.UPLOADING, ending={"boot": _boot(), **asdict(ending)})


def found(journal: Journal) -> Ending | None:
    """What an earlier runner of the run kept; None when its program had not ended, or the machine was started anew."""
    for event in reversed(journal.after(0)):
        if event.kind == "phase" and "ending" in event.data:
            told: dict[str, Any] = dict(event.data["ending"])
            return Ending(**told) if told.pop("boot") == _boot() else None
    return None


def _boot() -> str:
    return read_small(_BOOT).decode("ascii")
