"""One bucket of the store: list, read, write; and its errors in words for a FailureReason.

Reading and writing is obstore's work (its synchronous calls release the interpreter's lock, so that threads run
at once); listing is `listing`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from penstock.data.listing import Entry, Refused, Unanswered, endpoint_of, is_loopback, list_objects
from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

MIB = 1 << 20
#: Objects up to this size are read and written whole, larger ones in parts of this size.
PART = 8 * MIB
#: Seconds for which a store that fails or is silent is asked again: longer than a restart of it takes.
PATIENCE = 120.0

_S3_PARTS = 10_000  # S3's limit for one multipart upload
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")
_UNANSWERED = re.compile(r"HTTP error: (.*)")


class StoreUnreachable(ClientFailure):
    """No answer from the store at all for as long as it was asked: the same holds for other objects."""


class StoreFailing(InternalFailure):
    """Nothing but errors of the store's own for as long as it was asked: the same holds for other objects."""


class Bucket(Protocol):
    """What inputs and outputs ask of a bucket. All methods raise `ClientFailure` or `InternalFailure`.

    Their messages begin with the URI of the thing, tell the cause and what to do, and hold no secret.
    """

    def list(self, prefix: str) -> Iterator[Entry]:
        """All objects whose key begins with the string `prefix`, in any order."""
        ...

    def head(self, key: str) -> Entry:
        """What the store tells of one object."""
        ...

    def read(self, key: str, limit: int) -> memoryview:
        """The whole object, which must not be larger than `limit` bytes."""
        ...

    def read_part(self, entry: Entry, start: int, length: int) -> memoryview:
        """`length` bytes from `start`, of the very object that `entry` tells of and no later one."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Store `data` as one object."""
        ...

    def write_file(self, key: str, file: BinaryIO, size: int) -> None:
        """Store `size` bytes of `file` as one object, a few parts in memory at a time."""
        ...


class Opener(Protocol):
    """How a bucket is opened; tests give their own."""

    def __call__(self, access: S3Access, bucket: str, kms_key: str | None = None) -> Bucket:
        """The bucket; `kms_key` encrypts what is written."""
        ...


@lru_cache(maxsize=32)
def open_bucket(
    access: S3Access,
    bucket: str,
    kms_key: str | None = None,
    patience: float = PATIENCE,
) -> S3Bucket:
    """Open a bucket, without a request. The same arguments give the same bucket with its open connections.

    Args:
        access: How to reach the store; without keys, requests are not signed, as public buckets are read.
        bucket: The bucket's name. It may lie in another store (`S3Access.buckets`).
        kms_key: Ask the store to encrypt what is written with this KMS key (SSE-KMS).
        patience: Seconds for which a store that fails or is silent is asked again.
    """
    return S3Bucket(access.at(bucket), bucket, kms_key, patience)


