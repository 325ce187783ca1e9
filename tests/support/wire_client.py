"""The application over ASGI, with requests that botocore signs: no socket, no server."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import urlsplit

import botocore.auth
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.api.admission import Admission
from penstock.api.app import Application
from penstock.api.callers import Callers, Lender
from penstock.api.context import Context
from penstock.api.gateway import S3Gateway
from penstock.clock import now
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.wire.signature import Key

KEY = Credentials("AKIATEST", "secret")
LENDER = Lender("secret")
REGION = "eu-west-1"
ACCOUNT = "111122223333"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body) if self.body else {}

    @property
    def text(self):
        return self.body.decode()


class WireClient:
    """Sends requests to an application of its own, on one event loop."""

    def __init__(self, folder, gateway=None, access=None, own=True, wait_ready=lambda: None):
        """With `access`, the real gateway passes S3's requests on there; `own`: as to a store of Penstock's own."""
        self.store = open_sqlite(folder / "p.db")
        self.context = Context(
            self.store,
            FileLogbook(folder / "logs"),
            REGION,
            ACCOUNT,
            now,
            lambda **_: None,
            Admission(self.store.add_jobs),
        )
        callers = Callers(Key(KEY.access_key, KEY.secret_key), LENDER, self.store.job_of_uid, now)
        if access is not None:
            gateway = S3Gateway(lambda: access, own, callers, ACCOUNT)
        gateway = gateway or self._from_the_store
        self.application = Application(self.context, callers, gateway, lambda: {"store": "ready"}, wait_ready)
        self._runner = asyncio.Runner()

    def close(self):
        self._runner.close()
        self.store.close()

    @staticmethod
    async def _from_the_store(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"from the store"})

    def call(self, operation, params, service="sagemaker", prefix="SageMaker"):
        """A call of a JSON operation."""
        return self.send(body=json.dumps(params).encode(), service=service, target=f"{prefix}.{operation}")

    def send(self, method="POST", path="/", body=b"{}", target="SageMaker.ListProcessingJobs", **how):
        """Sign a request and send it. See `signed` for what else may be given."""
        return self.deliver(*signed(method, path, body, target, **how))

    def deliver(self, method, path, headers, body, *, cut=None, leaves=None):
        """Hand a request over as it is.

        Args:
            method: And the others: as `signed` gives them.
            path: With the query.
            headers: Raw.
            body: All of it.
            cut: The client leaves after so many bytes of the body.
            leaves: Awaited when all is sent; then the client leaves. By default it stays.
        """
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
        }  # fmt: skip
        messages = [{"type": "http.request", "body": body[:cut], "more_body": cut is not None}]
        got = []

        async def receive():
            if messages:
                return messages.pop(0)
            if cut is None:
                await (leaves or asyncio.Event().wait)()
            return {"type": "http.disconnect"}

        async def answer(message):
            got.append(message)

        self._runner.run(self.application(scope, receive, answer))
        if not got:
            return None
        return Answer(
            got[0]["status"], dict(got[0]["headers"]), b"".join(m.get("body", b"") for m in got[1:])
        )


def signed(
    method,
    path,
    body,
    target,
    *,
    service="sagemaker",
    region=REGION,
    key=KEY,
    headers=(),
    signer=None,
    at=None,
    change=None,
):
    """The request as it would come over the wire.

    `signer` is one of botocore's classes, `at` the clock of the client, and `change` changes the signed headers,
    by lower-case name.
    """
    sent = AWSRequest(method, f"http://127.0.0.1:1{path}", data=body, headers=dict(headers))
    sent.headers["Host"] = "127.0.0.1:1"
    if target:
        sent.headers["X-Amz-Target"] = target
    if key is not None:
        moment = (at or datetime.now(UTC)).replace(tzinfo=None)
        signer = signer or (S3SigV4Auth if service == "s3" else SigV4Auth)
        with patch.object(botocore.auth, "get_current_datetime", lambda: moment):
            signer(key, service, region).add_auth(sent)
    parts = urlsplit(sent.url)
    named = {k.lower(): str(v) for k, v in sent.headers.items()}
    if change:
        change(named)
    raw = [(k.encode(), v.encode()) for k, v in named.items()]
    return method, parts.path + (f"?{parts.query}" if parts.query else ""), raw, body
