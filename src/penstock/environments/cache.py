"""Environments on disk: found in milliseconds, built once, never half there.

```
<folder>/<digest>/venv            an environment, complete; never removed or replaced while it is
<folder>/known/<key>.json         what an image's name (or a job's requirements) came to, with the whole record
<folder>/locks/<key>.lock         flocked by the one builder of that key; tells who it is and what it does
<folder>/locks/digest-<..>.lock   flocked while an environment of that digest is put in its place
<folder>/building/<key>.<random>/ what one builder works in, and flocks; renamed when complete
```

A builder that is killed leaves its folder in `building/` and, with its death, the lock of its key: the next one
starts at once, in a folder of its own. The uv of a killed builder may live on for a while. It holds the lock of
the killed one's folder, in which it writes, and nothing else; builders clear away folders that nobody holds.

Whoever uses an environment holds a shared lock on `<folder>/<digest>` (`uses.py`); `inventory.py` removes what nobody
holds, by moving it into `building/` first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from penstock.environments.model import Asked, Environment, Progress, leave_if, never
from penstock.environments.uses import RECORD, Uses, lock_folder
from penstock.environments.uv import POLL
from penstock.small import read_small

#: Part of every key and digest: raise it when environments are built in another way.
FORMAT = "1"
#: Seconds between attempts at taking an environment that another holds.
_MOMENT = 0.005


def digest_of(*parts: str) -> str:
    """A short name for content: 20 hexadecimal digits of a SHA-256."""
    return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()[:20]


def cached(
    folder: Path,
    key: str,
    build: Callable[[Path, int, Progress], Environment],
    *,
    progress: Progress,
    interpreters: Callable[[], Sequence[str]] | None = None,
    cancelled: Asked = never,
    who: str = "",
    uses: Uses | None = None,
) -> Environment:
    """The environment known by `key`, else the one that `build` makes.

    Args:
        folder: Where environments are kept; made when missing.
        key: A file name that stands for all that decides what is built.
        build: Builds into the given empty folder, which holds `venv` afterwards, and returns the record with its
            final prefix. The descriptor holds the folder's lock, for what writes to the folder to hold too. What
            it tells is also told to those who wait.
        progress: Told when another builder is waited for: who that is and what it does.
        interpreters: Paths of the interpreters there are. An environment that deviates from its image is made
            anew when they have changed, since a better one may have come.
        cancelled: Polled while another builder is waited for.
        who: For whom it is built, told to those who wait.
        uses: Takes the environment, so that it is not removed before its user is done.

    Raises:
        Cancelled: It was cancelled, here or in `build`; what was begun has been removed.
    """
    while True:
        found = _find(folder, key, interpreters)
        if found is None:
            found = _built(folder, key, build, progress, interpreters, cancelled, who)
        if uses is None or uses.take(found):
            return found
        # It is just being removed, or looked at by who would.
        leave_if(cancelled)
        time.sleep(_MOMENT)


def _built(
    folder: Path,
    key: str,
    build: Callable[[Path, int, Progress], Environment],
    progress: Progress,
    interpreters: Callable[[], Sequence[str]] | None,
    cancelled: Asked,
    who: str,
) -> Environment:
    for part in ("known", "locks", "building"):
        (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
    locks = folder / "locks"
    with locked(locks / f"{key}.lock", cancelled, _Onlooker(key, progress)) as lock:
        # Somebody else may have built it meanwhile.
        found = _find(folder, key, interpreters)
        if found is not None:
            return found

        def tell(step: str) -> None:
            _write(lock, f"{who}\n{step}")
            progress(step)

        _write(lock, who)
        with _working(folder, key, cancelled) as (work, hold):
            environment = build(work, hold, tell)
            with locked(locks / f"digest-{environment.digest}.lock", cancelled):
                _publish(work, environment)
        seen = list(interpreters()) if interpreters else []
        _remember(folder / "known" / f"{key}.json", environment, seen)
        _write(lock, "")
        return environment


class _Onlooker:
    """Tells for whom one waits and what that one does, each thing once."""

    def __init__(self, key: str, progress: Progress) -> None:
        self._key = key
        self._progress = progress
        self._told: tuple[str, str] | None = None

    def __call__(self, lock: int) -> None:
        who, _, step = os.pread(lock, 4096, 0).decode("utf-8", "replace").partition("\n")
        who = who or "another process"
        if self._told is None or self._told[0] != who:
            self._progress(f"Waiting for {who}, which builds the environment {self._key}")
        if step and self._told != (who, step):
            self._progress(f"{who}: {step}")
        self._told = (who, step)


def _write(lock: int, text: str) -> None:
    """Replace what a lock's file tells. A reader may find half of it, which is mended at its next look."""
    data = text.encode()
    os.pwrite(lock, data, 0)
    os.truncate(lock, len(data))


