"""The volume's quota: whatever a job writes counts, and a program that writes more than VolumeSizeInGB is ended.

The volume is the run's folder as far as its program writes there: /opt/ml, /tmp, what its own pip installs, and what
it changes in inputs that it shares with others. Such an input itself counts with its size when it is S3's, as on a
volume of AWS's, wherever it lies here: so a cache makes no difference. `file://` folders don't count.

A look at the file system's counters, several times a second, tells whether the program can have reached its quota at
all. Only when they have grown by what was left, by whomever, is the folder walked; and now and then besides, since
others may free what the program takes.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock import units
from penstock.data.folder import FOLDER, walk
from penstock.data.inputs import GIB, Fetched
from penstock.environments.layer import LAYER
from penstock.errors import ClientFailure
from penstock.runner.folder import RunFolder
from penstock.runtimes.base import Running

_BLOCK = 512  # what st_blocks counts, whatever the file system's own blocks are
#: A program is taken to write no faster, in bytes a second.
_FASTEST = 8 * GIB
_SHORTEST, _LONGEST = 0.02, 0.5
#: A walk that nothing asked for comes after so many seconds, and any after a multiple of what the last one took.
_NOW_AND_THEN = 10.0
_REST, _LONG_REST = 4, 50


def size_of(request: Mapping[str, Any]) -> int:
    """VolumeSizeInGB."""
    size: int = request["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"]
    return size


@dataclass(frozen=True)
class Usage:
    """What a job's files take."""

    bytes: int
    largest: str = ""
    """The file, or the folder with its own files, that takes most; as the program sees it."""
    largest_bytes: int = 0


class Volume:
    """The quota of one run."""

    def __init__(self, gigabytes: int, folder: RunFolder, fetched: Sequence[Fetched]) -> None:
        """`gigabytes`: VolumeSizeInGB, of 2^30 bytes each as AWS's volumes. `fetched`: all inputs."""
        self.gigabytes, self.limit = gigabytes, gigabytes * GIB
        self.failure: ClientFailure | None = None
        """Why the program was ended."""
        self.least_free: float = math.inf
        """The least that was left of the machine's own disk."""
        self._folder = folder
        self._fetched = fetched
        self._elsewhere: Sequence[Fetched] = ()
        self._used = self.look()  # before the program starts: its first writes count, too
        # What inputs take is known without a walk; an environment's layer is next to nothing.
        self._left = self.limit - sum(one.bytes or 0 for one in fetched if not one.local)

    @property
    def pause(self) -> float:
        """For how many seconds no program can write more than is left."""
        return _pause(self._left)

    def leave_out(self, mounted: Sequence[Fetched]) -> None:
        """Those inputs lie elsewhere; what is changed of them lies in the run's `uppers`, by their numbers."""
        self._elsewhere = mounted

    def watch(self, running: Running) -> None:
        """Return when the program has ended; end it when its files take more than the quota.

        The program has run for the first `pause`.
        """
        left, used = self._left, self._used
        walked, took = time.monotonic(), 0.0
        pause = 0.0
        while running.wait(pause) is None:
            grown = self.look() - used
            pause = _pause(left - grown)
            since = time.monotonic() - walked
            if since < max(_NOW_AND_THEN, _LONG_REST * took) and (grown < left or since < _REST * took):
                continue
            used, walked = used + grown, time.monotonic()  # before the walk: it may grow meanwhile
            usage = self.measure()
            took = time.monotonic() - walked
            left = self.limit - usage.bytes
            pause = _pause(left)
            if left < 0:
                self.failure = self._exceeded(usage)
                running.kill()
                return

    def measure(self) -> Usage:
        """Walk through all. Blocks count and not lengths, so a sparse file takes what it takes; hard links once."""
        total = sum(one.bytes or 0 for one in self._elsewhere if not one.local)
        largest, most = "", 0
        links: set[tuple[int, int]] = set()
        for place, shown in self._places():
            for path, size, is_folder in _sizes(place, links):
                total += 0 if is_folder else size
                # A folder is told instead of its largest file when it has much more: a million small ones, say.
                if size > (2 * most if is_folder else most):
                    largest, most = f"{shown}/{path}".rstrip("/"), size
        for path, size in _deleted(links, self._folder.path.stat().st_dev):
            total += size
            if size > most:
                largest, most = f"{path} (deleted, but held open)", size
        return Usage(total, largest, most)

    def _places(self) -> Iterator[tuple[Path, str]]:
        """Where the program writes, and how it calls that."""
        yield self._folder.ml, "/opt/ml"
        yield self._folder.scratch, "/tmp"  # noqa: S108 - the job's own
        yield self._folder.layer, f"{LAYER}/lib"
        for number, one in enumerate(self._elsewhere):
            yield self._folder.uppers / str(number) / "files", one.local_path.rstrip("/")

    def look(self) -> int:
        """Bytes that are used of the file system, by whomever."""
        found = os.statvfs(self._folder.path)
        self.least_free = min(self.least_free, found.f_bavail * found.f_frsize)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def _exceeded(self, usage: Usage) -> ClientFailure:
        shared = sum(one.bytes or 0 for one in self._fetched if not one.local)
        inputs = f", {units.size(shared)} of them inputs" if shared else ""
        return ClientFailure(
            f"The volume is full: the job's files take {units.size(usage.bytes)}{inputs}, and VolumeSizeInGB is "
            f"{self.gigabytes}. The largest is {_shortened(usage.largest)} with {units.size(usage.largest_bytes)}. "
            "Ask for a larger VolumeSizeInGB (volume_size_in_gb in the SDK), or write less and remove what is no "
            "longer needed. What was in the outputs by then was uploaded."
        )


