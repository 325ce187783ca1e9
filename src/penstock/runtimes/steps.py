"""The steps by which a program's file system is made; every runtime carries them out in its own way."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.runtimes.base import File, Link


@dataclass(frozen=True)
class Folder:
    """An empty folder with its parents; one that exists already is left as it is."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True)
class Copy:
    """A copy of the file `source` as it is now, for this program alone, in memory; nothing when it can't be read."""

    source: str
    path: str
    mode: int = 0o644


@dataclass(frozen=True)
class Bind:
    """A folder or file of the machine, with all that is mounted below it. `source` has no symbolic links."""

    source: str
    path: str
    writable: bool = False
    device: bool = False


@dataclass(frozen=True)
class Tmpfs:
    """A folder in memory that everybody may write to, and that holds `size` bytes."""

    path: str
    size: int


@dataclass(frozen=True)
class Overlay:
    """The folder `lower`, writable for this program alone: its changes go to `upper`, which has `files` and `work`."""

    lower: str
    path: str
    upper: str


Step = Folder | Link | File | Copy | Bind | Tmpfs | Overlay
