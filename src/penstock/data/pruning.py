"""What keeps the node's cache (see `cache`) small and sound: counting, removing, verifying."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import xxhash

#: Contents are summed up in pieces of this size; a change makes all names in `objects` wrong.
CHUNK = 8 << 20
#: What file systems give out space in; a million objects of a few bytes fill gigabytes.
BLOCK = 4096
NO_LIMIT = 1 << 63
ID_DIGITS = 40


@dataclass(frozen=True)
class About:
    """What is known of a tree."""

    uri: str
    objects: int
    bytes: int

    def write(self, tree: Path) -> None:
        """Keep it in the folder of a tree."""
        (tree / "about.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, tree: Path) -> About:
        """What `write` wrote, or as good as nothing."""
        try:
            return cls(**json.loads((tree / "about.json").read_text()))
        except (OSError, ValueError, TypeError):
            return cls("unknown", 0, 0)


@dataclass(frozen=True)
class Kept:
    """A tree of the cache, for people."""

    digest: str
    about: About
    used_at: float
    """Seconds since 1970."""
    in_use: bool


@dataclass(frozen=True)
class Verdict:
    """What `verify` found and removed."""

    objects: int
    """How many were looked at."""
    damaged: tuple[str, ...]
    trees_removed: int
    trees_in_use: int
    """Damaged, but mounted by jobs; nothing else will mount them."""


def listing(folder: Path) -> list[Kept]:
    """All trees, the one used last first."""
    found = []
    for tree in sorted(entries(folder / "trees"), key=_used_at, reverse=True):
        descriptor = lock(tree / "files", fcntl.LOCK_EX)
        if descriptor is not None:
            os.close(descriptor)
        found.append(Kept(tree.name, About.read(tree), _used_at(tree), descriptor is None))
    return found


def prune(folder: Path, limit: int) -> int:
    """Remove what was used least recently and is not in use, until `limit` bytes are left; the bytes that are."""
    with guarded(folder):
        return shrink(folder, limit)


def shrink(folder: Path, limit: int) -> int:
    """As `prune`, for one who has the cache `guarded` already. Counts also what is promised to those who fill."""
    _remove_remains(folder)
    promised = sum(_reserved(one) for one in entries(folder / "incoming"))
    kept = _remove_orphans(folder)
    for tree in sorted(entries(folder / "trees"), key=_used_at):
        if kept + promised <= limit:
            break
        if remove(folder, tree):
            kept = _remove_orphans(folder)
    (folder / "usage").write_text(str(kept + promised))
    return kept + promised


def discard(folder: Path, digests: Iterable[str]) -> set[str]:
    """Remove trees by name, but those that are in use; the names of those that are gone."""
    with guarded(folder):
        gone = {one for one in digests if remove(folder, folder / "trees" / one)}
        promised = sum(_reserved(one) for one in entries(folder / "incoming"))
        (folder / "usage").write_text(str(_remove_orphans(folder) + promised))
    return gone


def contents(folder: Path, digest: str) -> dict[Hashable, int]:
    """The files of a tree, each with the bytes of the disk that it takes. Several trees may share one."""
    return {
        status.st_ino: room_of(status.st_size) for status in _statuses(folder / "trees" / digest / "files")
    }


def verify(folder: Path) -> Verdict:
    """Read every object; remove those that are not what was downloaded, and every tree that has one of them."""
    damaged: dict[int, Path] = {}
    looked_at = 0
    for path in objects(folder):
        with suppress(FileNotFoundError):
            looked_at += 1
            if not _sound(path):
                damaged[path.stat().st_ino] = path
    removed = in_use = 0
    with guarded(folder):
        for path in damaged.values():
            path.unlink(missing_ok=True)
        for tree in entries(folder / "trees"):
            about, inodes = About.read(tree), _inodes(tree / "files")
            if len(inodes) != about.objects or damaged.keys() & set(inodes):
                gone = remove(folder, tree, used=True)
                removed, in_use = removed + gone, in_use + (not gone)
        shrink(folder, NO_LIMIT)
    return Verdict(looked_at, tuple(sorted(path.name for path in damaged.values())), removed, in_use)


def remove(folder: Path, tree: Path, *, used: bool = False) -> bool:
    """Remove a tree, or one whose filling was given up.

    Args:
        folder: The cache's.
        tree: What is to be removed.
        used: Also when it is in use. It is kept for those who do, but nobody finds it any more.

    Returns:
        False if it is in use.
    """
    places = (tree, tree / "files")
    held = [lock(path, fcntl.LOCK_EX) for path in places]
    busy = any(one is None and path.exists() for one, path in zip(held, places, strict=True))
    if used or not busy:
        (folder / "trash").mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            tree.rename(folder / "trash" / f"{tree.name}.{os.getpid()}.{time.monotonic_ns()}")
    for descriptor in held:
        if descriptor is not None:
            os.close(descriptor)
    _empty_trash(folder)
    return not busy


def object_path(folder: Path, name: str) -> Path:
    """Where the object of this name lies."""
    return folder / "objects" / name[:2] / name


def objects(folder: Path) -> Iterator[Path]:
    """All objects of the cache in `folder`."""
    for part in entries(folder / "objects"):
        yield from entries(part)


def size_of(path: Path) -> int:
    """The size that an object's name tells."""
    return int(path.name.split("-")[1])


