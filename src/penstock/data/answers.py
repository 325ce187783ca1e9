"""What a store answered, in words for a FailureReason: the object, the operation, the answer, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from obstore.exceptions import PreconditionError

from penstock.data.listing import Refused, Unanswered
from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_STATUS = re.compile(r"status code: (\d{3})")
_UNANSWERED = re.compile(r"HTTP error: (.*)")

#: Refusals of a request that came to harm on its way, or that met a multipart upload in an odd state: the same
#: request, made anew, is right.
_DAMAGED = frozenset(
    {
        "BadDigest",
        "BadListing",  # ours, for a listing that contradicts itself
        "IncompleteBody",
        "InvalidDigest",
        "InvalidPart",
        "InvalidPartOrder",
        "MalformedXML",
        "NoSuchUpload",
        "RequestTimeout",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)


class StoreUnreachable(ClientFailure):
    """No answer from the store at all for as long as it was asked: the same holds for other objects."""


class Unaddressable(ClientFailure):
    """No object can have such a key; that says nothing of others."""


class StoreFailing(InternalFailure):
    """Nothing but errors of the store's own for as long as it was asked: the same holds for other objects."""


class StoreFull(InternalFailure):
    """The store has no room for this object; smaller ones may fit."""


class NoSuchBucket(ClientFailure):
    """The store has no bucket of that name."""


class Damaged(InternalFailure):
    """What came, or what arrived at the store, is not what was sent; another attempt may do better."""


@dataclass(frozen=True)
class Asked:
    """What the store was asked."""

    operation: str
    """By its name in S3's API."""
    uri: S3Uri
    access: S3Access
    encrypted: bool
    """Whether a KMS key was named."""

    def failure(self, error: Exception) -> JobFailure:
        """The error as a failure. Its text holds nothing of the request but what is public."""
        text = str(error).partition("\n\nDebug source")[0]
        if isinstance(error, Refused):
            return self._refusal(error.status, error.code, error.message)
        if isinstance(error, Unanswered):
            return self._unreachable(text)
        if isinstance(error, PreconditionError):
            return ClientFailure(
                f"{self.uri}: it changed while it was being read. Run the job when it is complete."
            )
        if found := _STATUS.search(text):
            return self._refusal(int(found[1]), _first(_CODE, text), _first(_MESSAGE, text))
        if "Received redirect" in text:  # obstore's words, which keep neither status nor code
            return self._refusal(301, "PermanentRedirect", "")
        if found := _UNANSWERED.search(text):
            return self._unreachable(found[1])
        if isinstance(error, ValueError) or "invalid path" in text:
            return Unaddressable(
                f"{self.uri}: its key holds a part (empty, '.', '..' or a control character) that can't be "
                "addressed. Rename the object or file.",
            )
        return self.damaged(text)

    def damaged(self, what: str) -> Damaged:
        """The failure for bytes that came to harm."""
        return Damaged(
            f"{self.uri}: {self.operation}: {what}. Check the network and the disks between this machine and "
            f"{self.access.url}, then run the job again."
        )

    def _refusal(self, status: int, code: str, message: str) -> JobFailure:
        uri, endpoint = self.uri, self.access.url
        cause = f"{self.operation}: " + " ".join(filter(None, (code or str(status), message)))
        if code in _DAMAGED:
            return self.damaged(f"the store answered {cause.partition(': ')[2]!r}")
        if code == "NoSuchBucket":
            return NoSuchBucket(
                f"{uri}: the bucket {uri.bucket!r} does not exist. Create it, or correct the S3Uri.",
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
                f"{uri}: the bucket is not served at {endpoint}, region {self.access.region} "
                f"({cause}). Set PENSTOCK_S3_REGION, or region in config.toml, to the bucket's region.",
            )
        if status >= 500 or status == 429:
            hint = (
                "KmsKeyId is set: does the store know the key?"
                if self.encrypted
                else "See the store's own log, then run the job again."
            )
            return StoreFailing(f"{uri}: the store answered with an error ({cause}). {hint}")
        return ClientFailure(f"{uri}: the store refuses the request ({cause}).")

    def _unreachable(self, cause: str) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self.uri}: {self.operation}: no answer from the object store at {self.access.url} "
            f"({cause.strip()}). Check that it runs and can be reached from here, then run the job again.",
        )


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
