"""What a script may change of its environment: a thin virtual environment of the job's own over the cached one.

Inside the walls:

| path | what | writable |
|---|---|---|
| `/opt/venv` | the job's own virtual environment: `python` and `pip` are found here, `pip install` writes here | yes |
| `/opt/venv/lib`, `lib64` | of that, what may be large: it lies on disk, the rest in memory | yes |
| `/opt/penstock/env` | the cached environment, whose packages the first one sees | no |
| the interpreter's folder | at the same path as outside, when it is not under /usr | no |

What the job installs comes first on `sys.path`, so an upgrade shadows the cached version; pip leaves the cached one
where it is ("outside environment"). Making the layer starts no process and makes one file on
disk, for it is files that cost.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from penstock.environments.model import Environment
from penstock.runtimes.base import File, Link, Mount

#: Where a job's own layer and the cached environment lie inside the walls.
LAYER = "/opt/venv"
BASE = "/opt/penstock/env"
#: Console scripts that uv and pip write into a relocatable environment find their python beside themselves.
_RELOCATABLE = b'#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/'


@dataclass(frozen=True)
class Layer:
    """How a program sees an environment."""

    mounts: tuple[Mount, ...]
    """In this order."""
    files: tuple[File | Link, ...]
    """Beside them."""
    path_entries: tuple[str, ...]
    """What PATH begins with."""
    variables: Mapping[str, str]
    """Environment variables that belong to it."""


def job_layer(environment: Environment, target: Path) -> Layer:
    """Make a job's own layer over `environment`; what may be large of it lies in the new folder `target`.

    `python`, `python3` and every console script of the cached environment exist in the layer too, so that a tool
    started by name sees what the script has installed.
    """
    packages = f"python{environment.minor}/site-packages"
    site = target / packages
    site.mkdir(parents=True)
    # addsitedir reads the .pth files there as well, which a plain path line would not.
    place = f"{BASE}/lib/{packages}"
    (site / "penstock.pth").write_text(f"import site; site.addsitedir({place!r})\n", "utf-8")
    told = (
        f"home = {Path(environment.interpreter).parent}\n"
        "include-system-site-packages = false\n"
        f"version = {environment.python}\n"
    )
    scripts = environment.prefix / "bin"
    return Layer(
        mounts=(
            *(Mount(Path(folder), folder) for folder in environment.visible),
            Mount(environment.prefix, BASE),
            Mount(target, f"{LAYER}/lib", writable=True),
        ),
        files=(
            File(f"{LAYER}/pyvenv.cfg", told.encode()),
            Link(f"{LAYER}/lib64", "lib"),  # where the interpreters of some systems put what is compiled
            *(
                Link(f"{LAYER}/bin/{name}", environment.interpreter)
                for name in ("python", "python3", f"python{environment.minor}")
            ),
            *_scripts(scripts, scripts.stat().st_mtime_ns),
        ),
        path_entries=(f"{LAYER}/bin", f"{BASE}/bin"),
        variables={"VIRTUAL_ENV": LAYER},
    )


@lru_cache(16)
def _scripts(folder: Path, changed: int) -> Sequence[File]:  # noqa: ARG001 - kept for one state of the folder
    """Copies of the scripts of `folder` that find their python beside themselves."""
    with os.scandir(folder) as entries:
        return [
            File(f"{LAYER}/bin/{script.name}", content, 0o755)
            for script in entries
            if not script.is_symlink() and (content := _relocatable(script.path))
        ]


def _relocatable(script: str) -> bytes:
    """The whole of a script that finds its python beside itself; nothing for any other."""
    with open(script, "rb") as file:  # noqa: PTH123 - many a time
        head = file.read(len(_RELOCATABLE))
        return head + file.read() if head == _RELOCATABLE else b""
