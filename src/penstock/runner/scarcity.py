"""What a run does on a full disk: it says so, and gives back what is of no more use.

Without that a job that has filled the disk would never end: its folder is removed once its end is on record, and the
record needs room on the same disk.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from penstock import disk, units
from penstock.data.answers import StoreFull
from penstock.errors import InternalFailure, JobFailure
from penstock.job.life import Phase
from penstock.job.run import S3Access
from penstock.runner.folder import RunFolder

_LIBC = ctypes.CDLL(None)
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # of fallocate(2)
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


def give_up_start(folder: RunFolder, file: Path, size: int) -> None:
    """Have the first `size` bytes of a file of the run take no room any more, where the disk has little left.

    They read as zeros then, and the rest stays where it is. A file system that can't do this keeps them.
    """
    if size and disk.free(folder.path) < _SCARCE:
        with suppress(OSError), file.open("rb+") as opened:
            _LIBC.fallocate64(
                opened.fileno(), _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size)
            )


def explained(error: OSError, phase: Phase | None, place: Path) -> InternalFailure:
    """The failure of a run that met a full disk in `phase`."""
    doing = _DOING.get(phase, "working") if phase else "beginning"
    file = error.filename or place
    return InternalFailure(f"The disk is full while {doing}: {file} can't be written. {disk.remedy(place)}")


def uploading(failure: JobFailure, access: S3Access, folder: RunFolder) -> JobFailure:
    """The failure of an upload: the store of this machine, on the same disk, doesn't say that it has no room."""
    if isinstance(failure, StoreFull) or not access.own or disk.free(folder.path) >= _SCARCE:
        return failure
    return InternalFailure(f"{failure} The store's disk is full, probably. {disk.remedy(folder.path)}")


def hint(least: float, place: Path) -> str:
    """What to add for a program that failed when the machine's disk, `least` bytes of which were left, was full."""
    if least >= disk.NEARLY_NOTHING:
        return ""
    return (
        f"While it ran, the machine's own disk was full ({units.size(least)} left), which /opt/ml and /tmp lie on. "
        f"{disk.remedy(place)}"
    )
