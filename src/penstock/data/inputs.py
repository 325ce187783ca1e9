"""Inputs: objects of S3 become files below LocalPath, before the program starts."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from penstock import units
from penstock.data import crew, shelf
from penstock.data.cache import Cache, Tree
from penstock.data.integrity import md5
from penstock.data.listing import Entry
from penstock.data.meter import Meter
from penstock.data.plan import Input, Places, read_input, read_manifest, relative_path, shard
from penstock.data.storage import MIB, PART, Bucket, Opener, open_bucket
from penstock.data.uri import S3Uri, local_folder, make_folder, safe_join
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

_MANIFEST_LIMIT = 256 * MIB

_CHECK_SECONDS = 0.2
_PROGRESS_SECONDS = 10.0
_READINGS = 4  # of an object whose bytes nothing else vouches for


@dataclass(frozen=True)
class Fetched:
    """An input that has arrived on this host."""

    name: str
    uri: str
    objects: int | None
    """None: it was not counted, for it is local."""
    bytes: int | None
    seconds: float
    """From the start of the whole fetch to this input's last byte: inputs arrive side by side."""
    local_path: str
    """Where the program is to find it."""
    mount: str | None = None
    """The folder that must be seen there, by programs that share it; None: it lies in `root` already."""
    local: bool = False
    """Whether it is of the machine's own files, a folder or a single file, rather than from the cache."""


def fetch(
    inputs: Sequence[Mapping[str, Any]],
    *,
    index: int,
    count: int,
    root: Path,
    access: S3Access,
    progress: Callable[[str], None],
    meter: Meter | None = None,
    check: Callable[[], None] = lambda: None,
    opener: Opener = open_bucket,
    cache: Cache | None = None,
    own: Sequence[str] = (),
) -> list[Fetched]:
    """Bring all inputs to this host; a file appears whole or not at all, and LocalPaths exist in any case.

    `plan.relative_path` and `plan.shard` say which object becomes which file on which host. Keys that end in
    `/` (folder markers) become empty folders, on every host. AppManaged inputs are left alone, and those of
    S3InputMode Pipe, which are `pipe`'s.

    Args:
        inputs: ProcessingInputs of the CreateProcessingJob request.
        index: This host's number, from 0.
        count: How many hosts the job has.
        root: The folder that the program will see as /opt/ml.
        access: How to reach the store.
        progress: Called with a line for the log, on the caller's thread.
        meter: Is told what will be moved, and what has been.
        check: Called on the caller's thread several times a second; what it raises ends the work.
        opener: How buckets are opened.
        cache: Where inputs of some size are kept for the next job, see `shelf`.
        own: LocalPaths of which all files must lie in `root`, for the caller has use for them.

    Raises:
        ClientFailure: An input can't be had, or asks for what is not supported.
        InternalFailure: This machine can't take it (its disk is full), or the store failed.
    """
    meter = meter or Meter()
    wanted = [item for item in map(read_input, inputs) if item is not None and not item.piped]
    started = time.monotonic()
    loads = [Load(item, _folder(item, root), meter) for item in wanted]
    for load in loads:
        make_folder(load.folder)
    crew.work((partial(_find, load, opener, access) for load in loads), tick=check, every=_CHECK_SECONDS)
    if cache is not None:
        shelf.obtain(loads, cache, access, f"{index}/{count}", own, check)
    _lay_out([load for load in loads if load.tree is None], root)
    for load in loads:
        if load.tree is not None:
            load.folder = load.tree.files
            _lay_out([load], load.folder)
    for load in loads:
        if load.item.sharded:
            mine = set(shard(load.files, index, count))
            load.files = {key: file for key, file in load.files.items() if key in mine}
    if cache is not None:
        shelf.link_known(loads, cache, access)
    _check_space(loads, root, cache)
    meter.expect(*_total(loads))
    if any(load.files for load in loads):
        temporary = root / ".incoming"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            _download(loads, temporary, progress, meter, check)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    shelf.keep(loads, access)
    return [_arrived(load, started, progress) for load in loads]


def _folder(item: Input, root: Path) -> Path:
    try:
        return local_folder(root, item.local_path)
    except ClientFailure as error:
        raise ClientFailure(f"Input {item.name!r}: {error}") from None


