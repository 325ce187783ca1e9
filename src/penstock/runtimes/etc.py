"""What a program sees of the machine's /etc."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from penstock.runtimes.base import File, Link
from penstock.runtimes.steps import Bind, Folder, Step

# Strings and not paths: this is a large part of what a short job costs.
# ruff: noqa: PTH112, PTH114, PTH115, PTH116, PTH120, PTH123, PTH208

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

#: What tells that a file or folder has changed; None: it is not there.
_State = tuple[int, ...] | None
#: By the folder: the steps, and the state that all they come from had.
_known: dict[str, tuple[tuple[Step, ...], dict[str, _State]]] = {}


def steps(etc: Path) -> tuple[Step, ...]:
    """Folders, files and links that show of the folder `etc` what programs need.

    A runner does run after run, so what was found is kept until something of it has changed.
    """
    folder = os.path.realpath(etc)
    if folder in _known:
        found, states = _known[folder]
        if all(_state(path) == state for path, state in states.items()):
            return found
    states = {}
    found = tuple(_find(folder, states))
    _known[folder] = found, states
    return found


def _state(path: str) -> _State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _find(etc: str, states: dict[str, _State]) -> Iterator[Step]:
    """The steps; `states` gets the state of each path on which they depend, as it was before that was looked at."""
    states[etc] = _state(etc)
    there = os.listdir(etc) if os.path.isdir(etc) else []
    for pattern in _ETC:
        names = sorted(fnmatch.filter(there, pattern)) if set("*[") & set(pattern) else (pattern,)
        for name in names:
            path, inside = f"{etc}/{name}", f"/etc/{name}"
            states[os.path.dirname(path)] = _state(os.path.dirname(path))
            states[path] = _state(path)
            if not os.access(path, os.R_OK):
                continue  # not there, a dangling link, or not for everybody's eyes
            link = os.path.islink(path)
            real = os.path.realpath(path) if link or "/" in name else path
            yield Folder(os.path.dirname(inside))
            if link and real.startswith("/usr/"):
                yield Link(inside, real)  # the time zone's name is read off the link
            else:
                yield from _copies(real, inside, states) or (Bind(real, inside),)


def _copies(path: str, inside: str, states: dict[str, _State]) -> list[Step]:
    """Steps that make a copy of a file, or of a folder with all that is in it; none when it is too large for that."""
    steps: list[Step] = []
    waiting, size = [""], 0
    while waiting:
        below = waiting.pop()
        states[path + below] = _state(path + below)
        found = os.lstat(path + below)
        size += found.st_size
        if len(steps) > _FEW or size > _COPIED or not os.access(path + below, os.R_OK):
            return []
        if stat.S_ISDIR(found.st_mode):
            steps.append(Folder(inside + below))
            waiting += (f"{below}/{name}" for name in sorted(os.listdir(path + below), reverse=True))
        elif stat.S_ISLNK(found.st_mode):
            steps.append(Link(inside + below, os.readlink(path + below)))
        elif stat.S_ISREG(found.st_mode):
            with open(path + below, "rb") as file:
                steps.append(File(inside + below, file.read(), 0o755 if found.st_mode & 0o111 else 0o644))
        else:
            return []
    return steps
