"""The Python interpreters at hand on this machine.

uv can list them too, in a second or more: it runs every candidate, pyenv's shims included, which fail when the
version behind them is not switched on. Looking where interpreters are kept takes a millisecond.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.environments.model import Asked, Progress, leave_if, never
from penstock.environments.uv import UvError, uv

#: Python 3.6 is the oldest that uv can make an environment for; which newer ones there are, the machine says.
_NAME = re.compile(r"python3\.(\d+)")
_OLDEST = 6
_NEWEST = 20
#: How long it is remembered that an interpreter could not be fetched.
_DAY = 86400
#: Asked of an interpreter. Without these modules most packages can't be imported.
_QUESTION = """
import json, sys
import bz2, ctypes, lzma, sqlite3, ssl, zlib
print(json.dumps(["%d.%d.%d" % sys.version_info[:3], sys.base_prefix, sys.implementation.name]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A working CPython."""

    path: str
    """Absolute, links resolved."""
    version: str
    base_prefix: str

    @property
    def minor(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def visible(self) -> tuple[str, ...]:
        """Folders it needs beyond the system's own, at the same path wherever it runs."""
        return () if _within(self.base_prefix, "/usr") else (self.base_prefix,)

    @property
    def identity(self) -> str:
        """Changes when the interpreter is replaced by another build."""
        return f"{self.path} {self.version}"


def candidates(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
    """Paths at which interpreters lie, the system's first, each file once; none has been run.

    Args:
        folder: The cache of environments, for the interpreters that were fetched into it.
        environ: The process's own when None.
    """
    env = os.environ if environ is None else environ
    home = Path(env.get("HOME") or Path.home())
    pyenv = Path(env.get("PYENV_ROOT") or home / ".pyenv")
    managed = Path(
        env.get("UV_PYTHON_INSTALL_DIR")
        or Path(env.get("XDG_DATA_HOME") or home / ".local/share") / "uv/python"
    )
    shims = str(pyenv / "shims")
    path = [one for one in env.get("PATH", "").split(os.pathsep) if one and one.rstrip("/") != shims]
    system = ["/usr/bin", "/usr/local/bin", *path]
    found = [f"{place}/python3.{n}" for place in dict.fromkeys(system) for n in range(_OLDEST, _NEWEST)]
    for kept in (pyenv / "versions", managed, *([_fetched(folder)] if folder else ())):
        found += sorted(str(one) for one in _glob(kept) if _NAME.fullmatch(one.name))
    found.append(getattr(sys, "_base_executable", sys.executable))
    real = (os.path.realpath(one) for one in found if os.access(one, os.X_OK) and Path(one).is_file())
    return list(dict.fromkeys(real))


def at_hand(
    folder: Path | None = None, environ: Mapping[str, str] | None = None, *, cancelled: Asked = never
) -> list[Interpreter]:
    """All interpreters of this machine that work for the current user, one for each minor version.

    Raises:
        Cancelled: It was cancelled; this is looked at between two interpreters.
    """
    first: dict[str, Interpreter] = {}
    for path in candidates(folder, environ):
        leave_if(cancelled)
        interpreter = _ask(path)
        if interpreter is not None and int(interpreter.minor.split(".")[1]) >= _OLDEST:
            first.setdefault(interpreter.minor, interpreter)
    return list(first.values())


def by_nearness(interpreters: Iterable[Interpreter], minor: str) -> list[Interpreter]:
    """The ones of `minor` first, then the nearest; of two as near, the newer."""
    wanted = int(minor.split(".")[1])

    def distance(one: Interpreter) -> tuple[int, int]:
        number = int(one.minor.split(".")[1])
        return abs(number - wanted), -number

    return sorted(interpreters, key=distance)


def fetch(minor: str, folder: Path, progress: Progress, *, cancelled: Asked = never) -> Interpreter | None:
    """Have uv download Python `minor` into `folder`; None when that can't be done here.

    A failure is remembered for a day: without a route to the downloads every try costs seconds.

    Raises:
        Cancelled: It was cancelled, which is not remembered.
    """
    if os.environ.get("UV_OFFLINE", "").lower() in {"1", "true"}:
        return None
    failed = folder / f"unfetchable-{minor}"
    if failed.exists() and time.time() - failed.stat().st_mtime < _DAY:
        return None
    progress(f"Fetching Python {minor}")
    fetched = _fetched(folder)
    limits = {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": "5", "UV_PYTHON_INSTALL_DIR": str(fetched)}
    try:
        uv(
            *("python", "install", "--no-bin", minor),
            folder=folder,
            extra={**limits, "UV_PYTHON_DOWNLOADS": "manual"},
            timeout=180,
            cancelled=cancelled,
        )
    except UvError as error:
        failed.write_text(f"{error}\n", "utf-8")
        progress(f"Python {minor} can't be fetched here; this is not tried again for a day")
        return None
    failed.unlink(missing_ok=True)
    real = (os.path.realpath(one) for one in _glob(fetched) if one.name == f"python{minor}")
    return next((found for path in real if (found := _ask(path)) is not None), None)


def _ask(path: str) -> Interpreter | None:
    """What the interpreter says of itself; None for one that does not run, is incomplete or is no CPython."""
    try:
        answer = subprocess.run(
            [path, "-I", "-S", "-c", _QUESTION],
            env={"PATH": os.environ.get("PATH", ""), "HOME": "/"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=True,
        )
        version, base_prefix, implementation = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    prefix = os.path.realpath(base_prefix)
    if implementation != "cpython" or _within(os.path.realpath(Path.home()), prefix):
        return None  # programs see an interpreter's folder: it must not be one that holds the user's home
    return Interpreter(path, version, prefix)


def _fetched(folder: Path) -> Path:
    return folder / "interpreters"


def _glob(kept: Path) -> list[Path]:
    try:
        return list(kept.glob("*/bin/python3.*"))
    except OSError:
        return []


def _within(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)