class S3Bucket:
    """A bucket of an S3 store."""

    def __init__(self, access: S3Access, bucket: str, kms_key: str | None, patience: float) -> None:
        self.access, self.bucket, self.patience = access, bucket, patience
        self.encrypted = kms_key is not None
        with self._explained(""):
            self._store = _open(access, bucket, kms_key, patience)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Bucket.list`."""
        with self._explained(prefix):
            yield from list_objects(self.access, self.bucket, prefix, self.patience)

    def head(self, key: str) -> Entry:
        """See `Bucket.head`."""
        with self._explained(key):
            meta = obstore.head(self._store, _addressable(key))
            return Entry(key, meta["size"], meta["e_tag"])

    def read(self, key: str, limit: int) -> memoryview:
        """See `Bucket.read`."""
        with self._explained(key):
            result = obstore.get(self._store, _addressable(key))
            size = result.meta["size"]
            if size > limit:
                raise ClientFailure(
                    f"{S3Uri(self.bucket, key)}: it has {size} bytes where at most {limit} were expected. "
                    "If it was being written, run the job when it is complete.",
                )
            return _exactly(result.bytes(), size, S3Uri(self.bucket, key))

    def read_part(self, entry: Entry, start: int, length: int) -> memoryview:
        """See `Bucket.read_part`."""
        with self._explained(entry.key):
            result = obstore.get(
                self._store,
                _addressable(entry.key),
                options={"range": (start, start + length), "if_match": entry.etag},
            )
            return _exactly(result.bytes(), length, S3Uri(self.bucket, entry.key))

    def write(self, key: str, data: bytes) -> None:
        """See `Bucket.write`.

        The request is signed over the SHA-256 of the data, so the store itself refuses what arrives changed.
        """
        with self._explained(key):
            obstore.put(self._store, _addressable(key), data, use_multipart=False)

    def write_file(self, key: str, file: BinaryIO, size: int) -> None:
        """See `Bucket.write_file`. The parts are signed as in `write`; the sum of their sizes is asked for."""
        with self._explained(key):
            obstore.put(
                self._store,
                _addressable(key),
                file,
                use_multipart=True,
                chunk_size=max(PART, -(-size // _S3_PARTS)),
                max_concurrency=4,
            )
        stored = self.head(key).size
        if stored != size:
            raise ClientFailure(
                f"{S3Uri(self.bucket, key)}: the store holds {stored} bytes of a file of {size}. "
                "The file changed while it was uploaded, or the store lost a part.",
            )

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn errors of the store into failures; the originals are dropped, for they quote whole requests."""
        try:
            yield
        except (BaseError, FileNotFoundError, ValueError, Refused, Unanswered) as error:
            raise self._failure(S3Uri(self.bucket, key), error) from None

    def _failure(self, uri: S3Uri, error: Exception) -> JobFailure:
        text = str(error).partition("\n\nDebug source")[0]
        if isinstance(error, Refused):
            status, code, message = error.status, error.code, error.message
        elif isinstance(error, Unanswered):
            return self._unreachable(uri, text)
        elif isinstance(error, PreconditionError):
            return ClientFailure(
                f"{uri}: it changed while it was being read. Run the job when it is complete."
            )
        elif found := _STATUS.search(text):
            status, code, message = int(found[1]), _first(_CODE, text), _first(_MESSAGE, text)
        elif "Received redirect" in text:  # obstore's words, which keep neither status nor code
            status, code, message = 301, "PermanentRedirect", ""
        elif found := _UNANSWERED.search(text):
            return self._unreachable(uri, found[1])
        elif isinstance(error, ValueError) or "invalid path" in text:
            return ClientFailure(
                f"{uri}: its key holds a part (empty, '.', '..' or a control character) that can't be addressed. "
                "Rename the object or file.",
            )
        else:
            return InternalFailure(f"{uri}: {text}")
        cause = " ".join(filter(None, (code or str(status), message)))
        if code == "NoSuchBucket":
            return ClientFailure(
                f"{uri}: the bucket {self.bucket!r} does not exist. Create it, or correct the S3Uri.",
            )
        if status == 404:
            return ClientFailure(
                f"{uri}: there is no such object ({cause}). Correct the S3Uri, or upload it."
            )
        if status in {401, 403}:
            return ClientFailure(
                f"{uri}: the store refuses access ({cause}). "
                "Check its keys (PENSTOCK_S3_ACCESS_KEY_ID and the others, or config.toml) and the bucket's policy.",
            )
        if 300 <= status < 400 or code in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
            return ClientFailure(
                f"{uri}: the bucket is not served at {endpoint_of(self.access)}, region {self.access.region} "
                f"({cause}). Set PENSTOCK_S3_REGION, or region in config.toml, to the bucket's region.",
            )
        if status >= 500:
            hint = (
                "KmsKeyId is set: does the store know the key?"
                if self.encrypted
                else "See the store's own log."
            )
            return StoreFailing(f"{uri}: the store answered with an error ({cause}). {hint}")
        return ClientFailure(f"{uri}: the store refuses the request ({cause}).")

    def _unreachable(self, uri: S3Uri, cause: str) -> StoreUnreachable:
        return StoreUnreachable(
            f"{uri}: no answer from the object store at {endpoint_of(self.access)} ({cause.strip()}). "
            "Check that it runs and can be reached from here, then run the job again.",
        )


def _open(access: S3Access, bucket: str, kms_key: str | None, patience: float) -> S3Store:
    endpoint = endpoint_of(access)
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
            **({"server_side_encryption": "aws:kms", "sse_kms_key_id": kms_key} if kms_key else {}),
        },
        client_options=client,
        retry_config={"max_retries": 100, "retry_timeout": timedelta(seconds=patience)},
        # A function, so that the keys are in no configuration that could be printed, and so that a session token
        # in the environment is not taken for one of these keys.
        credential_provider=lambda: credential,
    )


def _addressable(key: str) -> str:
    """The key, if obstore would use it as it is: it takes slashes off both ends without a word."""
    if not key or key.startswith("/") or key.endswith("/"):
        raise ValueError(key)
    return key


def _exactly(data: obstore.Bytes, size: int, uri: S3Uri) -> memoryview:
    if len(data) != size:
        raise InternalFailure(
            f"{uri}: {len(data)} bytes came where {size} were announced. Run the job again."
        )
    return memoryview(data)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
