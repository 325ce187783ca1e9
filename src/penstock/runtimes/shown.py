"""What every program sees of the machine: the system's folders, closed to writing, and what it needs of /etc."""

from __future__ import annotations

import fnmatch
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.runtimes.base import Link
from penstock.runtimes.steps import Bind, Copy, Folder, Overlay, Step, Tmpfs

# Strings and not paths: this is a large part of what a short job costs.
# ruff: noqa: PTH112, PTH114, PTH115, PTH116, PTH120, PTH208

#: Where merged-usr systems have links into /usr and older ones have folders.
_ROOTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

#: The shape of processors and memory, which numerical libraries ask for to choose their number of threads.
_SYS = "sys/devices/system"

#: Names in /etc that programs need and that tell nothing about the machine's people or keys. Of /etc/ssl and
#: /etc/pki only the public halves: their `private` folders would be readable when Penstock runs as root.
#: /etc/ld.so.preload is left out: it may name libraries that do not exist within the walls.
_ETC = (
    "ImageMagick-[0-9]*",
    "OpenCL",
    "R",
    "X11/rgb.txt",
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "ethertypes",
    "fonts",
    "gai.conf",
    "glvnd",
    "host.conf",
    "inputrc",
    "java*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "nvidia",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3*",
    "resolv.conf",
    "rpc",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "vulkan",
)

#: What is no larger is copied, of folders those with no more in them: bubblewrap reads the list of all mounts again at
#: each mount that it makes.
_COPIED, _FEW = 128 << 10, 6

#: What has changed within so many nanoseconds may change once more without showing it: kernels before 6.13 tell times
#: that are milliseconds apart as the same, and some file systems those of a second or two.
_COARSE = 2_000_000_000

#: What tells that a file or folder has changed; None: it is not there.
_State = tuple[int, ...] | None


@dataclass(frozen=True)
class Shown:
    """What was found of a machine."""

    steps: tuple[Step, ...]
    folders: frozenset[str]
    """Those that the steps make."""
    states: Mapping[str, _State]
    """Of all folders and links that the steps depend on, when they were looked at."""


#: By the machine's root folder.
_known: dict[Path, Shown] = {}


def look(machine: Path) -> Shown:
    """Find what is shown of the machine whose root folder is `machine`.

    A runner does run after run, so what was found is kept until something of it has changed, and while nothing has for
    a while.
    """
    shown = _known.get(machine)
    if shown is None or any(_state(path) != state for path, state in shown.states.items()):
        states: dict[str, _State] = {}
        folders: set[str] = set()
        found = (
            *_system(os.path.realpath(machine), states),
            *_etc(os.path.realpath(machine / "etc"), states),
            *_empty_folders(),
        )
        shown = Shown(tuple(each_folder_once(found, folders)), frozenset(folders), states)
        last = max((state[4] for state in states.values() if state), default=0)
        if time.time_ns() - last > _COARSE:
            _known[machine] = shown
        else:
            _known.pop(machine, None)
    return shown


def each_folder_once(steps: Iterable[Step], there: set[str]) -> Iterator[Step]:
    """Leave out the folders that are `there` by an earlier step, and that nothing has been mounted over since."""
    for step in steps:
        if isinstance(step, Folder):
            if step.path in there:
                continue
            there.add(step.path)
        elif isinstance(step, Bind | Tmpfs | Overlay):
            below = f"{step.path.rstrip('/')}/"
            there.difference_update([path for path in there if path.startswith(below)])
        yield step


def _state(path: str) -> _State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _system(machine: str, states: dict[str, _State]) -> Iterator[Step]:
    yield Bind(os.path.realpath(f"{machine}/usr"), "/usr")
    for name in _ROOTS:
        path = f"{machine}/{name}"
        states[path] = _state(path)
        if os.path.islink(path):
            yield Link(f"/{name}", os.readlink(path))
        elif os.path.isdir(path):
            yield Bind(path, f"/{name}")
    shape = f"{machine}/{_SYS}"
    if os.path.isdir(shape):
        yield Folder(f"/{_SYS.rpartition('/')[0]}")
        yield Bind(shape, f"/{_SYS}")


def _empty_folders() -> Iterator[Step]:
    for path in ("/tmp", "/var/tmp"):  # noqa: S108 - the program's own, not the machine's
        yield Folder(path, 0o1777)
    yield Folder("/root", 0o700)
    for path in ("/home", "/media", "/mnt", "/opt", "/run", "/srv"):
        yield Folder(path)
    yield Link("/var/run", "/run")


def _etc(etc: str, states: dict[str, _State]) -> Iterator[Step]:
    """`states` gets the state of each folder and link, as it was before that was looked at."""
    states[etc] = _state(etc)
    there = os.listdir(etc) if os.path.isdir(etc) else []
    for pattern in _ETC:
        names = sorted(fnmatch.filter(there, pattern)) if set("*[") & set(pattern) else (pattern,)
        for name in names:
            path, inside = f"{etc}/{name}", f"/etc/{name}"
            states[os.path.dirname(path)] = _state(os.path.dirname(path))
            link = os.path.islink(path)
            if link:
                states[path] = _state(path)
            if not os.access(path, os.R_OK):
                continue  # not there, a dangling link, or not for everybody's eyes
            real = os.path.realpath(path) if link or "/" in name else path
            yield Folder(os.path.dirname(inside))
            if link and real.startswith("/usr/"):
                yield Link(inside, real)  # the time zone's name is read off the link
            else:
                yield from _copies(real, inside, states) or (Bind(real, inside),)


def _copies(path: str, inside: str, states: dict[str, _State]) -> list[Step]:
    """Steps that make a copy of a file, or of a folder with all that is in it; none when it can't all be had so."""
    try:
        return _copied(path, inside, states)
    except OSError:  # something of it has just gone, or is in a folder that is not for everybody
        return []


def _copied(path: str, inside: str, states: dict[str, _State]) -> list[Step]:
    steps: list[Step] = []
    waiting, size = [""], 0
    while waiting:
        below = waiting.pop()
        found = os.lstat(path + below)
        size += found.st_size
        if len(steps) > _FEW or size > _COPIED or not os.access(path + below, os.R_OK):
            return []
        if stat.S_ISDIR(found.st_mode):
            states[path + below] = _state(path + below)
            steps.append(Folder(inside + below))
            waiting += (f"{below}/{name}" for name in sorted(os.listdir(path + below), reverse=True))
        elif stat.S_ISLNK(found.st_mode):
            steps.append(Link(inside + below, os.readlink(path + below)))
        elif stat.S_ISREG(found.st_mode):
            steps.append(Copy(path + below, inside + below, 0o755 if found.st_mode & 0o111 else 0o644))
        else:
            return []
    return steps
