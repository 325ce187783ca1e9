"""Inputs: objects of S3 become files below LocalPath, before the program starts."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

from penstock import units
from penstock.data import crew, shelf
from penstock.data.cache import Cache, Tree
from penstock.data.listing import Entry
from penstock.data.meter import Meter
from penstock.data.objects import Objects, Places
from penstock.data.plan import Input, read_input, read_manifest, relative_path
from penstock.data.pruning import new_sum
from penstock.data.storage import MIB, PART, Bucket, Opener, open_bucket
from penstock.data.uri import S3Uri, check_relative, local_folder, make_folder
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

_MANIFEST_LIMIT = 256 * MIB

_CHECK_SECONDS = 0.2
_PROGRESS_SECONDS = 10.0
_WHOLE = MIB  # objects up to this size are read at once
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

    `plan.relative_path` and `Objects.keep_share` say which object becomes which file on which host. Keys that end in
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
    managed = [item for item in map(read_input, inputs) if item is not None]
    wanted = [item for item in managed if not item.piped]
    streamed = [item.local_path for item in managed if item.piped]
    started = time.monotonic()
    with ExitStack() as stack:
        loads = [Load(item, _folder(item, root), meter) for item in wanted]
        for load in loads:
            stack.callback(load.objects.close)
            make_folder(load.folder)
        crew.work((partial(_find, load, opener, access) for load in loads), tick=check, every=_CHECK_SECONDS)
        if cache is not None:
            shelf.obtain(loads, cache, access, f"{index}/{count}", own, streamed, check, progress)
        _lay_out([load for load in loads if load.tree is None], root)
        for load in loads:
            if load.tree is not None:
                load.folder = load.tree.files
                _lay_out([load], load.folder)
        for load in loads:
            if load.item.sharded:
                load.objects.keep_share(index, count)
        if cache is not None:
            shelf.link_known(loads, cache, access)
        totals = [load.objects.total() for load in loads]
        objects, size = (sum(column) for column in zip(*totals, strict=True)) if totals else (0, 0)
        _check_space(size, root, cache)
        meter.expect(objects, size)
        if objects:
            temporary = root / ".incoming"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            try:
                _download(loads, access, temporary, progress, check)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return [
            _arrived(load, number, started, progress) for load, (number, _) in zip(loads, totals, strict=True)
        ]


def _folder(item: Input, root: Path) -> Path:
    try:
        return local_folder(root, item.local_path)
    except ClientFailure as error:
        raise ClientFailure(f"Input {item.name!r}: {error}") from None


@dataclass(slots=True)
class File:
    """An object and the file that it becomes."""

    entry: Entry
    target: str
    sums: dict[int, bytes] = field(default_factory=dict)
    """Start of a part -> its sum, for what the cache keeps."""


@dataclass
class Load:
    """An input on its way."""

    item: Input
    folder: Path
    meter: Meter
    bucket: Bucket | None = None
    source: S3Uri | None = None
    """What keys are relative to: the input's URI, or the prefix of its manifest."""
    objects: Objects = field(default_factory=Objects)
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


def find(item: Input, opener: Opener, access: S3Access) -> tuple[Bucket, str, Objects]:
    """What an input consists of: its objects with their bucket, and that one's name. Raises as `fetch` does."""
    load = Load(item, Path(), Meter())
    try:
        _find(load, opener, access)
    except BaseException:
        load.objects.close()
        raise
    assert load.bucket is not None  # set by _find
    return load.bucket, load.bucket_name, load.objects


def _find(load: Load, opener: Opener, access: S3Access) -> None:
    """Ask the store what the input consists of."""
    uri = load.item.uri
    try:
        load.bucket = opener(access, uri.bucket)
        if load.item.manifest:
            prefix, entries = read_manifest(bytes(load.bucket.read(uri.key, _MANIFEST_LIMIT)), uri)
            load.bucket, load.source = opener(access, prefix.bucket), prefix
            head, add = load.bucket.head, load.objects.add
            crew.work(partial(lambda key: add([head(key)]), prefix.key + entry) for entry in entries)
        else:
            load.source = uri
            load.objects.add(load.bucket.list(uri.key))
    except JobFailure as error:
        raise load.failure(error) from None
    if not load.objects.total()[0]:
        raise load.failure(
            ClientFailure(f"{uri}: no object's key begins so. Correct the S3Uri, or upload the data."),
        )


def _lay_out(loads: Sequence[Load], root: Path) -> None:
    """Find a place for each object, and make all folders."""
    with closing(Places()) as places:
        for load in loads:
            try:
                load.objects.remove(list(_place(load, places, root)))
                places.check()
            except JobFailure as error:
                raise load.failure(error) from None
        for folder in places.folders:
            make_folder(root / folder)


def _place(load: Load, places: Places, root: Path) -> Iterator[str]:
    """Claim the places of all objects; yields the keys of those that are mere folders."""
    base = "" if load.folder == root else f"{load.folder.relative_to(root)}/"
    for entry in load.objects:
        uri = S3Uri(load.bucket_name, entry.key)
        relative = load.relative(entry)
        path = relative.removesuffix("/")
        try:
            if path:
                check_relative(load.folder, path)
        except ClientFailure as error:
            raise ClientFailure(f"{uri}: {error}") from None
        if path and path == relative:
            places.add_file(base + path, uri)
        else:
            places.add_folder((base + path).removesuffix("/"), uri)
            yield entry.key


