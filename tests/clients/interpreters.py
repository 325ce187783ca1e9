"""The clients' environments: each has what its lock says, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from penstock.environments.uv import uv

ROOT = Path(__file__).parents[2]
LOCKS = Path(__file__).parent / "locks"
#: Made once and kept.
KEPT = ROOT / ".cache" / "clients"


@cache
def interpreter(client: str) -> Path:
    """The Python of a client's environment, made or brought up to its lock."""
    KEPT.mkdir(parents=True, exist_ok=True)
    python = KEPT / client / "bin" / "python"
    if not python.exists():
        uv("venv", "-p", sys.executable, KEPT / client, folder=ROOT)
    uv("pip", "sync", "--require-hashes", "--python", python, LOCKS / f"{client}.lock", folder=ROOT)
    if client == "penstock":
        uv("pip", "install", "--no-deps", "--offline", "--python", python, _wheel(), folder=ROOT)
    return python


def version(client: str, package: str) -> str:
    """The version of a package that a client's environment has."""
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.check_output([interpreter(client), "-c", ask], text=True).strip()


def _wheel() -> Path:
    """Penstock as users install it, built by the tools of this project's own environment."""
    folder = KEPT / "wheel"
    for old in folder.glob("*.whl"):
        old.unlink()
    build = ("build", "--wheel", "--no-build-isolation", "--offline", "-p", sys.executable, "-o", folder)
    uv(*build, folder=ROOT)
    return next(folder.glob("*.whl"))
