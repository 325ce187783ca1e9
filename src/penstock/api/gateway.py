"""S3 through the one endpoint: requests signed for `s3` are passed on to the object store, byte by byte.

The signature is checked here. To a store of our own a request then goes as it is, with the Host that it was signed
for, and the store checks it again with the body. To a store of the user's, whose name differs, it is signed anew, and
so is what a job's program sends: the store does not know its credentials, and the job not the store's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from penstock.api import permissions
from penstock.api.callers import Callers
from penstock.job.run import S3Access
from penstock.wire import signature
from penstock.wire.faults import Fault

if TYPE_CHECKING:
    import httpcore

#: Headers that belong to one hop only (RFC 9110, 7.6.1). The server has answered an Expect by itself.
_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect"}


#: What a presigned URL carries in its query: a request that is signed anew must not be signed twice.
_PRESIGNED = (
    b"X-Amz-Algorithm=",
    b"X-Amz-Credential=",
    b"X-Amz-Date=",
    b"X-Amz-Expires=",
    b"X-Amz-SignedHeaders=",
    b"X-Amz-Security-Token=",
    b"X-Amz-Signature=",
)

_ENCRYPTION = b"x-amz-server-side-encryption"


class _ClientGone(Exception):
    """The client has left in the middle of its request: nobody is left to answer."""


class S3Gateway:
    """Passes requests to the object store."""

    def __init__(
        self,
        access: Callable[[], S3Access],
        own: bool,
        who: Callers,
        account: str,
    ) -> None:
        self._callers = who
        self._account = account
        self._read_access = access
        self._own = own
        self._pool: httpcore.AsyncConnectionPool | None = None

    @property
    def _access(self) -> S3Access:
        """Read anew each time: the store may move to other ports while it starts."""
        return self._read_access()

    @property
    def _endpoint(self) -> str:
        access = self._access
        return access.endpoint or f"https://s3.{access.region}.amazonaws.com"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and its answer back.

        Raises:
            Fault: The store can't be reached, or the request's signature does not hold.
        """
        import httpcore  # noqa: PLC0415 - most clients go to the store directly

        # Before anything is taken for it: whoever has no key costs nothing.
        who = self._callers.identify(signed_request(scope, None))
        if who.job is not None:
            what = (scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
            permissions.check_s3(self._account, who.job, *what)
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(max_connections=256, keepalive_expiry=15)
        headers = [(k, v) for k, v in scope["headers"] if k not in _HOP]
        target = _target(scope["raw_path"], scope["query_string"])
        anew = not self._own or who.job is not None
        if self._own and (_ENCRYPTION, b"aws:kms") in headers:
            # The embedded store has no KMS and answers 500 to what SageMaker's SDK asks for every source archive.
            headers, anew = [h for h in headers if not h[0].startswith(_ENCRYPTION)], True
        if anew:
            target = _target(scope["raw_path"], _unsigned(scope["query_string"]))
            headers = self._signed_anew(scope["method"], target, headers, who.caller.payload)
        request = httpcore.Request(
            scope["method"],
            httpcore.URL(self._endpoint.rstrip("/") + "/"),
            headers=headers,
            content=_body(receive) if _has_body(headers) else None,
            extensions={"timeout": {"connect": 5, "pool": 10, "read": 300, "write": 300}},
        )
        request.url.target = target
        started = False
        try:
            response = await self._pool.handle_async_request(request)
            try:
                answer = [(k.lower(), v) for k, v in response.headers if k.lower() not in _HOP]
                await send({"type": "http.response.start", "status": response.status, "headers": answer})
                started = True
                async for chunk in response.aiter_stream():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await response.aclose()
        except _ClientGone:
            return
        except httpcore.PoolTimeout as error:
            raise Fault(
                "SlowDown", "Too many transfers at once; use AWS_ENDPOINT_URL_S3 instead.", 503
            ) from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            if started:
                raise  # the answer is cut off: so must be the connection
            raise Fault(
                "ServiceUnavailable", f"The object store at {self._endpoint} does not answer: {error!r}", 503
            ) from error

    def _signed_anew(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], payload: str
    ) -> list[tuple[bytes, bytes]]:
        """Sign a request that was checked with the store's own keys, for its own name."""
        if payload.startswith("STREAMING-AWS4"):
            raise Fault(
                "NotImplemented",
                "Bodies signed chunk by chunk can't be passed on to another store; use AWS_ENDPOINT_URL_S3 to "
                "reach it directly.",
                501,
            )
        key = signature.Key(
            self._access.access_key_id or "", self._access.secret_access_key or "", self._access.session_token
        )
        return signature.sign(
            method,
            self._endpoint.rstrip("/") + target.decode("ascii"),
            headers,
            payload,
            key,
            region=self._access.region,
            service="s3",
            now_ms=self._callers.clock(),
        )


def signed_request(scope: Scope, body: bytes | None) -> signature.SignedRequest:
    """The request as its signature sees it; `body` None when it is not read (streams)."""
    return signature.SignedRequest(
        scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body
    )


def _unsigned(query: bytes) -> bytes:
    return b"&".join(pair for pair in query.split(b"&") if not pair.startswith(_PRESIGNED))


def _target(path: bytes, query: bytes) -> bytes:
    return path + b"?" + query if query else path


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
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
