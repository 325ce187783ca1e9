"""An environment made again from its lock: the same versions, each package by its hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.environments.build import install, refuse_deviations
from penstock.environments.cache import cached, complete, digest_of, prefix_of
from penstock.environments.interpreters import Interpreter, at_hand, fetch
from penstock.environments.model import Asked, Environment, Progress, here, never
from penstock.environments.resolve import locked
from penstock.environments.settings import fingerprint
from penstock.environments.uses import Uses
from penstock.environments.uv import UvError, only_wheels
from penstock.errors import ClientFailure, InternalFailure, UnknownImage
from penstock.images.contents import contents
from penstock.images.uris import parse, parse_framework
from penstock.job.lock import EnvironmentLock, sha256_of

#: First what uv has cached, by which no index is asked at all; a hash is the same wherever it comes from.
_WAYS: Sequence[Mapping[str, str]] = ({"UV_OFFLINE": "1"}, {})


def prepare_exact(
    lock: EnvironmentLock,
    folder: Path,
    *,
    strict: bool,
    progress: Progress,
    interpreters: Sequence[Interpreter] | None = None,
    cancelled: Asked = never,
    who: str = "",
    uses: Uses | None = None,
) -> Environment:
    """The environment that a lock says, from the cache or built; on the machine of its lock it is the same one.

    Args:
        lock: What it consists of. Only the minor version of its Python must be had: another patch is a deviation.
        folder: Where environments are cached.
        strict: Whether a deviation is an error.
        progress: Told what is done when it takes time.
        interpreters: What to choose from, instead of all that this machine has.
        cancelled: Polled at least every 0.2 s while uv runs and while another builder is waited for.
        who: For whom it is built, told to those who wait for it.
        uses: Takes the environment, so that it is not removed before its user is done.

    Raises:
        Cancelled: It was cancelled.
        ClientFailure: There is no such Python here, or `strict` and the environment deviates.
        InternalFailure: A package can't be fetched, or is not the one that the lock says.
    """
    key = f"lock-{digest_of(sha256_of(lock.text), here(), fingerprint())}"

    def build(work: Path, hold: int, progress: Progress) -> Environment:
        choice = at_hand(folder, cancelled=cancelled) if interpreters is None else interpreters
        interpreter = _interpreter(lock, choice)
        if interpreter is None and interpreters is None:
            interpreter = fetch(lock.minor, folder, progress, cancelled=cancelled)
        if interpreter is None:
            raise ClientFailure(
                f"The lock is of an environment with Python {lock.python}, and this machine has no {lock.minor}. "
                f"Install it (for example: uv python install {lock.minor})."
            )
        digest = digest_of(lock.pins, interpreter.identity, here())
        prefix = prefix_of(folder, digest)
        pins = locked(lock.pins)
        if not complete(prefix):
            progress(f"Installing the {len(pins)} packages of the lock for Python {interpreter.version}")
            _install(lock, work / "venv", interpreter, progress, hold, cancelled)
        return Environment(
            digest=digest,
            prefix=prefix,
            python=interpreter.version,
            interpreter=interpreter.path,
            visible=interpreter.visible,
            packages=dict(sorted(pins.items())),
            deviations=_deviations(lock, interpreter),
            lock=lock.pins,
            name=lock.framework,
            requirements=lock.requirements,
        )

    environment = cached(folder, key, build, progress=progress, cancelled=cancelled, who=who, uses=uses)
    if strict:
        refuse_deviations("the lock", environment.deviations)
    return environment


def _interpreter(lock: EnvironmentLock, choice: Sequence[Interpreter]) -> Interpreter | None:
    """The very version if there is one, else another patch of it."""
    fit = [one for one in choice if one.minor == lock.minor]
    return next((one for one in fit if one.version == lock.python), fit[0] if fit else None)


def _install(
    lock: EnvironmentLock,
    venv: Path,
    interpreter: Interpreter,
    progress: Progress,
    hold: int,
    cancelled: Asked,
) -> None:
    failure: UvError | None = None
    for way in _WAYS:
        try:
            installed = install(
                lock.pins,
                venv,
                interpreter.path,
                options=["--require-hashes", *only_wheels(_sources(lock))],
                progress=progress,
                hold=hold,
                extra=way,
                cancelled=cancelled,
            )
        except UvError as error:
            failure = error
            continue
        # A marker of another platform leaves packages out, which would be another environment.
        missing = sorted(set(locked(lock.pins)) - set(installed))
        if missing:
            raise ClientFailure(
                f"The lock does not fit this platform: {', '.join(missing)} can't be installed."
            )
        return
    raise InternalFailure(
        f"The packages of the lock can't be installed: {failure} Check the network and the index settings of pip "
        "and uv; an index that has replaced a file has not what the lock asks for."
    ) from failure


def _sources(lock: EnvironmentLock) -> Sequence[str]:
    """What the image of the lock has that no wheel was published of."""
    try:
        return contents(parse(parse_framework(lock.framework))).sources
    except UnknownImage:
        return ()


def _deviations(lock: EnvironmentLock, interpreter: Interpreter) -> tuple[str, ...]:
    said = []
    if interpreter.version != lock.python:
        said.append(f"lock is for Python {lock.python}, this environment has {interpreter.version}")
    if lock.platform and lock.platform != here():
        said.append(f"lock was made on {lock.platform}, this is {here()}: wheels may be other ones")
    return tuple(said)
