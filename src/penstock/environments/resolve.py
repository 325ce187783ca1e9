"""Which interpreter and which exact versions stand in for an image.

The framework's version comes first, then the image's Python, then its companions: an exact framework on another
Python beats the image's Python with another framework. Everything is tried with wheels alone, by uv's resolver;
where all is as the image has it, that takes one call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.environments.interpreters import Interpreter, by_nearness
from penstock.environments.model import Asked, Progress, never, normal, version_numbers
from penstock.environments.uv import UvError, only_wheels, uv
from penstock.errors import InternalFailure
from penstock.images.contents import Contents

#: A resolution by the lowest versions allowed gives the nearest above a pin, by the highest the nearest below.
_LOWEST = "lowest-direct"
_HIGHEST = "highest"
_LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Resolution:
    """What is to be installed, and how it differs from the image."""

    interpreter: Interpreter
    lock: str
    deviations: tuple[str, ...]


def resolve(
    wanted: Contents,
    interpreters: Sequence[Interpreter],
    *,
    folder: Path,
    progress: Progress,
    near: bool = True,
    cancelled: Asked = never,
) -> Resolution | None:
    """Find the interpreter and the versions nearest to `wanted`.

    Args:
        wanted: What the image holds.
        interpreters: What there is to choose from.
        folder: Where uv may run.
        progress: Told what is tried.
        near: Whether the framework's nearest version will do where its own can't be had.
        cancelled: Polled while uv runs.

    Returns:
        None when the framework can't be had and another version will not do.

    Raises:
        Cancelled: It was cancelled.
        InternalFailure: Nothing fits, or uv could not look (no network, a wrong index).
    """
    ordered = by_nearness(interpreters, wanted.python)
    if not ordered:
        raise InternalFailure(
            f"No Python interpreter was found on this machine for an image with Python {wanted.python}. "
            f"Install one (for example: uv python install {wanted.python})."
        )
    failures: list[str] = []
    for attempt in (_exact, _near):
        for interpreter in ordered:
            try:
                lock = attempt(wanted, interpreter, folder, cancelled)
            except UvError as error:
                if not error.unsatisfiable:
                    raise InternalFailure(
                        f"uv could not look for the packages of the environment (Python {interpreter.minor}): "
                        f"{error} Check the network and the index settings of pip and uv."
                    ) from error
                failures.append(f"Python {interpreter.minor}: {error}")
                continue
            return Resolution(interpreter, lock, deviations(wanted, interpreter, locked(lock), ordered))
        if not near:
            return None
        if attempt is _exact and wanted.framework:
            names = ", ".join(name + version for name, version in wanted.framework.items())
            progress(
                f"No wheel of {names} for the Python interpreters of this machine; taking the nearest version"
            )
    raise InternalFailure(
        f"No version of {', '.join(wanted.framework) or 'the packages'} can be installed here. {failures[-1]}"
    )


def locked(lock: str) -> dict[str, str]:
    """Name -> version of every pinned line of a lock."""
    return {normal(name): version for name, version in _LOCKED.findall(lock)}


def tools(minor: str) -> dict[str, str]:
    """pip, and what came with every Python before 3.12 and packages of that time expect."""
    if int(minor.split(".")[1]) >= 12:
        return {"pip": ""}
    # pkg_resources, which setuptools dropped with version 81, is imported by e.g. xgboost 1.5.
    return {"pip": "", "setuptools": "<81", "wheel": ""}


def deviations(
    wanted: Contents, interpreter: Interpreter, got: Mapping[str, str], at_hand: Sequence[Interpreter]
) -> tuple[str, ...]:
    """Plain sentences on Python, framework and pinned companions, in this order."""
    said: list[str] = []
    if interpreter.minor != wanted.python:
        has_it = any(one.minor == wanted.python for one in at_hand)
        names = " and ".join(
            f"{name} {version.removeprefix('==')}" for name, version in wanted.framework.items()
        )
        reason = (
            f"{names} has no wheel for it" if has_it else f"no {wanted.python} interpreter on this machine"
        )
        said.append(f"image has Python {wanted.python}, this environment has {interpreter.version}: {reason}")
    for name, specifier in wanted.framework.items():
        if not _meets(specifier, got[name]):
            version = specifier.removeprefix("==")
            said.append(f"{name} {version} has no wheel for Python {interpreter.minor}; {got[name]} is used")
    said += [
        f"{name} {specifier.removeprefix('==')} -> {got[name]}"
        for name, specifier in wanted.packages.items()
        if specifier.startswith("==") and not _meets(specifier, got[name])
    ]
    return tuple(said)


def _exact(wanted: Contents, interpreter: Interpreter, folder: Path, cancelled: Asked) -> str:
    """The framework's own version, and companions as near as they can be."""
    try:
        return _compile({**wanted.framework, **wanted.packages}, wanted, interpreter, folder, cancelled)
    except UvError as error:
        if not error.unsatisfiable or not wanted.packages:
            raise
    # Is it the framework that can't be had, or a companion? The first is answered quickest alone.
    _compile(wanted.framework, wanted, interpreter, folder, cancelled)
    return _with_companions(wanted.framework, wanted, interpreter, folder, cancelled)