def prefix_of(folder: Path, digest: str) -> Path:
    """Where the environment of that digest lies."""
    return folder / digest / "venv"


def complete(prefix: Path) -> bool:
    """Whether an environment is there; since they come by renaming, one that is there is whole."""
    return (prefix / "pyvenv.cfg").is_file()


def _find(folder: Path, key: str, interpreters: Callable[[], Sequence[str]] | None) -> Environment | None:
    try:
        environment, seen = _read(read_small(f"{folder}/known/{key}.json"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not complete(environment.prefix) or not Path(environment.interpreter).exists():
        return None
    if environment.deviations and interpreters is not None and list(interpreters()) != seen:
        return None
    return environment


@lru_cache(maxsize=8)
def _read(text: bytes) -> tuple[Environment, Sequence[str] | None]:
    """A record, and the interpreters that there were."""
    known = json.loads(text)
    return Environment.from_json(json.dumps(known["environment"])), known.get("seen")


def _remember(path: Path, environment: Environment, seen: list[str]) -> None:
    text = json.dumps({"seen": seen, "environment": json.loads(environment.to_json())})
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


@contextmanager
def _working(folder: Path, key: str, cancelled: Asked) -> Iterator[tuple[Path, int]]:
    """A new folder to build in and the descriptor that locks it; what is left of it in the end is removed."""
    building = folder / "building"
    # Nobody clears a folder between its making and its locking.
    with locked(folder / "locks" / "building.lock", cancelled):
        clear_abandoned(building)
        work = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=building))
        hold = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(hold, fcntl.LOCK_EX)
    try:
        yield work, hold
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(hold)


def _publish(work: Path, environment: Environment) -> None:
    """Put what was built in its place, unless it is there: two keys can come to the same content.

    The first one's is as good and may be in use by a job, so it stays as it is.
    """
    if complete(environment.prefix):
        return
    said = {**json.loads(environment.to_json()), "bytes": bytes_of(work)}
    (work / RECORD).write_text(json.dumps(said, indent=1), "utf-8")
    place = environment.prefix.parent
    shutil.rmtree(place, ignore_errors=True)
    work.rename(place)


def bytes_of(folder: Path) -> int:
    """The size of all files below a folder. Environments share many of them by hard links."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - many files, and quicker
    return total


@contextmanager
def locked(path: Path, cancelled: Asked, waiting: Callable[[int], None] | None = None) -> Iterator[int]:
    """Hold the lock at `path`; `waiting` is called with its descriptor again and again while another holds it.

    It is not inherited by what is started meanwhile, so it ends with this process at the latest.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _lock(descriptor):
            if waiting:
                waiting(descriptor)
            leave_if(cancelled)
            time.sleep(POLL)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clear_abandoned(building: Path) -> None:
    """Remove what killed builders left; a folder whose lock is held is still written to."""
    for work in building.iterdir():
        descriptor = lock_folder(work, fcntl.LOCK_EX)
        if descriptor is not None:
            shutil.rmtree(work, ignore_errors=True)
            os.close(descriptor)
