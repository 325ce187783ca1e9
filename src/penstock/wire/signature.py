"""Signature version 4: who sent a request, and that nobody changed it; and signing of what is passed on.

Both forms are verified: the header `Authorization`, and the query of a presigned URL. What is signed is taken
as it came over the wire, never decoded and encoded anew: what is verified is what is then parsed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from penstock.wire import faults
from penstock.wire.claims import ALGORITHM, Claim, Scope, joined, pairs_of, read_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Headers = Sequence[tuple[bytes, bytes]]

#: How far the clocks of client and server may be apart, in milliseconds; AWS's own figure.
SKEW = 15 * 60 * 1000

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_EMPTY = hashlib.sha256(b"").hexdigest()
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SignedRequest:
    """A request as it came over the wire."""

    method: str
    path: bytes
    """Still percent-encoded."""
    query: bytes
    """Without the question mark, still percent-encoded."""
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)
    """None: not read yet, which S3's signature allows. It is then up to the reader to hold it against
    `Caller.payload`."""


@dataclass(frozen=True)
class Caller:
    """Who sent a verified request."""

    access_key_id: str
    region: str
    service: str
    payload: str
    """The SHA-256 of the body in hex, or for S3 what stands for it, as `UNSIGNED-PAYLOAD`."""


@dataclass(frozen=True)
class Key:
    """What requests are signed with."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def verify(
    request: SignedRequest,
    secret_of: Callable[[str], str | None],
    now_ms: int,
    *,
    token: str | None = None,
    skew_ms: int = SKEW,
) -> Caller:
    """Find out who signed `request`.

    The host and every header whose name begins with `x-amz-` must be signed: one of them says which operation
    is meant.

    Args:
        request: The request; the body may be missing for S3 only.
        secret_of: The secret of an access key id; None when there is no such key.
        now_ms: The time, in milliseconds since the epoch.
        token: The session token that belongs to the keys. A request may leave it out, but have no other one.
        skew_ms: How far the client's clock may be from that.

    Raises:
        Fault: What `read_claim` raises, UnrecognizedClientException,
            InvalidToken, InvalidSignatureException, RequestTimeTooSkewed or XAmzContentSHA256Mismatch.
    """
    claim = read_claim(request.headers, request.query)
    return compare(request, claim, secret_for(claim, secret_of, now_ms, token=token, skew_ms=skew_ms))


def compare(request: SignedRequest, claim: Claim, secret: str) -> Caller:
    """See that what `request` claims was signed with `secret`: the rest of `verify`, after `secret_for`.

    Raises:
        Fault: InvalidSignatureException or XAmzContentSHA256Mismatch.
    """
    headers = claim.headers
    s3 = claim.scope.service == "s3"
    payload = _s3_payload(claim, headers, request.body) if s3 else _payload(headers, request.body)
    canonical = _canonical(
        request.method,
        request.path if s3 else _normal(request.path),
        claim.query,
        [(name, headers[name]) for name in claim.signed_headers],
        payload,
    )
    expected = _signature(secret, claim.scope, claim.moment, canonical)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise faults.invalid_signature()
    return Caller(claim.scope.access_key_id, claim.scope.region, claim.scope.service, payload)


def secret_for(
    claim: Claim,
    secret_of: Callable[[str], str | None],
    now_ms: int,
    *,
    token: str | None = None,
    skew_ms: int = SKEW,
) -> str:
    """The secret that a claim must have been signed with: all of `verify` that needs no body.

    Arguments and errors are those of `verify`.
    """
    secret = secret_of(claim.scope.access_key_id)
    if secret is None:
        raise faults.unrecognized_client()
    if claim.token and claim.token != token:
        raise faults.invalid_token()
    _check_time(claim, now_ms, skew_ms)
    _check_signed_headers(claim.signed_headers, claim.headers)
    return secret