@dataclass(slots=True)
class _File:
    """An object and the file that it becomes. There may be very many: a text takes a fifth of a Path's memory."""

    entry: Entry
    target: str
    sums: dict[int, bytes] | None = None
    """Start of a part -> its SHA-256, for what the cache keeps."""

    def keep(self, load: Load, start: int, data: memoryview) -> None:
        """Sum up a part, if the cache is to keep it."""
        if load.tree is not None and data:
            self.sums = self.sums or {}
            self.sums[start] = hashlib.sha256(data).digest()


@dataclass
class Load:
    """An input on its way."""

    item: Input
    folder: Path
    meter: Meter
    bucket: Bucket | None = None
    source: S3Uri | None = None
    """What keys are relative to: the input's URI, or the prefix of its manifest."""
    found: list[Entry] = field(default_factory=list)
    files: dict[str, _File] = field(default_factory=dict)
    done: int = 0
    done_at: float = 0.0
    tree: Tree | None = None
    """Where it lies in the cache, if it does."""
    at_hand: int = 0
    """Objects that the cache had."""
    at_hand_bytes: int = 0

    @property
    def bucket_name(self) -> str:
        """The bucket in which its objects lie."""
        return (self.source or self.item.uri).bucket

    def relative(self, entry: Entry) -> str:
        """The path below LocalPath; a folder's ends in a slash, or is empty."""
        assert self.source is not None  # set by _find
        prefix = self.source.key
        return entry.key[len(prefix) :] if self.item.manifest else relative_path(prefix, entry.key)

    def failure(self, error: JobFailure) -> JobFailure:
        """The error as the job's reason, in AWS's words for this."""
        return type(error)(f"Failed to download data. Input {self.item.name!r}: {error}")


def find(item: Input, opener: Opener, access: S3Access) -> tuple[Bucket, str, list[Entry]]:
    """What an input consists of: its objects with their bucket, and that one's name. Raises as `fetch` does."""
    load = Load(item, Path(), Meter())
    _find(load, opener, access)
    assert load.bucket is not None  # set by _find
    return load.bucket, load.bucket_name, load.found


def _find(load: Load, opener: Opener, access: S3Access) -> None:
    """Ask the store what the input consists of."""
    uri = load.item.uri
    try:
        load.bucket = opener(access, uri.bucket)
        if load.item.manifest:
            prefix, entries = read_manifest(bytes(load.bucket.read(uri.key, _MANIFEST_LIMIT)), uri)
            load.bucket, load.source = opener(access, prefix.bucket), prefix
            head = load.bucket.head
            crew.work(
                (partial(lambda key: load.found.append(head(key)), prefix.key + entry) for entry in entries),
            )
        else:
            load.source = uri
            load.found = list(load.bucket.list(uri.key))
    except JobFailure as error:
        raise load.failure(error) from None
    if not load.found:
        raise load.failure(
            ClientFailure(f"{uri}: no object's key begins so. Correct the S3Uri, or upload the data."),
        )


def _lay_out(loads: Sequence[Load], root: Path) -> None:
    """Give each object its file, and make all folders."""
    places = Places()
    for load in loads:
        try:
            for entry in load.found:
                _place(load, entry, places, root)
        except JobFailure as error:
            raise load.failure(error) from None
        load.found = []
    for folder in places.folders:
        make_folder(root / folder)


def _place(load: Load, entry: Entry, places: Places, root: Path) -> None:
    uri = S3Uri(load.bucket_name, entry.key)
    relative = load.relative(entry)
    folder = relative.endswith("/") or not relative
    relative = relative.removesuffix("/")
    try:
        target = safe_join(load.folder, relative) if relative else load.folder
    except ClientFailure as error:
        raise ClientFailure(f"{uri}: {error}") from None
    path = str(target.relative_to(root))
    if folder:
        places.add_folder(path, uri)
    else:
        places.add_file(path, uri)
        load.files[entry.key] = _File(entry, str(target))


def _total(loads: Sequence[Load]) -> tuple[int, int]:
    """Objects and bytes."""
    sizes = [file.entry.size for load in loads for file in load.files.values()]
    return len(sizes), sum(sizes)


def _check_space(loads: Sequence[Load], root: Path, cache: Cache | None) -> None:
    _, needed = _total(loads)
    if needed > (free := _free(root)) and cache is not None:
        cache.give_back(needed - free)
        free = _free(root)
    if needed > free:
        raise InternalFailure(
            f"Failed to download data. The inputs have {units.size(needed)}, but the disk of {root} has only "
            f"{units.size(free)} left. Free some space, or move PENSTOCK_HOME to a larger disk.",
        )


def _free(root: Path) -> int:
    disk = os.statvfs(root)
    return disk.f_bavail * disk.f_frsize


