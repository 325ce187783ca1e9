"""Where this process stands in the kernel's control groups, version 1, 2 or both at once. Reads only.

See cgroups(7). The word *group* is the kernel's "control group", a *hierarchy* one tree of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from penstock.small import read_small

#: The controllers that limits are made of.
CONTROLLERS = ("memory", "cpu", "pids")


@dataclass(frozen=True)
class Place:
    """This process's own group in the hierarchy of one controller."""

    folder: Path
    top: Path
    """Where the hierarchy is mounted: the outermost group that can be seen."""
    unified: bool
    """Whether it is version 2's."""

    def upwards(self) -> Iterator[Path]:
        """The group and those around it, from the inside out."""
        yield self.folder
        if self.folder != self.top:
            for folder in self.folder.parents:
                yield folder
                if folder == self.top:
                    return


@cache
def own(process: Path = Path("/proc/self")) -> Mapping[str, Place]:
    """The place of this process by controller; without those whose groups can't be seen from here.

    Read once: nobody moves a server or a runner to another group.

    Args:
        process: The folder of /proc that tells of it; another one only in tests.
    """
    paths = dict(_paths(process / "cgroup"))
    found: dict[str, Place] = {}
    for root, top, kind, options in _mounts(process / "mountinfo"):
        unified = kind == "cgroup2"
        names = [""] if unified else [name for name in CONTROLLERS if name in options]
        for name in names:
            path = PurePosixPath(paths.get(name, "/.."))
            if ".." in path.parts or not path.is_relative_to(root):
                continue
            place = Place(top / path.relative_to(root), top, unified)
            if unified:
                for controller in _words(place.folder / "cgroup.controllers"):
                    found.setdefault(controller, place)
            else:
                found[name] = place
    return {name: found[name] for name in CONTROLLERS if name in found}


def memory_limit(places: Mapping[str, Place]) -> int | None:
    """The bytes that the groups around this process leave to it, or None when they set no limit."""
    if (place := places.get("memory")) is None:
        return None
    name = "memory.max" if place.unified else "memory.limit_in_bytes"
    limits = [
        int(words[0])
        for group in place.upwards()
        if (words := _words(f"{group}/{name}")) != ["max"] and words
    ]
    return min(
        (limit for limit in limits if limit < 1 << 60), default=None
    )  # version 1 has a number for "none"


def cpu_limit(places: Mapping[str, Place]) -> float | None:
    """The processors' worth of time that the groups around this process leave to it, or None."""
    if (place := places.get("cpu")) is None:
        return None
    limits = []
    for group in place.upwards():
        if place.unified:
            words = _words(f"{group}/cpu.max")
        else:
            words = [*_words(f"{group}/cpu.cfs_quota_us"), *_words(f"{group}/cpu.cfs_period_us")]
        if len(words) == 2 and words[0] not in {"max", "-1"}:
            limits.append(int(words[0]) / int(words[1]))
    return min(limits, default=None)


def _paths(file: Path) -> Iterator[tuple[str, str]]:
    """Controller -> this process's path in its hierarchy; version 2's has the name ""."""
    for line in _lines(file):
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            yield name, path


def _mounts(file: Path) -> Iterator[tuple[str, Path, str, list[str]]]:
    """Root within the hierarchy, place, kind and options of each mounted hierarchy."""
    for line in _lines(file):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            _, _, _, root, top = before.split(" ")[:5]
            yield root, Path(top), kind, options.split(",")


def _words(file: str | Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: str | Path) -> list[str]:
    try:
        return read_small(file).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []  # no such controller here, or one whose file is not for us
