"""S3's ListObjectsV2, signed and sent by ourselves.

obstore lists by whole path segments (a prefix `data/train` would not find `data/train-1.csv`), takes the slash
off folder markers and gives up on the first unusual key; S3's own prefix is a string. So this one request is
made here, by the standard library.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import random
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit
from xml.etree import ElementTree as ET

from penstock.job.run import S3Access

_PAGE = 1000  # the most that S3 gives in one answer
_TIMEOUT = 60.0
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


class Refused(Exception):
    """The store answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


class Unanswered(Exception):
    """No answer from the store within the given time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as the store tells of it. `size` in bytes; `etag` as the store writes it, None if it has none."""

    key: str
    size: int
    etag: str | None


def is_loopback(endpoint: str) -> bool:
    """Whether the address leads to this machine, so that no proxy must come between."""
    host = urlsplit(endpoint).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def list_objects(access: S3Access, bucket: str, prefix: str, patience: float) -> Iterator[Entry]:
    """All objects whose key begins with `prefix`, in the store's own order (not always the order of bytes).

    Args:
        access: How to reach the store.
        bucket: The bucket's name.
        prefix: A string, not a folder; may be empty.
        patience: Seconds for which an unreachable or failing store is asked again, per page.

    Raises:
        Refused: The store answered with an error, or goes in a circle.
        Unanswered: It did not answer.
    """
    where = urlsplit(access.url_of(bucket))
    connection = _connect(where, access.ca_bundle)
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(_PAGE), "prefix": prefix}
    try:
        while True:
            entries, token = _ask(connection, access, where, query, patience)
            yield from entries
            if token is None:
                return
            if token == query.get("continuation-token"):
                raise Refused(
                    200, "BadListing", "the answer is no listing: what follows it is that page again"
                )
            query["continuation-token"] = token
    finally:
        connection.close()


def _connect(endpoint: SplitResult, ca_bundle: str | None) -> http.client.HTTPConnection:
    """A connection that opens itself when it is used, through the proxy of the environment where there is one."""
    kind: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
    if endpoint.scheme == "https":
        trusted = ssl.create_default_context()
        if ca_bundle:
            trusted.load_verify_locations(ca_bundle)
        kind = partial(http.client.HTTPSConnection, context=trusted)
    host = endpoint.hostname or ""
    if not is_loopback(endpoint.geturl()):
        from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 -- costs time that most jobs need not pay

        proxy = urlsplit(getproxies().get(endpoint.scheme, ""))
        if proxy.hostname and not proxy_bypass(host):
            connection = kind(proxy.hostname, proxy.port or 80, timeout=_TIMEOUT)
            headers = {}
            if proxy.username:
                login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
                headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
            connection.set_tunnel(host, endpoint.port, headers)
            return connection
    return kind(host, endpoint.port, timeout=_TIMEOUT)


def _ask(
    connection: http.client.HTTPConnection,
    access: S3Access,
    where: SplitResult,
    query: Mapping[str, str],
    patience: float,
) -> tuple[list[Entry], str | None]:
    """A page; asks again while the store fails, is silent or answers nonsense, until `patience` is over."""
    deadline, pause = time.monotonic() + patience, 0.1
    problem: Exception
    while True:
        try:
            target, headers = _signed(access, where, query)
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == http.client.OK:
                return _page(body, query["prefix"])
            problem = _refusal(answer.status, answer.reason, body)
            final = answer.status < 500 and answer.status != http.client.TOO_MANY_REQUESTS
        except (ET.ParseError, ValueError) as error:
            problem, final = Refused(200, "BadListing", f"the answer is no listing: {error}"), False
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            problem, final = Unanswered(str(error) or type(error).__name__), False
        if final or time.monotonic() + pause > deadline:
            raise problem
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- scatters clients, hides nothing
        pause = min(2 * pause, 5.0)


def _page(body: bytes, prefix: str) -> tuple[list[Entry], str | None]:
    """The objects of one answer, and the token of the next page; None at the end.

    Raises:
        ET.ParseError: It is not XML.
        ValueError: It contradicts itself or the question: it came to harm, or the store is none.
    """
    page = ET.fromstring(body)  # noqa: S314 -- expat bounds expansion
    decode = unquote_plus if page.findtext("{*}EncodingType") == "url" else str
    # By full names: to look for them in any namespace takes three times as long.
    space = page.tag[: page.tag.rfind("}") + 1]
    contents, key, size, etag = (f"{space}{name}" for name in ("Contents", "Key", "Size", "ETag"))
    entries = [
        Entry(decode(item.findtext(key, "")), int(item.findtext(size, "")), item.findtext(etag))
        for item in page.iterfind(contents)
    ]
    if any(not entry.key.startswith(prefix) for entry in entries):
        raise ValueError("it holds a key that does not begin with the prefix")
    if len({entry.key for entry in entries}) < len(entries):
        raise ValueError("it holds a key twice")
    count = page.findtext("{*}KeyCount")
    if count is not None and int(count) != len(entries):
        raise ValueError(f"it holds {len(entries)} keys and counts {count}")
    truncated, token = page.findtext("{*}IsTruncated"), page.findtext("{*}NextContinuationToken")
    if truncated not in {"true", "false"}:
        raise ValueError("it does not say whether there is more")
    if truncated == "true" and not token:
        raise ValueError("there is more to list, but it does not say from where")
    return entries, token if truncated == "true" else None


def _refusal(status: int, reason: str, body: bytes) -> Refused:
    try:
        page = ET.fromstring(body)  # noqa: S314 -- expat bounds expansion
    except ET.ParseError:
        return Refused(status, reason, "")
    return Refused(status, page.findtext("{*}Code", reason), page.findtext("{*}Message", ""))


def _signed(
    access: S3Access,
    where: SplitResult,
    query: Mapping[str, str],
) -> tuple[str, dict[str, str]]:
    """Target and headers, signed by AWS Signature Version 4; unsigned without a key, as public buckets are read."""
    path = where.path or "/"
    parameters = "&".join(f"{_quoted(name)}={_quoted(query[name])}" for name in sorted(query))
    target = f"{path}?{parameters}"
    headers = {"host": where.netloc}
    if not access.access_key_id or not access.secret_access_key:
        return target, headers
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers |= {"x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": moment}
    if access.session_token:
        headers["x-amz-security-token"] = access.session_token
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"GET\n{path}\n{parameters}\n{lines}\n{names}\n{_EMPTY_SHA256}"
    steps = (moment[:8], access.region, "s3", "aws4_request")
    scope = "/".join(steps)
    key = f"AWS4{access.secret_access_key}".encode()
    for step in steps:
        key = hmac.digest(key, step.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return target, headers


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
