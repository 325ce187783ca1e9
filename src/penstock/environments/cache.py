"""Environments on disk: found in milliseconds, built once, never half there.

```
<folder>/<digest>/venv         an environment, complete
<folder>/known/<key>.json      what an image's name (or a job's requirements) came to, with the whole record
<folder>/locks/<key>.lock      flocked by the one builder of that key
<folder>/building/<key>/       what that builder works in; renamed when complete
```

A builder that is killed leaves its folder in `building/` and, with its death, its lock: the next one clears up.
uv holds the lock along with its builder, so an orphaned uv is waited for instead of met.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.environments.model import Environment, Progress

#: Part of every key and digest: raise it when environments are built in another way.
FORMAT = "1"


def digest_of(*parts: str) -> str:
    """A short name for content: 20 hexadecimal digits of a SHA-256."""
    return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()[:20]


def cached(
    folder: Path,
    key: str,
    build: Callable[[Path, int], Environment],
    *,
    progress: Progress,
    interpreters: Callable[[], Sequence[str]] | None = None,
) -> Environment:
    """The environment known by `key`, else the one that `build` makes.

    Args:
        folder: Where environments are kept; made when missing.
        key: A file name that stands for all that decides what is built.
        build: Builds into the given empty folder, which holds `venv` afterwards, and returns the record with its
            final prefix. The descriptor is that of the lock, for uv to hold too.
        progress: Told when another builder is waited for.
        interpreters: Paths of the interpreters there are. An environment that deviates from its image is made
            anew when they have changed, since a better one may have come.
    """
    found = _find(folder, key, interpreters)
    if found is not None:
        return found
    for part in ("known", "locks", "building"):
        (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder / "locks" / f"{key}.lock", key, progress) as lock:
        # Somebody else may have built it meanwhile.
        found = _find(folder, key, interpreters)
        if found is not None:
            return found
        _clear_abandoned(folder)
        work = folder / "building" / key
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            environment = build(work, lock)
            # Two keys can come to the same content; the first one's is as good.
            if not environment.prefix.is_dir():
                (work / "environment.json").write_text(environment.to_json(), "utf-8")
                shutil.rmtree(folder / environment.digest, ignore_errors=True)
                work.rename(folder / environment.digest)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        seen = list(interpreters()) if interpreters else []
        _remember(folder / "known" / f"{key}.json", environment, seen)
        return environment


def prefix_of(folder: Path, digest: str) -> Path:
    """Where the environment of that digest lies."""
    return folder / digest / "venv"


def _find(folder: Path, key: str, interpreters: Callable[[], Sequence[str]] | None) -> Environment | None:
    try:
        known = json.loads((folder / "known" / f"{key}.json").read_text("utf-8"))
        environment = Environment.from_json(json.dumps(known["environment"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not (environment.prefix / "pyvenv.cfg").is_file() or not Path(environment.interpreter).exists():
        return None
    if environment.deviations and interpreters is not None and list(interpreters()) != known.get("seen"):
        return None
    return environment


def _remember(path: Path, environment: Environment, seen: list[str]) -> None:
    text = json.dumps({"seen": seen, "environment": json.loads(environment.to_json())})
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


@contextmanager
def _locked(path: Path, key: str, progress: Progress) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"Waiting for another process that builds the environment {key}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _clear_abandoned(folder: Path) -> None:
    """Remove what killed builders left; whose lock is held is at work."""
    for work in (folder / "building").iterdir():
        with suppress(OSError):
            descriptor = os.open(folder / "locks" / f"{work.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work, ignore_errors=True)
            finally:
                os.close(descriptor)
