"""The dependencies of a source folder's `pyproject.toml` as requirements: exactly those of its `uv.lock` if it has one.

Nothing of the project is built or run: dependencies that only a build can tell are left out. Settings of uv in the
file are not read; where packages come from is the user's own affair.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from penstock.environments.model import Asked, never, version_numbers
from penstock.environments.uv import UvError, uv
from penstock.errors import ClientFailure

PROJECT = "pyproject.toml"
LOCK = "uv.lock"
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|<|>)\s*([\d.]+?)(\.\*)?")


def dependencies(folder: Path, python: str, *, cancelled: Asked = never) -> str | None:
    """The dependencies of the project in `folder`, in the form of a requirements file.

    Args:
        folder: It holds `pyproject.toml`, and `uv.lock` if the project has one.
        python: The environment's version, `3.11.7`.
        cancelled: Polled while uv runs.

    Returns:
        None when there is no project in the file, or it leaves its dependencies to its build.

    Raises:
        ClientFailure: A file can't be read, or the project is not for this Python.
        Cancelled: It was cancelled.
    """
    project = _project(folder / PROJECT)
    if project is None:
        return None
    wanted = str(project.get("requires-python", ""))
    if not _fits(python, wanted):
        raise ClientFailure(
            f"{PROJECT} requires Python {wanted}, and the environment has {python}. "
            "Choose a framework version whose image has such a Python."
        )
    if not (folder / LOCK).exists():
        return "".join(f"{one}\n" for one in project.get("dependencies", ()))
    try:
        return uv(
            *(
                "export",
                "--quiet",
                "--frozen",
                "--no-dev",
                "--no-emit-project",
                "--no-header",
                "--no-annotate",
            ),
            *("--format", "requirements-txt"),
            folder=folder,
            cancelled=cancelled,
        )
    except UvError as error:
        raise ClientFailure(f"{LOCK} can't be read: {error} Make it anew by `uv lock`.") from error


def _project(path: Path) -> dict[str, Any] | None:
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ClientFailure(f"{PROJECT} can't be read: {error}.") from error
    project = told.get("project")
    if not isinstance(project, dict) or "dependencies" in project.get("dynamic", ()):
        return None
    named = project.get("dependencies", [])
    if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
        raise ClientFailure(f"{PROJECT} can't be read: its dependencies are no list of texts.")
    return project


def _fits(python: str, wanted: str) -> bool:
    """Whether a version is within `>=3.9,<3.13`; what is not understood excludes nothing."""
    has = version_numbers(python)
    for clause in wanted.split(","):
        found = _CLAUSE.fullmatch(clause.strip())
        if found is None:
            continue
        operator, text, any_patch = found[1], found[2], found[3] is not None
        named = tuple(int(part) for part in text.split("."))
        begins = has[: len(named)] == named
        met = {
            ">=": has >= named,
            "<=": has <= named,
            ">": has > named and not begins,
            "<": has < named,
            "==": begins if any_patch else has == version_numbers(text),
            "!=": not begins if any_patch else has != version_numbers(text),
            "~=": has >= named and has[: len(named) - 1] == named[:-1],
        }
        if not met[operator]:
            return False
    return True
