"""What a job's requirements change in an environment, and what no longer fits together: sentences for its user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from penstock.environments.model import Asked
from penstock.environments.uv import UvError, uv

#: How uv says that a package lacks what it requires.
_LACKS = re.compile(
    r"The package `([^`]+)` requires `([^`]+)`, but (?:`([^`]+)` is installed|it's not installed)"
)


def replaced(name: str, had: Mapping[str, str], has: Mapping[str, str]) -> list[str]:
    """A sentence for each package that had another version before the requirements file `name` was installed."""
    return [
        f"{name} replaces {package} {had[package]} of the environment by {version}"
        for package, version in has.items()
        if package in had and had[package] != version
    ]


def conflicts(name: str, venv: Path, *, hold: int, cancelled: Asked) -> list[str]:
    """A sentence for each package whose own requirements are not met any more.

    Raises:
        Cancelled: It was cancelled.
    """
    try:
        uv(
            "pip",
            "check",
            "--python",
            venv / "bin/python",
            folder=venv.parent,
            hold=hold,
            cancelled=cancelled,
        )
    except UvError as error:
        return [
            f"with {name}, {package} may not work: it requires {wanted}, and "
            + (f"{found} is installed" if found else "that is not installed")
            for package, wanted, found in _LACKS.findall(str(error))
        ]
    return []