def _pause(left: int) -> float:
    return min(_LONGEST, max(_SHORTEST, left / _FASTEST))


def _sizes(place: Path, links: set[tuple[int, int]]) -> Iterator[tuple[str, int, bool]]:
    """Every file below `place` with what it takes, and after those of a folder, which come together, their sum."""
    try:
        top = os.open(place, FOLDER)
    except OSError:
        return  # not made, or the program has put something else there
    folders: list[str] = []

    def enters(path: str) -> bool:
        folders.append(path)
        return True

    try:
        block = os.fstat(top).st_blocks * _BLOCK
        last, own = "", 0
        for _, path, found in walk(top, enters, lambda *_: None):
            base = path.rpartition("/")[0]
            if base != last:
                yield last, own, True
                last, own = base, 0
            while folders:
                yield folders.pop(), block, False
            if found is not None and _first(found, links):
                own += found.st_blocks * _BLOCK
                yield path, found.st_blocks * _BLOCK, False
        yield last, own, True
        for path in folders:
            yield path, block, False
    finally:
        os.close(top)


def _first(found: os.stat_result, links: set[tuple[int, int]]) -> bool:
    """Whether the file has not been met by another of its names."""
    if found.st_nlink == 1:
        return True
    key = found.st_dev, found.st_ino
    if key in links:
        return False
    links.add(key)
    return True


def _deleted(links: set[tuple[int, int]], device: int) -> Iterator[tuple[str, int]]:
    """Files of `device` that no folder shows, but a process of the program holds open: their names and sizes."""
    for process in _descendants(os.getpid()):
        with suppress(OSError), os.scandir(f"/proc/{process}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    found = entry.stat()
                    deleted = stat.S_ISREG(found.st_mode) and not found.st_nlink and found.st_dev == device
                    if deleted and _first(found, links):
                        name = str(Path(entry.path).readlink()).removesuffix(" (deleted)")
                        yield name, found.st_blocks * _BLOCK


def _descendants(process: int) -> Iterable[int]:
    waiting, found = [process], []
    while waiting:
        parent = waiting.pop()
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                with suppress(OSError):
                    waiting += map(int, (task / "children").read_text("ascii").split())
        found.append(parent)
    return found[1:]


def _shortened(path: str) -> str:
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in path)
    return shown if len(shown) <= 200 else f"{shown[:90]}...{shown[-100:]}"
