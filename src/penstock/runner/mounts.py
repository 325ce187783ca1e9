"""Inputs that the program sees by a mount: their order, and what is done where they can't be mounted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from penstock.data.inputs import Fetched
from penstock.data.local import has_mounts_below
from penstock.errors import InternalFailure
from penstock.runner.folder import RunFolder
from penstock.runtimes.base import Mount, Program, Running, Runtime

#: Where the code of a job lies; `requirements` reads it before there are any mounts.
CODE = "/opt/ml/processing/input/code"


def start(
    choose: Callable[..., Runtime],
    program: Program,
    fetched: Sequence[Fetched],
    folder: RunFolder,
    output: int,
    note: Callable[[str], None],
) -> tuple[Running, list[Fetched]]:
    """Start the program with its inputs mounted or, where that can't be, copied.

    Returns:
        The program, and the inputs that are mounted; the number of each in this list names its folder in `uppers`.

    Args:
        choose: Chooses the runtime, told by `overlays` whether some are wanted.
        program: Without its inputs.
        fetched: All inputs.
        folder: The run's.
        output: See `Runtime.start`.
        note: Called with a line for the log.

    Raises:
        ClientFailure, InternalFailure: As `Runtime.start` and `copy_in` do.
    """

    def begin(runtime: Runtime, *, overlays: bool) -> tuple[Running, list[Fetched]]:
        above = input_mounts(fetched, folder, overlays=overlays)
        running = runtime.start(replace(program, mounts=(*program.mounts, *above)), output)
        return running, _shared(fetched, overlays=overlays)

    if any(one.mount for one in fetched):
        runtime = choose(overlays=True)
        refusal = f"{runtime.name} has no overlay mounts"
        if runtime.overlays:
            try:
                return begin(runtime, overlays=True)
            except InternalFailure as failure:  # for one reason or another: without them it may work
                refusal = str(failure)
        note(f"Inputs are copied from the cache, and local ones read-only, for want of overlays: {refusal}.")
        copy_in(fetched, folder)
    return begin(choose(overlays=False), overlays=False)


def input_mounts(fetched: Sequence[Fetched], folder: RunFolder, *, overlays: bool) -> list[Mount]:
    """Mounts for the inputs that want one, and above them those of the run's folder that lie within their places.

    Outputs and inputs don't lie within each other; the API sees to that.

    Args:
        fetched: All inputs.
        folder: The run's.
        overlays: False: those of the machine's own files are read-only, all others lie in the run's folder (`copy_in`).
    """
    shared = _shared(fetched, overlays=overlays)
    places = [_path(one.local_path) for one in shared]
    found = [
        (place, _mount(one, place, folder.uppers / str(number) if overlays else None))
        for number, (one, place) in enumerate(zip(shared, places, strict=True))
    ]
    others = (_path(one.local_path) for one in fetched if one not in shared)
    found += [
        (place, Mount(_below(folder, place), str(place), writable=True))
        for place in others
        if any(place.is_relative_to(outer) for outer in places)
    ]
    return [mount for _, mount in sorted(found, key=lambda one: len(one[0].parts))]


def _shared(fetched: Sequence[Fetched], *, overlays: bool) -> list[Fetched]:
    return [one for one in fetched if one.mount and (overlays or one.local)]


def _mount(one: Fetched, place: PurePosixPath, upper: Path | None) -> Mount:
    source = Path(one.mount or "")
    if not source.is_dir():
        return Mount(source, str(place / source.name))
    if one.local and has_mounts_below(source):
        return Mount(source, str(place))
    return Mount(source, str(place), upper=upper)


def copy_in(fetched: Sequence[Fetched], folder: RunFolder) -> None:
    """Put the inputs that want a mount into the run's folder instead, for walls that have no overlays.

    A copy: hard links would let the program change what others see.

    Raises:
        InternalFailure: The disk can't take them.
    """
    for one in fetched:
        if one.mount and not one.local:
            try:
                _copy(Path(one.mount), _below(folder, _path(one.local_path)))
            except OSError as error:
                raise InternalFailure(
                    f"Input {one.name!r} can't be copied from {one.mount}: {error}. Free some space on the disk, or "
                    "have overlay mounts by PENSTOCK_WALLS=auto."
                ) from error


def _copy(source: Path, target: Path) -> None:
    """As shutil.copytree, which tries all files of a full disk, however many, and goes down on Python's stack."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        (target / below).mkdir(parents=True, exist_ok=True)
        with os.scandir(source / below) as entries:
            for entry in entries:
                inner = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{inner}/")
                else:
                    shutil.copyfile(entry.path, target / inner)


def _path(local_path: str) -> PurePosixPath:
    return PurePosixPath("/", *(part for part in local_path.split("/") if part))


def _below(folder: RunFolder, place: PurePosixPath) -> Path:
    return folder.ml / place.relative_to("/opt/ml")
