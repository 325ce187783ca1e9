"""What a script may change of its environment: a thin virtual environment of the job's own over the cached one.

Inside the walls:

| path | what | writable |
|---|---|---|
| `/opt/venv` | the job's own virtual environment: `python` and `pip` are found here, `pip install` writes here | yes |
| `/opt/penstock/env` | the cached environment, whose packages the first one sees | no |
| the interpreter's folder | at the same path as outside, when it is not under /usr | no |

What the job installs comes first on `sys.path`, so an upgrade shadows the cached version; pip leaves the cached one
where it is ("outside environment"). Making the layer writes a dozen small files and starts no process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.environments.model import Environment
from penstock.runtimes.base import Mount

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
    path_entries: tuple[str, ...]
    """What PATH begins with."""
    variables: Mapping[str, str]
    """Environment variables that belong to it."""


def job_layer(environment: Environment, target: Path) -> Layer:
    """Make a job's own layer over `environment` in the folder `target`, which is made and must be empty.

    `python`, `python3` and every console script of the cached environment exist in the layer too, so that a tool
    started by name sees what the script has installed.
    """
    packages = f"lib/python{environment.minor}/site-packages"
    site = target / packages
    site.mkdir(parents=True)
    scripts = target / "bin"
    scripts.mkdir()
    (target / "pyvenv.cfg").write_text(
        f"home = {Path(environment.interpreter).parent}\n"
        "include-system-site-packages = false\n"
        f"version = {environment.python}\n",
        "utf-8",
    )
    (scripts / "python").symlink_to(environment.interpreter)
    # Further names of one file each: to make a file is what costs, the more of them have just been removed.
    for name in ("python3", f"python{environment.minor}"):
        os.link(scripts / "python", scripts / name, follow_symlinks=False)
    made: dict[bytes, str] = {}
    with os.scandir(environment.prefix / "bin") as entries:
        for script in entries:
            # Copies, for a hard link would let the job write into the cache.
            if not script.is_symlink() and (content := _relocatable(script.path)):
                own = f"{scripts}/{script.name}"
                if content in made:
                    os.link(made[content], own)
                else:
                    shutil.copy(script.path, own)
                    made[content] = own
    # addsitedir reads the .pth files there as well, which a plain path line would not.
    (site / "penstock.pth").write_text(f"import site; site.addsitedir({f'{BASE}/{packages}'!r})\n", "utf-8")
    return Layer(
        mounts=(
            *(Mount(Path(folder), folder) for folder in environment.visible),
            Mount(environment.prefix, BASE),
            Mount(target, LAYER, writable=True),
        ),
        path_entries=(f"{LAYER}/bin", f"{BASE}/bin"),
        variables={"VIRTUAL_ENV": LAYER},
    )


def _relocatable(script: str) -> bytes:
    """The whole of a script that finds its python beside itself; nothing for any other."""
    with open(script, "rb") as file:  # noqa: PTH123 - many a time
        head = file.read(len(_RELOCATABLE))
        return head + file.read() if head == _RELOCATABLE else b""
