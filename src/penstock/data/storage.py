"""One bucket of the store: list, read, write, and the proof that what arrived is what was sent.

Reading and writing is obstore's work (its synchronous calls release the interpreter's lock, so that threads run
at once); listing is `listing`'s.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from penstock.data.answers import Asked, Damaged, StoreFailing, StoreUnreachable
from penstock.data.integrity import Source, file_proves, md5, proves
from penstock.data.listing import Entry, Refused, Unanswered, is_loopback, list_objects
from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure
from penstock.job.run import S3Access

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ClientConfig, S3Credential

MIB = 1 << 20
#: Objects up to this size are read and written whole, larger ones in parts of this size.
PART = 8 * MIB
_PIECE = MIB  # of a part, in memory at a time
#: Seconds for which a store that fails or is silent is asked again: longer than a restart of it takes.
PATIENCE = 120.0

_S3_PARTS = 10_000  # S3's limit for one multipart upload
#: How often what came damaged is tried.
_ATTEMPTS = 5
#: Seconds between attempts: the first pause here, obstore's shortest, and the longest of both.
_PAUSE, _SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 0.1, 5.0

T = TypeVar("T")


class Sink(Protocol):
    """Takes a part of an object as it comes."""

    def restart(self) -> None:
        """What follows begins at the part's first byte, whatever came before."""
        ...

    def take(self, data: memoryview) -> None:
        """The next bytes."""
        ...


