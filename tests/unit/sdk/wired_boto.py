"""boto3 on the application itself: real clients and the real server's code with nothing but a function call between."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.awsrequest import AWSResponse
from wire_client import ACCOUNT, KEY, REGION, WireClient

from penstock.client.boto import LocalBotoSession
from penstock.client.local_server import Address


class WiredBoto(LocalBotoSession):
    """A boto3 session whose clients call `wire`; what goes to S3 is kept in `objects`, by bucket and key.

    Each client is made once: reading botocore's models would take most of the time.
    """

    def __init__(self) -> None:
        super().__init__(
            Address(
                endpoint="http://127.0.0.1:1",
                s3_endpoint="http://127.0.0.1:2",
                region=REGION,
                s3_region=REGION,
                account=ACCOUNT,
                bucket="bucket",
                access_key_id=KEY.access_key,
                secret_access_key=KEY.secret_key,
            ),
            trimmed=True,
        )
        self.wire: WireClient | None = None
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.events.register("before-send", self._answer)
        self._made: dict[str, Any] = {}

    def client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """The one client of a service."""
        if service_name not in self._made:
            self._made[service_name] = super().client(service_name, *args, **kwargs)
        return self._made[service_name]

    def count(self, operation: str) -> int:
        """How often an operation was asked for."""
        return self.asked.count(operation)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        body = request.body or b""
        body = body.read() if hasattr(body, "read") else body
        headers = {
            name.lower(): value if isinstance(value, bytes) else str(value).encode()
            for name, value in request.headers.items()
        }
        if url.port == 2:
            return self._store(request.method, unquote(url.path), headers, body)
        headers["host"] = url.netloc.encode()
        target = headers.get("x-amz-target", url.path.encode()).decode()
        self.asked.append(re.split(r"[./]", target)[-1])
        path = f"{url.path}?{url.query}" if url.query else url.path
        assert self.wire is not None
        got = self.wire.deliver(
            request.method,
            path,
            [(name.encode(), value) for name, value in headers.items()],
            body if isinstance(body, bytes) else body.encode(),
        )
        told = {name.decode(): value.decode() for name, value in got.headers.items()}
        return AWSResponse(request.url, got.status, told, _Body(got.body))

    def _store(self, method: str, path: str, headers: dict[str, bytes], body: bytes) -> AWSResponse:
        if method == "PUT":
            chunked = b"aws-chunked" in headers.get("content-encoding", b"")
            self.objects[path] = body.split(b"\r\n")[1] if chunked and body else body
        known = path in self.objects or path.count("/") == 1
        return AWSResponse(path, 200 if known else 404, {"ETag": '"tag"', "Content-Length": "0"}, _Body())


class _Body(io.BytesIO):
    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()
