"""What a run does on a full disk: it says so, and gives back what is of no more use.

Without that a job that has filled the disk would never end: its folder is removed once its end is on record, and the
record needs room on the same disk.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock import disk, units
from penstock.errors import InternalFailure
from penstock.job.life import Phase
from penstock.runner.folder import RunFolder

#: With less than this left, others (the server, its store) may lack it.
_SCARCE = 64 << 20
_DOING = {
    Phase.PREPARING: "preparing the environment",
    Phase.DOWNLOADING: "fetching the inputs",
    Phase.RUNNING: "starting or following the program",
    Phase.UPLOADING: "uploading the outputs",
}


def give_back(folder: RunFolder, places: Sequence[Path], note: Callable[[str], None]) -> None:
    """Remove `places` of the run's folder where the disk has little left.

    What can't be removed stays until the whole folder goes.
    """
    left = disk.free(folder.path)
    if left >= _SCARCE:
        return
    # Of folders without rights or nested however deep; no link is followed.
    for command in (["chmod", "-R", "u+rwX", "--"], ["rm", "-rf", "--"]):
        there = [str(place) for place in places if place.exists()]
        if there:
            subprocess.run([*command, *there], check=False, capture_output=True)
    names = ", ".join(place.name for place in places)
    note(f"The disk has only {units.size(left)} left: the job's {names} are removed before its end.")


def explained(error: OSError, phase: Phase | None, place: Path) -> InternalFailure:
    """The failure of a run that met a full disk in `phase`."""
    doing = _DOING.get(phase, "working") if phase else "beginning"
    file = error.filename or place
    return InternalFailure(f"The disk is full while {doing}: {file} can't be written. {disk.remedy(place)}")


def hint(least: float, place: Path) -> str:
    """What to add for a program that failed when the machine's disk, `least` bytes of which were left, was full."""
    if least >= disk.NEARLY_NOTHING:
        return ""
    return (
        f"While it ran, the machine's own disk was full ({units.size(least)} left), which /opt/ml and /tmp lie on. "
        f"{disk.remedy(place)}"
    )