class Bucket(Protocol):
    """What inputs and outputs ask of a bucket. All methods raise `ClientFailure` or `InternalFailure`.

    Their messages begin with the URI of the thing, tell the cause and what to do, and hold no secret.
    """

    @property
    def sealed(self) -> bool:
        """Whether nothing on the way changes bytes unseen: then `prove` asks for no sums."""
        ...

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose key begins with the string `prefix`, in any order."""
        ...

    def head(self, key: str) -> Entry:
        """What the store tells of one object."""
        ...

    def read(self, key: str, limit: int, etag: str | None = None) -> memoryview:
        """The whole object, with `etag` that very version of it; never other bytes than the store holds.

        It must not be larger than `limit` bytes.
        """
        ...

    def read_part(self, entry: Entry, start: int, length: int) -> memoryview:
        """`length` bytes from `start`, of the very object that `entry` tells of and no later one."""
        ...

    def copy_part(self, entry: Entry, start: int, length: int, sink: Sink) -> None:
        """The same bytes into `sink`, piece by piece, so that a part needs no memory of its size."""
        ...

    def prove(self, entry: Entry, digests: Sequence[bytes], descriptor: int | None = None) -> bool:
        """Whether the object that was read by `read_part` is certainly right.

        Args:
            entry: What `read_part` was given.
            digests: The MD5 sums of its pieces of `PART` bytes.
            descriptor: An open file that holds it, if there is one.
        """
        ...

    def write(self, key: str, data: bytes) -> str:
        """Store `data` as one object; the SHA-256 of what is stored, as hex."""
        ...

    def write_file(self, key: str, file: BinaryIO, size: int) -> str:
        """Store `size` bytes of `file` as one object, a few parts in memory at a time; their SHA-256, as hex.

        The object appears only when all has been read and the file has not changed meanwhile.
        """
        ...


class Opener(Protocol):
    """How a bucket is opened; tests give their own."""

    def __call__(self, access: S3Access, bucket: str, kms_key: str | None = None) -> Bucket:
        """The bucket; `kms_key` encrypts what is written."""
        ...


def open_bucket(
    access: S3Access,
    bucket: str,
    kms_key: str | None = None,
    patience: float = PATIENCE,
) -> S3Bucket:
    """Open a bucket, without a request. The same arguments give the same bucket with its open connections.

    Not once its file of certificates is another one: a runner may do many runs.

    Args:
        access: How to reach the store; without keys, requests are not signed, as public buckets are read.
        bucket: The bucket's name. It may lie in another store (`S3Access.buckets`).
        kms_key: Ask the store to encrypt what is written with this KMS key (SSE-KMS).
        patience: Seconds for which a store that fails or is silent is asked again.
    """
    there = access.at(bucket)
    return _opened(there, bucket, kms_key, patience, _version(there.ca_bundle))


@lru_cache(maxsize=32)
def _opened(
    access: S3Access,
    bucket: str,
    kms_key: str | None,
    patience: float,
    certificates: tuple[int, ...],  # noqa: ARG001 - what is kept is kept for these alone
) -> S3Bucket:
    return S3Bucket(access, bucket, kms_key, patience)


def _version(path: str | None) -> tuple[int, ...]:
    """What tells a file from the one that was there before."""
    if path is not None:
        with suppress(OSError):  # told when it is read
            found = os.stat(path)  # noqa: PTH116 - for speed, with each look at a bucket
            return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    return ()


class S3Bucket:
    """A bucket of an S3 store.

    Failing and silent stores are asked again by obstore, with growing, scattered pauses. What obstore takes for an
    answer but is not right (damaged bytes, a refused checksum, an upload that the store has lost) is tried again here.
    """

    def __init__(self, access: S3Access, bucket: str, kms_key: str | None, patience: float) -> None:
        self.access, self.bucket, self.patience = access, bucket, patience
        self.encrypted = kms_key is not None
        # TLS itself refuses what was changed on its way, and to our own store on this machine there is no way.
        self.sealed = access.own or access.url.startswith("https:")
        with self._explained(self._asked("", "Open")):
            self._store = _open(access, bucket, kms_key, patience)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Bucket.list`."""
        with self._explained(self._asked(prefix, "ListObjectsV2")):
            yield from list_objects(self.access, self.bucket, prefix, self.patience)

    def head(self, key: str) -> Entry:
        """See `Bucket.head`."""
        with self._explained(self._asked(key, "HeadObject")):
            meta = obstore.head(self._store, _addressable(key))
            return Entry(key, meta["size"], meta["e_tag"])

    def read(self, key: str, limit: int, etag: str | None = None) -> memoryview:
        """See `Bucket.read`."""
        asked = self._asked(key, "GetObject")
        return self._again(asked, lambda: self._read(asked, limit, etag))

    def read_part(self, entry: Entry, start: int, length: int) -> memoryview:
        """See `Bucket.read_part`."""
        asked = self._asked(entry.key, "GetObject")

        return self._again(
            asked, lambda: _exactly(self._part(asked, entry, start, length).bytes(), length, asked)
        )

    def copy_part(self, entry: Entry, start: int, length: int, sink: Sink) -> None:
        """See `Bucket.copy_part`."""
        asked = self._asked(entry.key, "GetObject")

        def copy() -> None:
            sink.restart()
            came = 0
            for piece in self._part(asked, entry, start, length).stream(min_chunk_size=_PIECE):
                came += len(piece)
                if came > length:
                    break  # before it covers what belongs to another part
                sink.take(memoryview(piece))
            if came != length:
                raise asked.damaged(f"{came} bytes came where {length} were announced")

        self._again(asked, copy)

    def _part(self, asked: Asked, entry: Entry, start: int, length: int) -> GetResult:
        result = obstore.get(
            self._store,
            _addressable(entry.key),
            options={"range": (start, start + length), "if_match": entry.etag},
        )
        if result.meta["size"] != entry.size:
            raise ClientFailure(
                f"{asked.uri}: it has {result.meta['size']} bytes where the listing told of {entry.size}. "
                "If it was being written, run the job when it is complete."
            )
        return result

    def prove(self, entry: Entry, digests: Sequence[bytes], descriptor: int | None = None) -> bool:
        """See `Bucket.prove`."""
        return (
            self.sealed
            or proves(entry.etag, digests)
            or (descriptor is not None and file_proves(entry.etag, descriptor, entry.size))
        )

    def write(self, key: str, data: bytes) -> str:
        """See `Bucket.write`."""
        asked = self._asked(key, "PutObject")

        def write() -> None:
            put = obstore.put(self._store, _addressable(key), data, use_multipart=False)
            if self.sealed or proves(put["e_tag"], [md5(data)]):
                return
            if self._read(asked, max(len(data), PART)) != data:
                raise asked.damaged("the store holds other bytes than were sent")

        self._again(asked, write)
        return hashlib.sha256(data).hexdigest()

    def write_file(self, key: str, file: BinaryIO, size: int) -> str:
        """See `Bucket.write_file`."""
        asked = self._asked(key, "UploadPart")
        part = max(PART, -(-size // _S3_PARTS))

        def write() -> str:
            source = Source(file, size, None if self.sealed else part)
            try:
                put = obstore.put(
                    self._store,
                    _addressable(key),
                    cast("BinaryIO", source),
                    use_multipart=True,
                    chunk_size=part,
                    max_concurrency=4,
                )
            except (BaseError, OSError):
                if source.changed:
                    raise ClientFailure(
                        f"{asked.uri}: the file changed while it was uploaded. Something still writes it."
                    ) from None
                raise
            if not proves(put["e_tag"], source.digests):
                self._compare(asked, source, size, part)
            return source.sha256

        return self._again(asked, write)

    def _compare(self, asked: Asked, source: Source, size: int, part: int) -> None:
        """Look at what the store holds: its size, and where nothing vouches for the way, its bytes too.

        Every request carries the SHA-256 of its body for the store to check, but not all do.
        """
        entry = self.head(asked.uri.key)
        if entry.size != size:
            raise asked.damaged(f"the store holds {entry.size} bytes of a file of {size}")
        if self.sealed or proves(entry.etag, source.digests):
            return
        for number, digest in enumerate(source.digests):
            start = number * part
            if md5(self.read_part(entry, start, min(part, size - start))) != digest:
                raise asked.damaged(f"the store holds other bytes than were sent, from byte {start} on")

    def _read(self, asked: Asked, limit: int, wanted: str | None = None) -> memoryview:
        """The whole object, once its ETag or, where that is no MD5 sum, a second reading has shown it to be right."""
        etag, data = self._get(asked, limit, wanted)
        if self.sealed or proves(etag, [md5(data)]):
            return data
        again, other = self._get(asked, limit, wanted)
        if proves(again, [md5(other)]) or other == data:
            return other
        raise asked.damaged("two readings gave different bytes")

    def _get(self, asked: Asked, limit: int, wanted: str | None) -> tuple[str | None, memoryview]:
        options: GetOptions = {"if_match": wanted} if wanted else {}
        result = obstore.get(self._store, _addressable(asked.uri.key), options=options)
        size = result.meta["size"]
        if size > limit:
            raise ClientFailure(
                f"{asked.uri}: it has {size} bytes where at most {limit} were expected. "
                "If it was being written, run the job when it is complete.",
            )
        return result.meta["e_tag"], _exactly(result.bytes(), size, asked)

    def _asked(self, key: str, operation: str) -> Asked:
        return Asked(operation, S3Uri(self.bucket, key), self.access, self.encrypted)

    def _again(self, asked: Asked, call: Callable[[], T]) -> T:
        """Call until what came is right: what is damaged a few times, a store that is away until its patience is over.

        The latter too, for obstore gives up at once where it can't tell whether a request has arrived.
        """
        deadline, pause = time.monotonic() + self.patience, _PAUSE
        for attempt in itertools.count(1):
            try:
                with self._explained(asked):
                    return call()
            except (Damaged, StoreFailing, StoreUnreachable) as failure:
                last = isinstance(failure, Damaged) and attempt == _ATTEMPTS
                if last or time.monotonic() + pause > deadline:
                    raise
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - scatters clients, hides nothing
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _explained(self, asked: Asked) -> Iterator[None]:
        """Turn errors of the store into failures; the originals are dropped, for they quote whole requests."""
        try:
            yield
        except (BaseError, FileNotFoundError, ValueError, Refused, Unanswered) as error:
            raise asked.failure(error) from None


def _open(access: S3Access, bucket: str, kms_key: str | None, patience: float) -> S3Store:
    endpoint = access.url
    plain = endpoint.startswith("http://")
    client: ClientConfig = {
        "allow_http": plain,
        # Without TLS there is no certificate to check, and not to load the system's saves 6 ms.
        "allow_invalid_certificates": plain,
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=60),
        "timeout": timedelta(minutes=10),
    }
    if is_loopback(endpoint):
        # No proxy stands between this machine and itself. A proxy of our own with an exception is how obstore
        # is made to forget the ones in the environment.
        client |= {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": "127.0.0.0/8,::1,localhost"}
    if access.ca_bundle:
        client["root_certificate"] = Path(access.ca_bundle).read_bytes()
    credential: S3Credential = {
        "access_key_id": access.access_key_id or "",
        "secret_access_key": access.secret_access_key or "",
        "token": access.session_token,
        "expires_at": None,
    }
    return S3Store(
        bucket,
        # All that obstore would else read from AWS_* variables, for the access given here is the whole truth.
        config={
            # In obstore's eyes an endpoint has the bucket's name in it where the host's name has.
            "endpoint": endpoint if access.path_style else access.url_of(bucket),
            "aws_endpoint_url_s3": endpoint if access.path_style else access.url_of(bucket),
            "region": access.region,
            "virtual_hosted_style_request": not access.path_style,
            "skip_signature": access.access_key_id is None,
            # A sum of each body, for the store to check; but on the way to our own there is nothing to check.
            **({"unsigned_payload": True} if access.own else {"checksum_algorithm": "SHA256"}),
            **({"server_side_encryption": "aws:kms", "sse_kms_key_id": kms_key} if kms_key else {}),
        },
        client_options=client,
        retry_config={
            # Time alone decides: its pauses are random, and a hundred of them may be over after half a minute.
            "max_retries": math.ceil(patience / _SHORTEST_PAUSE),
            "retry_timeout": timedelta(seconds=patience),
            "backoff": {
                "init_backoff": timedelta(seconds=_SHORTEST_PAUSE),
                "max_backoff": timedelta(seconds=_LONGEST_PAUSE),
                "base": 2,
            },
        },
        # A function, so that the keys are in no configuration that could be printed, and so that a session token
        # in the environment is not taken for one of these keys.
        credential_provider=lambda: credential,
    )


def _addressable(key: str) -> str:
    """The key, if obstore would use it as it is: it takes slashes off both ends without a word."""
    if not key or key.startswith("/") or key.endswith("/"):
        raise ValueError(key)
    return key


def _exactly(data: obstore.Bytes, size: int, asked: Asked) -> memoryview:
    if len(data) != size:
        raise asked.damaged(f"{len(data)} bytes came where {size} were announced")
    return memoryview(data)