def sign(
    method: str,
    url: str,
    headers: Headers,
    payload: str,
    key: Key,
    *,
    region: str,
    service: str,
    now_ms: int,
) -> list[tuple[bytes, bytes]]:
    """The headers to send instead of `headers`, with a signature; an old one is replaced.

    Args:
        method: As sent, in capitals.
        url: As sent, with its path and query already percent-encoded.
        headers: What else is sent. The host and all `x-amz-*` get signed, the rest may still be changed.
        payload: SHA-256 of the body in hex; for S3 also `UNSIGNED-PAYLOAD` and the like.
        key: Whose signature it becomes.
        region: Of the service that is called.
        service: Its signing name, as `s3`.
        now_ms: The time, in milliseconds since the epoch.
    """
    parts = urlsplit(url)
    moment = _clock(now_ms)
    own = {"authorization", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
    sent = [(name, value) for name, value in headers if name.decode("latin-1").lower() not in own]
    sent += [(b"host", parts.netloc.rpartition("@")[2].encode()), (b"x-amz-date", moment.encode())]
    if service == "s3":
        sent.append((b"x-amz-content-sha256", payload.encode()))
    if key.token:
        sent.append((b"x-amz-security-token", key.token.encode()))
    signed = sorted(
        (name, value) for name, value in joined(sent).items() if name == "host" or name.startswith("x-amz-")
    )
    path = parts.path.encode() or b"/"
    canonical = _canonical(
        method, path if service == "s3" else _normal(path), pairs_of(parts.query.encode()), signed, payload
    )
    scope = Scope(key.access_key_id, moment[:8], region, service)
    authorization = (
        f"{ALGORITHM} Credential={key.access_key_id}/{_scope_text(scope)}, "
        f"SignedHeaders={';'.join(name for name, _ in signed)}, "
        f"Signature={_signature(key.secret, scope, moment, canonical)}"
    )
    return [*sent, (b"authorization", authorization.encode())]


# -- What is wrong with a claim -----------------------------------------------------------------------------


def _check_time(claim: Claim, now_ms: int, skew_ms: int) -> None:
    try:
        signed_ms = int(datetime.fromisoformat(claim.moment).timestamp()) * 1000
    except ValueError:
        raise faults.incomplete_signature(
            f"Date must be in ISO-8601 'basic format'. Got '{claim.moment}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None
    if signed_ms > now_ms + skew_ms:
        raise faults.clock_skew(
            f"Signature not yet current: {claim.moment} is still later than {_clock(now_ms + skew_ms)} "
            f"({_clock(now_ms)} + {skew_ms // 60000} min.)"
        )
    if claim.lifetime is not None:
        if now_ms > signed_ms + claim.lifetime * 1000:
            raise faults.access_denied("Request has expired.")
    elif signed_ms < now_ms - skew_ms:
        raise faults.clock_skew(
            f"Signature expired: {claim.moment} is now earlier than {_clock(now_ms - skew_ms)} "
            f"({_clock(now_ms)} - {skew_ms // 60000} min.)"
        )


def _check_signed_headers(signed: list[str], headers: Mapping[str, str]) -> None:
    if signed != sorted(set(signed)):
        raise faults.incomplete_signature("SignedHeaders must be sorted and name each header once.")
    for name in signed:
        if name not in headers:
            raise faults.invalid_signature(f"The signed header {name[:64]!r} did not arrive.")
    if "host" not in signed:
        raise faults.wrong_scope("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    for name in headers:
        if name.startswith("x-amz-") and name not in signed:
            raise faults.invalid_signature(f"The header {name[:64]!r} arrived and was not signed.")


def _payload(headers: Mapping[str, str], body: bytes | None) -> str:
    if body is None:
        raise ValueError("Only requests to S3 can be verified without their body.")
    actual = hashlib.sha256(body).hexdigest() if body else _EMPTY
    if headers.get("x-amz-content-sha256", actual) != actual:
        raise faults.invalid_signature("The header 'x-amz-content-sha256' is not the hash of the body.")
    return actual


def _s3_payload(claim: Claim, headers: Mapping[str, str], body: bytes | None) -> str:
    default = None if claim.lifetime is None else UNSIGNED_PAYLOAD
    payload = headers.get("x-amz-content-sha256", default)
    if payload is None:
        raise faults.validation("Missing required header for this request: x-amz-content-sha256")
    if body is not None and _HASH.fullmatch(payload) and payload != hashlib.sha256(body).hexdigest():
        raise faults.payload_mismatch()
    return payload


# -- The arithmetic ----------------------------------------------------------------------------------------


def _normal(path: bytes) -> bytes:
    """A path as all services but S3 have it signed: dots and empty parts taken out, and encoded once more."""
    if path in {b"/", b""}:
        return b"/"
    kept: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del kept[-1:]
        elif part not in {b"", b"."}:
            kept.append(part)
    slash = b"/" if kept and path.endswith(b"/") else b""
    return quote(b"/" + b"/".join(kept) + slash, safe="/~").encode()


def _canonical(
    method: str, path: bytes, query: list[tuple[str, str]], headers: list[tuple[str, str]], payload: str
) -> bytes:
    lines = [
        method,
        path.decode("latin-1"),
        "&".join([f"{name}={value}" for name, value in sorted(query)]),
        *[f"{name}:{value}" for name, value in headers],
        "",
        ";".join([name for name, _ in headers]),
        payload,
    ]
    return "\n".join(lines).encode()


def _signature(secret: str, scope: Scope, moment: str, canonical: bytes) -> str:
    digest = hashlib.sha256(canonical).hexdigest()
    text = f"{ALGORITHM}\n{moment}\n{_scope_text(scope)}\n{digest}"
    key = _signing_key(secret, scope.date, scope.region, scope.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


def _scope_text(scope: Scope) -> str:
    return f"{scope.date}/{scope.region}/{scope.service}/aws4_request"


@lru_cache(maxsize=64)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _clock(ms: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ms // 1000))