def _check_space(needed: int, root: Path, cache: Cache | None) -> None:
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
    access: S3Access,
    temporary: Path,
    progress: Callable[[str], None],
    check: Callable[[], None],
) -> None:
    told = time.monotonic()

    def tick() -> None:
        nonlocal told
        check()
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            progress(f"{loads[0].meter.read()}.")

    crew.work(_tasks(loads, access, temporary), tick=tick, every=_CHECK_SECONDS)


def _tasks(loads: Sequence[Load], access: S3Access, temporary: Path) -> Iterator[crew.Task]:
    numbers = itertools.count()
    for load in loads:
        assert load.bucket is not None  # set by _find
        place = temporary if load.tree is None else load.tree.temporary
        for entry in load.objects:
            file = File(entry, f"{load.folder}/{load.relative(entry)}")
            transfer = _Transfer(load, load.bucket, access, file, place / str(next(numbers)))
            if entry.size <= _WHOLE:
                yield partial(_guarded, load, file, transfer.whole)
                continue
            for start in range(0, entry.size, PART):
                yield partial(_guarded, load, file, partial(transfer.part, start))


def _guarded(load: Load, file: File, task: crew.Task) -> None:
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


class _Transfer:
    """An object on its way. A large one's parts are brought by several threads; the last one names the file."""

    def __init__(self, load: Load, bucket: Bucket, access: S3Access, file: File, temporary: Path) -> None:
        self.load, self.bucket, self.access, self.file = load, bucket, access, file
        self.temporary = temporary
        self.digests = [b""] * -(-file.entry.size // PART)
        self.left = len(self.digests)
        self.has_room = False
        self.lock = threading.Lock()

    def whole(self) -> None:
        """Bring all of it at once."""
        # What is kept under an ETag must be the very object of that ETag.
        etag = None if self.load.tree is None else self.file.entry.etag
        data = self.bucket.read(self.file.entry.key, _WHOLE, etag=etag)
        if self.load.tree is not None and data:
            self.file.sums[0] = new_sum(data).digest()
        descriptor = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            _write_all(descriptor, data, 0)
        finally:
            os.close(descriptor)
        self._complete()
        _count(self.load, len(data), objects=1)

    def part(self, start: int) -> None:
        """Bring the part that begins at byte `start`."""
        descriptor = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._make_room(descriptor)
            size = self._store(descriptor, start)
            with self.lock:
                self.left -= 1
                last = self.left == 0
            if last:
                self._prove(descriptor)
                self._complete()
        finally:
            os.close(descriptor)
        _count(self.load, size, objects=int(last))

    def _make_room(self, descriptor: int) -> None:
        """Have the file's blocks once and for all: to find them part by part takes a twelfth of the time."""
        with self.lock:
            if not self.has_room:
                os.posix_fallocate(descriptor, 0, self.file.entry.size)
                self.has_room = True

    def _complete(self) -> None:
        self.temporary.rename(self.file.target)
        shelf.keep(self.load, self.file, self.access)

    def _store(self, descriptor: int, start: int) -> int:
        size = min(PART, self.file.entry.size - start)
        wanted: dict[str, Sum] = {}
        if not self.bucket.sealed:
            wanted["proof"] = hashlib.md5(usedforsecurity=False)
        if self.load.tree is not None:
            wanted["cache"] = new_sum()
        part = _Part(descriptor, start, wanted)
        self.bucket.copy_part(self.file.entry, start, size, part)
        if "proof" in wanted:
            self.digests[start // PART] = part.sums["proof"].digest()
        if "cache" in wanted:
            self.file.sums[start] = part.sums["cache"].digest()
        return size

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


class Sum(Protocol):
    """As much of `hashlib`'s and `xxhash`'s sums as is needed."""

    def update(self, data: memoryview, /) -> None:
        """Add to it."""
        ...

    def digest(self) -> bytes:
        """Of all that was added."""
        ...

    def copy(self) -> Self:
        """One to go on with from here."""
        ...


class _Part:
    """Where a part goes: written to its place and summed up as it comes."""

    def __init__(self, descriptor: int, start: int, sums: Mapping[str, Sum]) -> None:
        """`sums`: fresh ones, by what they are for."""
        self.descriptor, self.start, self.at = descriptor, start, start
        self.fresh, self.sums = sums, dict(sums)

    def restart(self) -> None:
        """See `storage.Sink`."""
        self.at, self.sums = self.start, {name: one.copy() for name, one in self.fresh.items()}

    def take(self, data: memoryview) -> None:
        """See `storage.Sink`."""
        for one in self.sums.values():
            one.update(data)
        self.at = _write_all(self.descriptor, data, self.at)


def _write_all(descriptor: int, data: memoryview, offset: int) -> int:
    """Returns where the next bytes go."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
    return offset


_counting = threading.Lock()


def _count(load: Load, size: int, objects: int) -> None:
    load.meter.add(size, objects)
    with _counting:
        load.done += size
        load.done_at = time.monotonic()


def _arrived(load: Load, brought: int, started: float, progress: Callable[[str], None]) -> Fetched:
    seconds = max(0.0, load.done_at - started)
    item = load.item
    objects, size = brought + load.at_hand, load.done + load.at_hand_bytes
    cached = f", {load.at_hand} of them from the cache" if load.at_hand else ""
    progress(
        f"Input {item.name!r}: {item.uri} -> {item.local_path}, {objects} "
        f"{'object' if objects == 1 else 'objects'}{cached}, {units.size(size)}, {seconds:.2f} s.",
    )
    mount = str(load.tree.files) if load.tree is not None else None
    return Fetched(item.name, str(item.uri), objects, size, seconds, item.local_path, mount)
