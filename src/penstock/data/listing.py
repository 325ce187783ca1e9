"""S3's ListObjectsV2, signed and sent by ourselves.

obstore lists by whole path segments (a prefix `data/train` would not find `data/train-1.csv`), takes the slash
off folder markers and gives up on the first unusual key; S3's own prefix is a string. So this one request is
made here, by the standard library.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import quote, unquote_plus, urlsplit
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


def endpoint_of(access: S3Access) -> str:
    """The address of the store, without a closing slash; AWS's own when none is set."""
    if access.endpoint:
        return access.endpoint.rstrip("/")
    suffix = "amazonaws.com.cn" if access.region.startswith("cn-") else "amazonaws.com"
    return f"https://s3.{access.region}.{suffix}"


def is_loopback(endpoint: str) -> bool:
    """Whether the address leads to this machine, so that no proxy must come between."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def list_objects(access: S3Access, bucket: str, prefix: str, patience: float) -> Iterator[Entry]:
    """All objects whose key begins with `prefix`, in the store's own order (not always the order of bytes).

    Args:
        access: How to reach the store.
        bucket: The bucket's name.
        prefix: A string, not a folder; may be empty.
        patience: Seconds for which an unreachable or failing store is asked again, per page.

    Raises:
        Refused: The store answered with an error.
        Unanswered: It did not answer.
    """
    token: str | None = None
    while True:
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(_PAGE), "prefix": prefix}
        if token:
            query["continuation-token"] = token
        page = ET.fromstring(_ask(access, bucket, query, patience))  # noqa: S314 -- expat bounds expansion
        decode = unquote_plus if page.findtext("{*}EncodingType") == "url" else str
        for item in page.iterfind("{*}Contents"):
            yield Entry(
                decode(item.findtext("{*}Key", "")),
                int(item.findtext("{*}Size", "0")),
                item.findtext("{*}ETag"),
            )
        if page.findtext("{*}IsTruncated") != "true":
            return
        token = page.findtext("{*}NextContinuationToken")
        if not token:
            raise Refused(200, "BadListing", "it says that there is more, and not where")


def _ask(access: S3Access, bucket: str, query: Mapping[str, str], patience: float) -> bytes:
    endpoint = endpoint_of(access)
    proxy = urllib.request.ProxyHandler({} if is_loopback(endpoint) else None)
    opener = urllib.request.build_opener(proxy, _NoRedirect)
    deadline, pause = time.monotonic() + patience, 0.1
    while True:
        try:
            request = _signed(access, endpoint, bucket, query)
            with opener.open(request, timeout=_TIMEOUT) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            problem: Exception = _refusal(error)
            final = error.code < 500 and error.code != 429
        except (OSError, http.client.HTTPException) as error:
            problem = Unanswered(str(getattr(error, "reason", error)))
            final = False
        if final or time.monotonic() + pause > deadline:
            raise problem from None
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signature holds for one host: a redirect is an answer to be reported, not followed."""

    def redirect_request(self, *_: object) -> None:
        return None


def _refusal(error: urllib.error.HTTPError) -> Refused:
    with error:
        body = error.read()
    try:
        page = ET.fromstring(body)  # noqa: S314 -- expat bounds expansion
        code, message = page.findtext("{*}Code", error.reason), page.findtext("{*}Message", "")
    except ET.ParseError:
        code, message = str(error.reason), ""
    return Refused(error.code, code, message)


def _signed(access: S3Access, endpoint: str, bucket: str, query: Mapping[str, str]) -> urllib.request.Request:
    """The request with AWS Signature Version 4; unsigned when there is no key, as public buckets are read."""
    target = urlsplit(f"{endpoint}/{quote(bucket)}")
    parameters = "&".join(f"{_quoted(name)}={_quoted(query[name])}" for name in sorted(query))
    url = f"{target.geturl()}?{parameters}"
    if not access.access_key_id or not access.secret_access_key:
        return urllib.request.Request(url)  # noqa: S310 -- the endpoint of the settings
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": target.netloc, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": moment}
    if access.session_token:
        headers["x-amz-security-token"] = access.session_token
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"GET\n{target.path}\n{parameters}\n{lines}\n{names}\n{_EMPTY_SHA256}"
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
    return urllib.request.Request(url, headers=headers)  # noqa: S310 -- the endpoint of the settings


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