def room_of(size: int) -> int:
    """Bytes of the disk that an object of `size` bytes takes: whole blocks, and for an empty one its name's."""
    return max(1, -(-size // BLOCK)) * BLOCK


def room(folder: Path) -> int:
    """Bytes of the disk that all objects take."""
    return sum(room_of(size_of(path)) for path in objects(folder))


def new_sum(data: bytes | memoryview = b"") -> xxhash.xxh3_128:
    """A sum, of `data` to begin with. It finds damage and secures nothing, at the speed of memory."""
    return xxhash.xxh3_128(data)


def sum_of(sums: Iterable[bytes]) -> str:
    """The sum of a content by the sums of its chunks."""
    return new_sum(b"".join(sums)).hexdigest()


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Be the only one who counts and removes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_usage(folder: Path) -> int:
    """Bytes that are taken or promised; never fewer than there are."""
    try:
        return int((folder / "usage").read_text())
    except (FileNotFoundError, ValueError):
        return room(folder)


def lock(folder: Path, kind: int) -> int | None:
    """A descriptor that holds `folder`, or None if it isn't there (any more) or is held by another."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def entries(folder: Path) -> list[Path]:
    """What lies in `folder`; nothing, if it isn't there."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sound(path: Path) -> bool:
    sums = []
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != size_of(path):
            return False
        while chunk := file.read(CHUNK):
            sums.append(new_sum(chunk).digest())
    return sum_of(sums) == path.name.split("-")[2]


def _inodes(files: Path) -> list[int]:
    return [status.st_ino for status in _statuses(files)]


def _statuses(files: Path) -> Iterator[os.stat_result]:
    for folder, _, names in os.walk(files):
        for name in names:
            with suppress(FileNotFoundError):
                yield os.stat(f"{folder}/{name}")  # noqa: PTH116 - there may be very many


def _remove_remains(folder: Path) -> None:
    """What the killed have left."""
    _empty_trash(folder)
    for tree in entries(folder / "incoming"):
        remove(folder, tree)


def _empty_trash(folder: Path) -> None:
    for tree in entries(folder / "trash"):
        descriptor = lock(tree / "files", fcntl.LOCK_EX)
        if descriptor is not None or not (tree / "files").exists():
            shutil.rmtree(tree, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _remove_orphans(folder: Path) -> int:
    """Remove objects of which no tree consists; the bytes of all others.

    One that is linked into a tree in just this moment stays whole there, though the next tree can't have it.
    """
    kept = 0
    for path in objects(folder):
        with suppress(FileNotFoundError):
            if path.stat().st_nlink > 1:
                kept += room_of(size_of(path))
            else:
                path.unlink()
    return kept


def _reserved(tree: Path) -> int:
    try:
        return int((tree / "reserved").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _used_at(tree: Path) -> float:
    with suppress(FileNotFoundError):
        return tree.stat().st_mtime
    return 0.0
