"""Which environments are kept, and removing them: never one that a job uses, nor what a builder puts in its place."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.environments.cache import bytes_of, clear_abandoned, complete, locked
from penstock.environments.model import Cancelled, Environment, never
from penstock.environments.uses import RECORD, lock_folder
from penstock.errors import PenstockError


@dataclass(frozen=True)
class Kept:
    """An environment that is there."""

    environment: Environment
    bytes: int
    """The size of its files. Those of what a requirements file was installed on are counted for both."""
    used_at: float
    """When a job took it last (or it was built): seconds since the epoch."""
    in_use: bool
    """Whether a job, or the builder of another environment, uses it now."""


def listing(folder: Path) -> list[Kept]:
    """All environments in `folder`, the one used last first."""
    return sorted(_kept(folder), key=lambda one: one.used_at, reverse=True)


def find(folder: Path, digest: str) -> Kept:
    """The environment whose digest begins so.

    Raises:
        PenstockError: There is none, or there are several.
    """
    found = [one for one in _kept(folder) if digest and one.environment.digest.startswith(digest)]
    if len(found) != 1:
        several = f"{len(found)} environments begin with {digest!r}: write more of it."
        raise PenstockError(
            several if found else f"There is no environment {digest!r}; `penstock envs ls` lists them."
        )
    return found[0]


def remove(folder: Path, digest: str) -> bool:
    """Remove an environment; False when it is in use, or is not there."""
    place, locks, building = folder / digest, folder / "locks", folder / "building"
    if not place.is_dir():
        return False
    for one in (locks, building):
        one.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(locks / f"digest-{digest}.lock", never):
        hold = lock_folder(place, fcntl.LOCK_EX)
        if hold is None:
            return False
        # At once it is gone as a whole. If this process dies now, the next builder clears what is left.
        gone = Path(tempfile.mkdtemp(prefix=f"removed-{digest}.", dir=building))
        place.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    os.close(hold)
    _forget(folder, digest)
    return True


def prune(
    folder: Path, *, unused_since: float | None = None, most: int | None = None
) -> tuple[list[Kept], int]:
    """Remove environments that nobody uses, the one used longest ago first.

    Args:
        folder: Where they are kept.
        unused_since: Only those that were used before this moment (seconds since the epoch).
        most: Only until no more than so many bytes of files are left, those that several share counted once.

    Returns:
        What was removed, and the bytes of the files that are left.
    """
    kept = listing(folder)
    files = {one.environment.digest: files_of(folder / one.environment.digest) for one in kept}
    shared = Counter(file for own in files.values() for file in own)
    left = sum({file: size for own in files.values() for file, size in own.items()}.values())
    removed = []
    for one in reversed(kept):
        old = unused_since is None or one.used_at < unused_since
        large = most is None or left > most
        if old and large and remove(folder, one.environment.digest):
            own = files[one.environment.digest]
            shared.subtract(own.keys())
            left -= sum(size for file, size in own.items() if shared[file] == 0)
            removed.append(one)
    if (folder / "building").is_dir():
        with locked(folder / "locks/building.lock", never):
            clear_abandoned(folder / "building")
    return removed, left


def _kept(folder: Path) -> Iterator[Kept]:
    for record in folder.glob(f"*/{RECORD}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            text = record.read_text("utf-8")
            environment = Environment.from_json(text)
            # A folder of environments may have been moved: where the record lies is where it is.
            if environment.digest != record.parent.name or not complete(record.parent / "venv"):
                continue
            hold = lock_folder(record.parent, fcntl.LOCK_EX)
            if hold is not None:
                os.close(hold)
            size = json.loads(text).get("bytes") or bytes_of(record.parent)
            yield Kept(environment, int(size), record.stat().st_mtime, hold is None)


def files_of(place: Path) -> dict[Hashable, int]:
    """Device and inode -> size of the files below a folder."""
    found: dict[Hashable, int] = {}
    for parent, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                one = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - many files, and quicker
                found[one.st_dev, one.st_ino] = one.st_size
    return found


def _forget(folder: Path, digest: str) -> None:
    """Drop the names by which a removed environment was known; one that is just being built anew keeps its own."""
    for known in _known(folder, digest):
        with suppress(Cancelled), locked(folder / "locks" / f"{known.stem}.lock", _at_once):
            if not complete(folder / digest / "venv"):
                known.unlink(missing_ok=True)


def _at_once() -> bool:
    """Who would have to wait for a lock leaves."""
    return True


def _known(folder: Path, digest: str) -> Sequence[Path]:
    found = []
    for path in (folder / "known").glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(path.read_text("utf-8"))["environment"]["digest"] == digest:
                found.append(path)
    return found
