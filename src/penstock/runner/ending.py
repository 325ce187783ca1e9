"""How a run's program ended, kept for another runner, should this one be killed before all outputs are uploaded."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from penstock.runner.folder import RunFolder

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


def keep(folder: RunFolder, ending: Ending) -> None:
    """Write it down, whole or, on a full disk, not at all.

    It counts as long as the machine is up: after a loss of power, what the program wrote may be gone in part.
    """
    text = json.dumps({"boot": _BOOT.read_text(), **asdict(ending)})
    temporary = folder.ending.with_suffix(".new")
    with suppress(OSError):
        temporary.write_text(text)
        temporary.replace(folder.ending)


def found(folder: RunFolder) -> Ending | None:
    """What an earlier runner of the run kept; None when its program had not ended, or the machine was started anew."""
    try:
        told = json.loads(folder.ending.read_text())
    except FileNotFoundError:
        return None
    return Ending(**told) if told.pop("boot") == _BOOT.read_text() else None