def _download(
    loads: Sequence[Load],
    temporary: Path,
    progress: Callable[[str], None],
    meter: Meter,
    check: Callable[[], None],
) -> None:
    told = time.monotonic()

    def tick() -> None:
        nonlocal told
        check()
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            progress(f"{meter.read()}.")

    crew.work(_tasks(loads, temporary), tick=tick, every=_CHECK_SECONDS)


def _tasks(loads: Sequence[Load], temporary: Path) -> Iterator[crew.Task]:
    numbers = itertools.count()
    for load in loads:
        assert load.bucket is not None  # set by _find
        place = temporary if load.tree is None else load.tree.temporary
        for file in load.files.values():
            if file.entry.size <= PART:
                whole = partial(_whole, load, load.bucket, file, place / str(next(numbers)))
                yield partial(_guarded, load, file, whole)
                continue
            parts = _Parts(load, load.bucket, file, place / str(next(numbers)))
            for start in range(0, file.entry.size, PART):
                yield partial(_guarded, load, file, partial(parts.bring, start))


def _guarded(load: Load, file: _File, task: crew.Task) -> None:
    try:
        task()
    except JobFailure as error:
        raise load.failure(error) from None
    except OSError as error:
        raise load.failure(
            InternalFailure(
                f"{S3Uri(load.bucket_name, file.entry.key)} can't be written to {file.target}: "
                f"{error.strerror}. Check the disk of this machine and its free space.",
            ),
        ) from None


def _whole(load: Load, bucket: Bucket, file: _File, temporary: Path) -> None:
    # What is kept under an ETag must be the very object of that ETag.
    data = bucket.read(file.entry.key, PART, etag=None if load.tree is None else file.entry.etag)
    file.keep(load, 0, data)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _write(descriptor, data, 0)
    finally:
        os.close(descriptor)
    temporary.rename(file.target)
    _count(load, len(data), objects=1)


class _Parts:
    """A large object whose parts are brought by several threads; the last one gives the file its name."""

    def __init__(self, load: Load, bucket: Bucket, file: _File, temporary: Path) -> None:
        self.load, self.bucket, self.file, self.temporary = load, bucket, file, temporary
        self.digests = [b""] * -(-file.entry.size // PART)
        self.left = len(self.digests)
        self.lock = threading.Lock()

    def bring(self, start: int) -> None:
        """Bring the part that begins at byte `start`."""
        descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            size = self._store(descriptor, start)
            with self.lock:
                self.left -= 1
                last = self.left == 0
            if last:
                self._prove(descriptor)
                self.temporary.rename(self.file.target)
        finally:
            os.close(descriptor)
        _count(self.load, size, objects=int(last))

    def _store(self, descriptor: int, start: int) -> int:
        entry = self.file.entry
        data = self.bucket.read_part(entry, start, min(PART, entry.size - start))
        self.digests[start // PART] = md5(data)
        self.file.keep(self.load, start, data)
        _write(descriptor, data, start)
        return len(data)

    def _prove(self, descriptor: int) -> None:
        """Return when the file is right: its ETag fits, or a second reading of all parts gave the same."""
        for _ in range(_READINGS):
            if self.bucket.prove(self.file.entry, self.digests, descriptor):
                return
            before = list(self.digests)
            for start in range(0, self.file.entry.size, PART):
                self._store(descriptor, start)
            if self.digests == before:
                return
        raise InternalFailure(
            f"{S3Uri(self.load.bucket_name, self.file.entry.key)}: each reading of it gave "
            "other bytes. Check the network and the disks of this machine and of the store, then run the job again."
        )


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


_counting = threading.Lock()


def _count(load: Load, size: int, objects: int) -> None:
    load.meter.add(size, objects)
    with _counting:
        load.done += size
        load.done_at = time.monotonic()


def _arrived(load: Load, started: float, progress: Callable[[str], None]) -> Fetched:
    seconds = max(0.0, load.done_at - started)
    item = load.item
    objects, size = len(load.files) + load.at_hand, load.done + load.at_hand_bytes
    cached = f", {load.at_hand} of them from the cache" if load.at_hand else ""
    progress(
        f"Input {item.name!r}: {item.uri} -> {item.local_path}, {objects} "
        f"{'object' if objects == 1 else 'objects'}{cached}, {units.size(size)}, {seconds:.2f} s.",
    )
    mount = str(load.tree.files) if load.tree is not None else None
    return Fetched(item.name, str(item.uri), objects, size, seconds, item.local_path, mount)
