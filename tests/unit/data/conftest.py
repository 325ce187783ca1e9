"""A bucket in memory, for all tests of this folder."""

import random
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pytest

from penstock.data.listing import Entry
from penstock.errors import ClientFailure, JobFailure
from penstock.job.run import S3Access

ACCESS = S3Access("http://127.0.0.1:1", "us-east-1", "AKID", "the-secret")


class FakeStore:
    """Buckets as dictionaries; `open` is the opener. Lists in an order of chance, as some stores nearly do."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {"b": {}}
        self.kms_keys: set[str | None] = set()
        self.broken: Callable[[str], JobFailure | None] = lambda key: None
        self.writes = 0
        self.gets: list[str] = []
        """The keys that were read, each as often as it was."""

    def open(self, access: S3Access, bucket: str, kms_key: str | None = None) -> "FakeBucket":
        self.kms_keys.add(kms_key)
        return FakeBucket(self, bucket)

    def put(self, *keys: str) -> None:
        self.buckets["b"] |= {key: key.encode() for key in keys}


class FakeBucket:
    def __init__(self, store: FakeStore, name: str) -> None:
        self.store, self.name = store, name

    def list(self, prefix: str) -> Iterator[Entry]:
        found = [key for key in self._objects if key.startswith(prefix)]
        random.Random(0).shuffle(found)
        return (self.head(key) for key in found)

    def head(self, key: str) -> Entry:
        data = self._get(key)
        return Entry(key, len(data), f'"{hash(data)}"')

    def read(self, key: str, limit: int) -> memoryview:
        data = self._get(key)
        self.store.gets.append(key)
        assert len(data) <= limit
        return memoryview(data)

    def read_part(self, entry: Entry, start: int, length: int) -> memoryview:
        if self.head(entry.key) != entry:
            raise ClientFailure(f"s3://{self.name}/{entry.key}: it changed while it was being read.")
        self.store.gets.append(entry.key)
        return memoryview(self._get(entry.key))[start : start + length]

    def write(self, key: str, data: bytes) -> None:
        self.store.writes += 1
        if problem := self.store.broken(key):
            raise problem
        self._objects[key] = bytes(data)

    def write_file(self, key: str, file: BinaryIO, size: int) -> None:
        self.write(key, file.read())
        assert len(self._objects[key]) == size

    @property
    def _objects(self) -> dict[str, bytes]:
        return self.store.buckets[self.name]

    def _get(self, key: str) -> bytes:
        if problem := self.store.broken(key):
            raise problem
        if key not in self._objects:
            raise ClientFailure(f"s3://{self.name}/{key}: there is no such object (NoSuchKey).")
        return self._objects[key]


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def access() -> S3Access:
    return ACCESS
