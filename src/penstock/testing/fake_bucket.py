"""A store of S3 objects in memory, which does what `storage.Bucket` asks for."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from penstock.data.answers import NoSuchBucket
from penstock.data.integrity import FileChangedError, Source, file_proves, md5, proves
from penstock.data.listing import Entry
from penstock.data.storage import PART, Sink
from penstock.errors import ClientFailure, JobFailure
from penstock.job.run import S3Access


class FakeStore:
    """Buckets as dictionaries; `open` is the opener. Lists in an order of chance, as some stores nearly do."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {"b": {}}
        self.kms_keys: set[str | None] = set()
        self.broken: Callable[[str], JobFailure | None] = lambda _: None
        """What an access to the key fails with, if it does."""
        self.writes = 0
        self.gets: list[str] = []
        """The keys that were read, each as often as it was."""
        self.order = random.Random(0)  # noqa: S311 - repeatable is the point
        self.lock = threading.Lock()

    def open(self, access: S3Access, bucket: str, kms_key: str | None = None) -> FakeBucket:
        """See `storage.Opener`."""
        del access
        self.kms_keys.add(kms_key)
        return FakeBucket(self, bucket)

    def put(self, *keys: str) -> None:
        """Objects in the bucket `b`, each with its own key as its content."""
        self.buckets["b"] |= {key: key.encode() for key in keys}


class FakeBucket:
    """One of the store's buckets."""

    def __init__(self, store: FakeStore, name: str) -> None:
        self.store, self.name = store, name

    @property
    def sealed(self) -> bool:
        """See `storage.Bucket.sealed`."""
        return False

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `storage.Bucket.list`."""
        found = [key for key in self._objects if key.startswith(prefix)]
        self.store.order.shuffle(found)
        return (self.head(key) for key in found)

    def head(self, key: str) -> Entry:
        """See `storage.Bucket.head`."""
        data = self._get(key)
        return Entry(key, len(data), f'"{md5(data).hex()}"')

    def read(self, key: str, limit: int, etag: str | None = None) -> memoryview:
        """See `storage.Bucket.read`."""
        data = self._get(key)
        self.store.gets.append(key)
        if etag not in {None, self.head(key).etag}:
            raise ClientFailure(f"s3://{self.name}/{key}: it changed while it was being read.")
        if len(data) > limit:
            raise ClientFailure(f"s3://{self.name}/{key}: it has {len(data)} bytes where at most {limit}.")
        return memoryview(data)

    def read_part(self, entry: Entry, start: int, length: int) -> memoryview:
        """See `storage.Bucket.read_part`."""
        if self.head(entry.key) != entry:
            raise ClientFailure(f"s3://{self.name}/{entry.key}: it changed while it was being read.")
        self.store.gets.append(entry.key)
        return memoryview(self._get(entry.key))[start : start + length]

    def copy_part(self, entry: Entry, start: int, length: int, sink: Sink) -> None:
        """See `storage.Bucket.copy_part`."""
        sink.restart()
        sink.take(self.read_part(entry, start, length))

    def prove(self, entry: Entry, digests: Sequence[bytes], descriptor: int | None = None) -> bool:
        """See `storage.Bucket.prove`."""
        return proves(entry.etag, digests) or (
            descriptor is not None and file_proves(entry.etag, descriptor, entry.size)
        )

    def write(self, key: str, data: bytes) -> str:
        """See `storage.Bucket.write`."""
        with self.store.lock:
            self.store.writes += 1
        if problem := self.store.broken(key):
            raise problem
        if key.startswith("/") or key.endswith("/") or not key:
            raise ClientFailure(f"s3://{self.name}/{key}: its key holds a part that can't be addressed.")
        self._objects[key] = bytes(data)
        return hashlib.sha256(data).hexdigest()

    def write_file(self, key: str, file: BinaryIO, size: int) -> str:
        """See `storage.Bucket.write_file`."""
        source = Source(file, size, PART)
        try:
            pieces = list(iter(lambda: source.read(PART), b""))
        except FileChangedError:
            uri = f"s3://{self.name}/{key}"
            raise ClientFailure(f"{uri}: the file changed while it was uploaded.") from None
        return self.write(key, b"".join(pieces))

    @property
    def _objects(self) -> dict[str, bytes]:
        if self.name not in self.store.buckets:
            raise NoSuchBucket(f"s3://{self.name}/: the bucket {self.name!r} does not exist.")
        return self.store.buckets[self.name]

    def _get(self, key: str) -> bytes:
        if problem := self.store.broken(key):
            raise problem
        if key not in self._objects:
            raise ClientFailure(f"s3://{self.name}/{key}: there is no such object (NoSuchKey).")
        return self._objects[key]
