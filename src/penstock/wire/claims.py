"""What a request says of its signature: the header `Authorization`, or a presigned URL. Nothing is verified here.

The texts of the refusals are AWS's own, which are the same in all of its JSON and query services.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from penstock.wire import faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Headers = Sequence[tuple[bytes, bytes]]

ALGORITHM = "AWS4-HMAC-SHA256"
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_WEEK = 7 * 24 * 60 * 60


@dataclass(frozen=True)
class Scope:
    """What a signature says of itself, before it is verified."""

    access_key_id: str
    date: str
    """`20240131`."""
    region: str
    service: str


@dataclass(frozen=True)
class Claim:
    """A signature as it is claimed, before it is verified."""

    scope: Scope
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name, as they are signed."""
    moment: str
    signed_headers: list[str]
    signature: str
    query: list[tuple[str, str]]
    """What of the query is signed, still percent-encoded."""
    lifetime: int | None
    """Seconds that a presigned URL is good for; None for the header's form."""
    token: str | None = field(default=None, repr=False)
    """The session token."""


def claim(headers: Headers, query: bytes) -> Claim | None:
    """What a request says of its signature; nothing is verified.

    None when it isn't signed, or not in a way that can be read: `verify` tells which.
    """
    try:
        return read_claim(headers, query)
    except faults.Fault:
        return None


def read_claim(raw_headers: Headers, query: bytes) -> Claim:
    """As `claim`.

    Raises:
        Fault: MissingAuthenticationTokenException, IncompleteSignatureException, IncompleteQuerySignature,
            UnsupportedSignature or InvalidSignatureException: why there is no claim that can be read.
    """
    headers = joined(raw_headers)
    pairs = pairs_of(query)
    authorization = headers.get("authorization")
    if authorization is None:
        return _presigned(headers, pairs)
    if pairs and any(name == "X-Amz-Algorithm" for name, _ in pairs):
        raise faults.wrong_scope(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
        )
    algorithm, _, rest = authorization.partition(" ")
    if algorithm == "AWS":
        raise faults.unsupported_signature()
    if not algorithm.startswith("AWS4-"):
        raise faults.missing_token()
    named = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    fields = {
        "X-Amz-Algorithm": algorithm,
        "X-Amz-Credential": named.get("Credential", ""),
        "X-Amz-SignedHeaders": named.get("SignedHeaders", ""),
        "X-Amz-Signature": named.get("Signature", ""),
        "X-Amz-Date": headers.get("x-amz-date", ""),
    }
    if not all(fields.values()):
        lacking = [name for name in ("Credential", "Signature", "SignedHeaders") if not named.get(name)]
        told = [f"Authorization header requires '{name}' parameter." for name in lacking]
        if not fields["X-Amz-Date"]:
            told.append(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
            )
        digest = base64.b64encode(hashlib.sha256(authorization.encode()).digest()).decode()
        raise faults.incomplete_signature(
            f"{' '.join(told)} (Hashed with SHA-256 and encoded with Base64) Authorization={digest}"
        )
    return _read_claim(fields, headers, pairs, None, headers.get("x-amz-security-token"))


def _presigned(headers: Mapping[str, str], pairs: list[tuple[str, str]]) -> Claim:
    fields = {name: unquote(value) for name, value in pairs if name.startswith("X-Amz-")}
    if "X-Amz-Algorithm" not in fields:
        if any(name == "AWSAccessKeyId" for name, _ in pairs):
            raise faults.unsupported_signature()
        raise faults.missing_token()
    wanted = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
    if lacking := [name for name in wanted if not fields.get(name)]:
        told = [f"AWS query-string parameters must include '{name}'." for name in lacking]
        raise faults.incomplete_query(f"{' '.join(told)} Re-examine the query-string parameters.")
    text = fields.get("X-Amz-Expires", "")
    lifetime = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_WEEK)) else 0
    if not 1 <= lifetime <= _WEEK:
        raise faults.incomplete_query(f"X-Amz-Expires must be a number of seconds from 1 to {_WEEK}.")
    signed = [pair for pair in pairs if pair[0] != "X-Amz-Signature"]
    return _read_claim(fields, headers, signed, lifetime, fields.get("X-Amz-Security-Token"))


def _read_claim(
    fields: Mapping[str, str],
    headers: Mapping[str, str],
    query: list[tuple[str, str]],
    lifetime: int | None,
    token: str | None,
) -> Claim:
    """A claim of fields that are all there, if they can be read."""
    if fields["X-Amz-Algorithm"] != ALGORITHM:
        raise faults.incomplete_signature(f"Unsupported AWS 'algorithm': {fields['X-Amz-Algorithm'][:64]!r}.")
    credential, moment = fields["X-Amz-Credential"], fields["X-Amz-Date"]
    parts = credential.split("/")
    if len(parts) != 5 or not all(parts):
        raise faults.incomplete_signature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential[:256]}'"
        )
    if not _DATE.fullmatch(moment):
        raise faults.incomplete_signature(
            f"Date must be in ISO-8601 'basic format'. Got '{moment[:64]}'. "
            "See http://en.wikipedia.org/wiki/ISO_8601"
        )
    scope = Scope(*parts[:4])
    if parts[4] != "aws4_request" or scope.date != moment[:8]:
        raise faults.wrong_scope(_not_of_today(scope.date, parts[4], moment))
    signed = fields["X-Amz-SignedHeaders"].split(";")
    return Claim(scope, headers, moment, signed, fields["X-Amz-Signature"], query, lifetime, token)


def _not_of_today(date: str, terminator: str, moment: str) -> str:
    told = ""
    if terminator != "aws4_request":
        told = (
            f"Credential should be scoped with a valid terminator: 'aws4_request', not '{terminator[:64]}'. "
        )
    if date != moment[:8]:
        told += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date[:64]}' != '{moment[:8]}', from '{moment}'."
        )
    return told


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name, spaces trimmed, several of one name joined: the canonical form."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").lower()
        value = " ".join(raw_value.decode("latin-1").split())
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """A query's names and values, still percent-encoded."""
    if not query:
        return []
    return [pair.partition("=")[::2] for pair in query.decode("latin-1").split("&")]