def _near(wanted: Contents, interpreter: Interpreter, folder: Path, cancelled: Asked) -> str:
    """The framework's nearest version: the lowest above its own, else the highest below."""
    above = {name: ">=" + _plain(specifier) for name, specifier in wanted.framework.items()}
    try:
        lock = _compile(above, wanted, interpreter, folder, cancelled, _LOWEST)
    except UvError as error:
        if not error.unsatisfiable:
            raise
        below = {name: "<" + _plain(specifier) for name, specifier in wanted.framework.items()}
        lock = _compile(below, wanted, interpreter, folder, cancelled)
    got = locked(lock)
    return _with_companions(
        {name: "==" + got[name] for name in wanted.framework}, wanted, interpreter, folder, cancelled
    )


def _with_companions(
    framework: Mapping[str, str], wanted: Contents, interpreter: Interpreter, folder: Path, cancelled: Asked
) -> str:
    """Companions for a framework's version when not all can be as wanted: nearest above, else below, else any."""
    last: UvError | None = None
    for relax, resolution in ((_above, _LOWEST), (_same_major, _HIGHEST), (_any, _HIGHEST)):
        relaxed = {name: relax(specifier) for name, specifier in wanted.packages.items()}
        try:
            chosen = locked(
                _compile({**framework, **relaxed}, wanted, interpreter, folder, cancelled, resolution)
            )
            pins = {name: "==" + chosen[name] for name in relaxed}
            return _compile({**framework, **pins}, wanted, interpreter, folder, cancelled)
        except UvError as error:
            if not error.unsatisfiable:
                raise
            last = error
    assert last is not None  # every way of the loop that does not return sets it
    raise last


def _compile(
    requirements: Mapping[str, str],
    wanted: Contents,
    interpreter: Interpreter,
    folder: Path,
    cancelled: Asked,
    resolution: str = _HIGHEST,
) -> str:
    # Under lowest-direct pip itself would be ancient; it joins when versions are final.
    added = tools(interpreter.minor) if resolution == _HIGHEST else {}
    return uv(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--no-sources"),
        *("--resolution", resolution, "--python", interpreter.path, *only_wheels(wanted.sources), "-"),
        folder=folder,
        stdin="".join(f"{name}{specifier}\n" for name, specifier in {**added, **requirements}.items()),
        cancelled=cancelled,
    )


def _above(specifier: str) -> str:
    return ">=" + _plain(specifier) if specifier.startswith("==") else specifier.split(",", maxsplit=1)[0]


def _same_major(specifier: str) -> str:
    numbers = version_numbers(_plain(specifier)) if specifier.startswith("==") else ()
    return f"<{numbers[0] + 1}" if numbers else ""


def _any(_specifier: str) -> str:
    return ""


def _plain(specifier: str) -> str:
    """`==1.5.*` -> `1.5`."""
    return specifier.removeprefix("==").removesuffix(".*")


def _meets(specifier: str, version: str) -> bool:
    """Whether `version` is the one a `==` specifier names; a local part (`+cpu`) makes no other version."""
    if specifier.endswith(".*"):
        return version.startswith(specifier.removeprefix("==").removesuffix("*"))
    return version_numbers(_plain(specifier)) == version_numbers(version)
