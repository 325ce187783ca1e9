"""From an image URI to an environment: parse, look in the cache, else resolve and install."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from penstock.environments.cache import cached, complete, digest_of, prefix_of
from penstock.environments.interpreters import Interpreter, at_hand, candidates, fetch
from penstock.environments.model import Asked, Environment, Progress, here, never, normal
from penstock.environments.resolve import Resolution, locked, resolve
from penstock.environments.settings import fingerprint
from penstock.environments.uses import Uses
from penstock.environments.uv import UvError, only_wheels, uv
from penstock.errors import ClientFailure, InternalFailure, UnknownImage
from penstock.images.contents import Contents, contents, unknown_version
from penstock.images.uris import Image, framework_text, parse


def prepare(
    image_uri: str,
    folder: Path,
    *,
    strict: bool,
    progress: Progress,
    interpreters: Sequence[Interpreter] | None = None,
    cancelled: Asked = never,
    who: str = "",
    uses: Uses | None = None,
) -> Environment:
    """The environment that stands in for an image: from the cache in milliseconds, else built.

    Args:
        image_uri: Any image URI that `penstock.images.uris.parse` understands.
        folder: Where environments are cached.
        strict: Whether a deviation from the image's Python, framework or pinned packages is an error.
        progress: Told what is done when it takes time.
        interpreters: What to choose from, instead of all that this machine has.
        cancelled: Polled at least every 0.2 s while uv runs and while another builder is waited for.
        who: For whom it is built, told to those who wait for it.
        uses: Takes the environment, so that it is not removed before its user is done.

    Raises:
        Cancelled: `cancelled` said True. Nothing is left of what was begun, and no uv runs.
        ClientFailure: The image names no environment, or `strict` and the environment deviates.
        InternalFailure: The environment can't be built here.
    """
    try:
        image, wanted = _read(image_uri)
    except UnknownImage as error:
        raise ClientFailure(str(error)) from error

    def build(work: Path, hold: int, progress: Progress) -> Environment:
        progress(f"Preparing the environment of {image.framework} {image.version} (Python {wanted.python})")
        choice = interpreters
        if choice is None:
            choice = _interpreters(wanted.python, folder, progress, cancelled)
        unknown = unknown_version(image)
        resolution = resolve(
            wanted, choice, folder=work, progress=progress, near=not unknown, cancelled=cancelled
        )
        if resolution is None:
            raise ClientFailure(
                f"Image {image_uri}: {unknown} Taken at its word, it is not to be had either: no index that is set up "
                f"has wheels of {_named(wanted)} for this machine. Correct the version."
            )
        if strict:
            refuse_deviations(image_uri, resolution.deviations)
        return _install(resolution, wanted, framework_text(image), folder, work, hold, progress, cancelled)

    environment = cached(
        folder,
        _key(image, wanted, interpreters),
        build,
        progress=progress,
        interpreters=(lambda: candidates(folder)) if interpreters is None else None,
        cancelled=cancelled,
        who=who,
        uses=uses,
    )
    if strict:
        refuse_deviations(image_uri, environment.deviations)
    return environment


def install(
    lock_text: str,
    venv: Path,
    interpreter: str,
    *,
    options: Sequence[str],
    progress: Progress,
    hold: int,
    cancelled: Asked,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Make the virtual environment `venv` with exactly what `lock_text` says; returns name -> installed version.

    Bytecode is compiled here, once, because jobs see the environment read-only: without it every import of
    every job would compile anew.

    Raises:
        UvError: A package can't be fetched, built or does not have the hash that the lock says.
        Cancelled: It was cancelled.
    """
    work = venv.parent
    uv(
        "venv",
        "--quiet",
        "--relocatable",
        "--no-project",
        "--clear",
        "--python",
        interpreter,
        venv,
        folder=work,
        hold=hold,
        cancelled=cancelled,
    )
    lock_file = work / "requirements.lock"
    lock_file.write_text(lock_text, "utf-8")
    uv(
        *("pip", "install", "--no-deps", "--compile-bytecode", "--python"),
        venv / "bin/python",
        *options,
        "--requirements",
        lock_file,
        folder=work,
        progress=progress,
        hold=hold,
        extra={"UV_COMPILE_BYTECODE_TIMEOUT": "600", **(extra or {})},
        cancelled=cancelled,
    )
    return installed(venv)


