"""The conformance suite of object stores: subclass `BucketSuite`, give it a bucket, and pytest does the rest.

It holds a store, together with the code that speaks to it, to what inputs and outputs rely on.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.data.integrity import md5
from penstock.data.listing import Entry
from penstock.data.storage import PART, Bucket
from penstock.errors import ClientFailure

UNUSUAL = (
    "ünï ç",
    "a b",
    "a+b%20c",
    "star*?#&=",
    "..x",
    "-rf",
    "'\"",
    "tilde~",
    "emoji-🐟",
    "x" * 255,
    "<&>",
)


class BucketSuite:
    """What every bucket must do.

    Fixtures that a subclass gives:
        bucket: the bucket under test; it may hold other objects.
        marker: stores an empty object whose key ends in `/`, as consoles do; `Bucket` itself never does.
        missing: a bucket of the same store that does not exist.
    """

    @pytest.fixture
    def prefix(self) -> str:
        """A folder of the test's own."""
        return f"conformance/{uuid.uuid4()}/"

    @pytest.mark.parametrize("name", UNUSUAL)
    def test_an_object_comes_back_as_it_went(self, bucket: Bucket, prefix: str, name: str) -> None:
        """Under names with all that URLs, shells and XML treat in a way of their own."""
        data = name.encode()
        assert bucket.write(prefix + name, data) == hashlib.sha256(data).hexdigest()
        assert bytes(bucket.read(prefix + name, 2000)) == data
        assert [entry.key for entry in bucket.list(prefix)] == [prefix + name]

    def test_an_empty_object_is_an_object(self, bucket: Bucket, prefix: str) -> None:
        """Zero bytes are as good as any."""
        bucket.write(prefix + "zero", b"")
        assert bytes(bucket.read(prefix + "zero", 0)) == b""
        assert [(entry.key, entry.size) for entry in bucket.list(prefix)] == [(prefix + "zero", 0)]

    def test_a_prefix_is_a_string_and_no_folder(self, bucket: Bucket, prefix: str) -> None:
        """Keys are found by how they begin, whatever the order, and each once."""
        for name in ("tr/a", "tr-1", "tr.csv", "tr2/b", "x", "TR"):
            bucket.write(prefix + name, b"1")
        assert sorted(entry.key[len(prefix) :] for entry in bucket.list(f"{prefix}tr")) == [
            "tr-1",
            "tr.csv",
            "tr/a",
            "tr2/b",
        ]
        assert [entry.key for entry in bucket.list(f"{prefix}none")] == []

    def test_a_folder_marker_is_listed_with_its_slash(
        self, bucket: Bucket, prefix: str, marker: Callable[[str], None]
    ) -> None:
        """So that it can become an empty folder."""
        marker(f"{prefix}folder/")
        bucket.write(f"{prefix}folder/a", b"1")
        assert {entry.key for entry in bucket.list(prefix)} == {f"{prefix}folder/", f"{prefix}folder/a"}

    def test_more_objects_than_one_page_holds(self, bucket: Bucket, prefix: str) -> None:
        """A listing has a thousand keys a page."""
        names = {f"{prefix}{number % 3}/{number}" for number in range(1003)}
        for name in names:
            bucket.write(name, b"")
        found = [entry.key for entry in bucket.list(prefix)]
        assert len(found) == len(names)
        assert set(found) == names

    def test_writing_again_replaces(self, bucket: Bucket, prefix: str) -> None:
        """The last upload wins."""
        bucket.write(prefix + "k", b"first")
        before = bucket.head(prefix + "k")
        bucket.write(prefix + "k", b"second")
        assert bytes(bucket.read(prefix + "k", 9)) == b"second"
        assert bucket.head(prefix + "k").etag != before.etag

    def test_head_and_list_tell_the_same(self, bucket: Bucket, prefix: str) -> None:
        """Size and ETag, which parts are later asked for by."""
        bucket.write(prefix + "k", b"data")
        assert bucket.head(prefix + "k") == next(iter(bucket.list(prefix + "k")))
        assert bucket.head(prefix + "k").size == 4

    @pytest.mark.parametrize("size", [PART + 1, 2 * PART, 2 * PART + 7])
    def test_a_large_file_goes_and_comes_in_parts(
        self, bucket: Bucket, prefix: str, tmp_path: Path, size: int
    ) -> None:
        """And its ETag shows that it is right."""
        data, path = os.urandom(size), tmp_path / "file"
        path.write_bytes(data)
        with path.open("rb") as file:
            assert bucket.write_file(prefix + "large", file, size) == hashlib.sha256(data).hexdigest()
        entry = next(iter(bucket.list(prefix)))
        assert entry.size == size
        pieces = [
            bytes(bucket.read_part(entry, start, min(PART, size - start))) for start in range(0, size, PART)
        ]
        assert b"".join(pieces) == data
        with path.open("rb") as file:
            assert bucket.prove(entry, [md5(piece) for piece in pieces], file.fileno())

    def test_wrong_bytes_are_not_proven(self, bucket: Bucket, prefix: str, tmp_path: Path) -> None:
        """One bit is enough."""
        bucket.write(prefix + "k", b"data")
        (tmp_path / "file").write_bytes(b"dbta")
        with (tmp_path / "file").open("rb") as file:
            assert not bucket.prove(bucket.head(prefix + "k"), [md5(b"dbta")], file.fileno())

    def test_a_part_is_of_the_object_that_was_listed(self, bucket: Bucket, prefix: str) -> None:
        """Parts of two versions are never mixed."""
        bucket.write(prefix + "k", b"1" * 100)
        entry = bucket.head(prefix + "k")
        assert bytes(bucket.read_part(entry, 90, 10)) == b"1" * 10
        bucket.write(prefix + "k", b"2" * 100)
        with pytest.raises(ClientFailure, match="it changed while it was being read"):
            bucket.read_part(entry, 0, 10)

    def test_an_object_larger_than_expected_is_not_taken(self, bucket: Bucket, prefix: str) -> None:
        """It would be in memory as a whole."""
        bucket.write(prefix + "k", b"12345")
        with pytest.raises(ClientFailure, match="has 5 bytes where at most 4"):
            bucket.read(prefix + "k", 4)

    def test_what_is_not_there_is_named(self, bucket: Bucket, prefix: str, missing: Bucket) -> None:
        """Object and bucket, each with its URI."""
        absent = Entry(prefix + "none", 9, '"e"')
        for call in (
            lambda: bucket.read(absent.key, 9),
            lambda: bucket.head(absent.key),
            lambda: bucket.read_part(absent, 0, 9),
        ):
            with pytest.raises(ClientFailure, match=f"s3://.*{prefix}none: there is no such object"):
                call()
        for call_missing in (
            lambda: list(missing.list(prefix)),
            lambda: missing.write(prefix + "k", b""),
            lambda: missing.read(prefix + "k", 9),
        ):
            with pytest.raises(ClientFailure, match=r"the bucket '.*' does not exist"):
                call_missing()

    @pytest.mark.parametrize("key", ["", "/k", "k/"])
    def test_keys_that_can_not_be_addressed_are_refused_and_not_bent(self, bucket: Bucket, key: str) -> None:
        """A key that became another one would be a lost object."""
        with pytest.raises(ClientFailure, match="can't be addressed"):
            bucket.write(key, b"x")

    def test_a_file_that_shrinks_is_not_stored(self, bucket: Bucket, prefix: str, tmp_path: Path) -> None:
        """Nor is what was there before touched."""
        path = tmp_path / "file"
        path.write_bytes(b"x" * PART)
        bucket.write(prefix + "k", b"before")
        with (
            path.open("rb") as file,
            pytest.raises(ClientFailure, match="the file changed while it was uploaded"),
        ):
            bucket.write_file(prefix + "k", file, PART + 1)
        assert bytes(bucket.read(prefix + "k", 9)) == b"before"
