"""S3 through the one endpoint: requests signed for `s3` are passed on to the object store, byte by byte.

The signature is checked here. To a store of our own a request then goes as it is, with the Host that it was signed
for, and the store checks it again with the body. To a store of the user's, whose name differs, it is signed anew, and
so is what a job's program sends: the store does not know its credentials, and the job not the store's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import unquote, urlsplit

from starlette.types import Receive, Scope, Send

from penstock.api import permissions
from penstock.api.callers import Callers
from penstock.api.outward import Pools
from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.wire import claims, faults, signature
from penstock.wire.faults import Fault

#: Headers that belong to one hop only (RFC 9110, 7.6.1). The server has answered an Expect by itself.
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect"}

#: What of a presigned URL is its signature: a request is signed in one place only.
_PRESIGNED = {
    f"X-Amz-{name}".encode()
    for name in ("Algorithm", "Credential", "Date", "Expires", "Security-Token", "Signature", "SignedHeaders")
}

_ENCRYPTION = b"x-amz-server-side-encryption"
_KMS_KEY = b"x-amz-server-side-encryption-aws-kms-key-id"

_OF_SIGNATURE = {b"authorization", b"host", b"x-amz-content-sha256", b"x-amz-date", b"x-amz-security-token"}

_Headers = list[tuple[bytes, bytes]]


class _ClientGone(Exception):
    """The client has left in the middle of its request: nobody is left to answer."""


class S3Gateway:
    """Passes requests to the object stores."""

    def __init__(self, access: Callable[[], S3Access], own: bool, who: Callers, account: str) -> None:
        """`access` is asked anew each time: the store may move to other ports, and its keys may change.

        Args:
            access: How to reach the default store, and the others from there.
            own: Whether the default store is one that Penstock runs.
            who: Who may call.
            account: For messages.
        """
        self._access = access
        self._own = own
        self._callers = who
        self._account = account
        self._pools = Pools()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and its answer back.

        Raises:
            Fault: The store can't be reached, or the request's signature does not hold.
        """
        # Before anything is taken for it: whoever has no key costs nothing.
        claim = claims.read_claim(scope["headers"], scope["query_string"])
        who = self._callers.know(claim)
        caller = self._callers.verify(signed_request(scope, None), claim, who)
        if who.job is not None:
            what = (scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
            permissions.check_s3(self._account, who.job, *what)
        access, own = self._store_of(scope["raw_path"])
        headers = [(k, v) for k, v in scope["headers"] if k not in _HOP]
        without = _without_kms(headers, access, own=own)
        if own and who.job is None and without is headers and not _signs_its_hop(headers):
            url, target = access.url, _target(scope["raw_path"], scope["query_string"])
        else:
            url, target = _place(access, scope["raw_path"], _unsigned(scope["query_string"]))
            headers = self._signed_anew(
                access, scope["method"], url + target.decode("ascii"), without, caller.payload
            )
        await self._pass_on(access, scope["method"], url, target, headers, receive, send)

    def _store_of(self, path: bytes) -> tuple[S3Access, bool]:
        """How to reach the store that a request is for, and whether it is our own."""
        try:
            default = self._access()
        except ConfigurationError as error:  # keys that can't be renewed
            raise faults.unavailable(str(error)) from error
        access = default.at(unquote(path.split(b"/")[1].decode("latin-1")) if b"/" in path else "")
        return access, self._own and access is default

    def _signed_anew(
        self, access: S3Access, method: str, url: str, headers: _Headers, payload: str
    ) -> _Headers:
        """Sign a request that was checked with the store's own keys, for its own name."""
        if payload.startswith("STREAMING-AWS4"):
            raise Fault(
                "NotImplemented",
                "Bodies signed chunk by chunk can't be signed anew. Have the client sign the whole body, or none of "
                "it; or let it go to the store directly.",
                501,
            )
        if access.access_key_id is None:
            kept = [(k, v) for k, v in headers if k not in _OF_SIGNATURE]
            return [*kept, (b"host", urlsplit(url).netloc.encode())]
        key = signature.Key(access.access_key_id, access.secret_access_key or "", access.session_token)
        now_ms = self._callers.clock()
        return signature.sign(
            method, url, headers, payload, key, region=access.region, service="s3", now_ms=now_ms
        )

    async def _pass_on(
        self,
        access: S3Access,
        method: str,
        url: str,
        target: bytes,
        headers: _Headers,
        receive: Receive,
        send: Send,
    ) -> None:
        import httpcore  # noqa: PLC0415 - most clients go to the store directly

        request = httpcore.Request(
            method,
            httpcore.URL(url + "/"),
            headers=headers,
            content=_body(receive) if _has_body(headers) else None,
            extensions={"timeout": {"connect": 5, "pool": 10, "read": 300, "write": 300}},
        )
        request.url.target = target
        started = False
        left: asyncio.Task[None] | None = None
        try:
            response = await self._pools.of(access).handle_async_request(request)
            try:
                answer = [(k.lower(), v) for k, v in response.headers if k.lower() not in _HOP]
                await send({"type": "http.response.start", "status": response.status, "headers": answer})
                started = True
                left = asyncio.create_task(until_gone(receive))
                async for chunk in response.aiter_stream():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    if left.done():
                        return  # or the store would go on reading for nobody
                await send({"type": "http.response.body", "body": b""})
            finally:
                if left is not None:
                    left.cancel()
                await response.aclose()
        except _ClientGone:
            return
        except httpcore.PoolTimeout as error:
            raise Fault("SlowDown", "Too many transfers at once; try again.", 503) from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            if started:
                raise  # the answer is cut off: so must be the connection
            raise faults.unavailable(f"The object store at {url} does not answer: {error!r}") from error


def signed_request(scope: Scope, body: bytes | None) -> signature.SignedRequest:
    """The request as its signature sees it; `body` None when it is not read (streams)."""
    return signature.SignedRequest(
        scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body
    )


def _signs_its_hop(headers: _Headers) -> bool:
    """Whether Transfer-Encoding is signed, as by older boto3: the embedded store can't check that."""
    return b"transfer-encoding" in dict(headers).get(b"authorization", b"")


def _place(access: S3Access, path: bytes, query: bytes) -> tuple[str, bytes]:
    """Where a request goes: the address, and path and query there."""
    bucket, _, key = path.removeprefix(b"/").partition(b"/")
    if access.path_style or not bucket:
        return access.url, _target(path, query)
    return access.url_of(unquote(bucket.decode("latin-1"))), _target(b"/" + key, query)


def _without_kms(headers: _Headers, access: S3Access, *, own: bool) -> _Headers:
    """The headers without what SageMaker's SDK asks for every source archive, where the store has no KMS.

    The embedded one has none and answers 500. At others than AWS's a key that is named is somebody's wish.
    """
    named = any(name == _KMS_KEY for name, _ in headers)
    if (_ENCRYPTION, b"aws:kms") not in headers or not (
        own or (not named and "amazonaws.com" not in access.url)
    ):
        return headers
    return [h for h in headers if not h[0].startswith(_ENCRYPTION)]


def _unsigned(query: bytes) -> bytes:
    return b"&".join(pair for pair in query.split(b"&") if pair.partition(b"=")[0] not in _PRESIGNED)


def _target(path: bytes, query: bytes) -> bytes:
    return path + b"?" + query if query else path


def _has_body(headers: _Headers) -> bool:
    return any(k in {b"content-length", b"transfer-encoding"} for k, _ in headers)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        if chunk := message.get("body", b""):
            yield chunk
        more = message.get("more_body", False)


async def until_gone(receive: Receive) -> None:
    """Ends when the client has left; its request must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
