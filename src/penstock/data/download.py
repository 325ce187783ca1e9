"""Objects of S3 into files: side by side, in parts where they are large, and proven to be right."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from penstock import disk
from penstock.data import crew, shelf
from penstock.data.load import File, Load
from penstock.data.pruning import new_sum
from penstock.data.storage import MIB, PART, Bucket
from penstock.data.uri import S3Uri
from penstock.errors import InternalFailure, JobFailure
from penstock.job.run import S3Access

CHECK_SECONDS = 0.2
_PROGRESS_SECONDS = 10.0
_WHOLE = MIB  # objects up to this size are read at once
_READINGS = 4  # of an object whose bytes nothing else vouches for


def download(
    loads: Sequence[Load],
    access: S3Access,
    temporary: Path,
    progress: Callable[[str], None],
    check: Callable[[], None],
) -> None:
    """Bring all objects of these inputs; each file appears when it is whole and proven. Raises as `inputs.fetch` does.

    Args:
        loads: The inputs, with a place for each of their objects.
        access: How to reach the store.
        temporary: Where files are until then, but for inputs that the cache takes in.
        progress: Called with a line for the log, on the caller's thread.
        check: Called on the caller's thread several times a second; what it raises ends the work.
    """
    told = time.monotonic()

    def tick() -> None:
        nonlocal told
        check()
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            progress(f"{loads[0].meter.read()}.")

    crew.work(_tasks(loads, access, temporary), tick=tick, every=CHECK_SECONDS)


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
                f"{error.strerror}. {disk.remedy(load.folder)}",
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
        self.load.count(len(data), objects=1)

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
        self.load.count(size, objects=int(last))

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