def installed(venv: Path) -> dict[str, str]:
    """Name -> version of the packages in a virtual environment."""
    found = (
        re.fullmatch(r"(.+?)-([^-]+)\.dist-info", one.name)
        for one in venv.glob("lib/python3*/site-packages/*")
    )
    return dict(sorted((normal(match[1]), match[2]) for match in found if match))


def _install(
    resolution: Resolution,
    wanted: Contents,
    name: str,
    folder: Path,
    work: Path,
    hold: int,
    progress: Progress,
    cancelled: Asked,
) -> Environment:
    began = time.monotonic()
    interpreter = resolution.interpreter
    for sentence in resolution.deviations:
        progress(sentence)
    progress(f"Installing {len(locked(resolution.lock))} packages for Python {interpreter.version}")
    digest = digest_of(resolution.lock, interpreter.identity, here())
    prefix = prefix_of(folder, digest)
    packages = installed(prefix)
    if not complete(prefix):
        try:
            packages = install(
                resolution.lock,
                work / "venv",
                interpreter.path,
                options=only_wheels(wanted.sources),
                progress=progress,
                hold=hold,
                cancelled=cancelled,
            )
        except UvError as error:
            raise InternalFailure(f"uv could not install the packages of the environment: {error}") from error
    progress(f"Environment {digest} is ready after {time.monotonic() - began:.1f} s")
    return Environment(
        digest=digest,
        prefix=prefix,
        python=interpreter.version,
        interpreter=interpreter.path,
        visible=interpreter.visible,
        packages=packages,
        deviations=resolution.deviations,
        notes=wanted.notes,
        lock=resolution.lock,
        name=name,
    )


def _interpreters(minor: str, folder: Path, progress: Progress, cancelled: Asked) -> list[Interpreter]:
    """All at hand, with one of `minor` fetched by uv when there is none and it can be."""
    found = at_hand(folder, cancelled=cancelled)
    if any(one.minor == minor for one in found):
        return found
    fetched = fetch(minor, folder, progress, cancelled=cancelled)
    return [*found, fetched] if fetched else found


@lru_cache
def _read(image_uri: str) -> tuple[Image, Contents]:
    """What an image is and holds, of which nothing changes while this program runs: see there for what is raised."""
    image = parse(image_uri)
    return image, contents(image)


def _key(image: Image, wanted: Contents, interpreters: Sequence[Interpreter] | None) -> str:
    """A file name for all that decides what the image comes to; gpu and cpu images, and all accounts, share it."""
    given = [one.identity for one in interpreters or ()]
    recipe = json.dumps([vars(wanted), given, interpreters is None], sort_keys=True)
    name = re.sub(r"[^\w.-]", "-", f"{image.framework}-{image.version}-python{wanted.python}")
    return f"{name}-{digest_of(recipe, fingerprint())[:12]}"


def _named(wanted: Contents) -> str:
    return " and ".join(name + specifier for name, specifier in wanted.framework.items())


def refuse_deviations(image_uri: str, deviations: Sequence[str]) -> None:
    """Fail when there are any, for whoever has asked for strictness.

    Raises:
        ClientFailure: There are deviations.
    """
    if deviations:
        raise ClientFailure(
            f"Strict versions are asked for, and the environment of {image_uri} would differ: {'; '.join(deviations)}. "
            f"Install what is missing, or allow differences by unsetting PENSTOCK_STRICT_VERSIONS."
        )
