"""What the gateway sends to stores: real requests over ASGI in, real HTTP to a scripted store out."""

import asyncio
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.api.callers import LIFETIME, Callers, Lender
from penstock.api.gateway import S3Gateway
from penstock.clock import now
from penstock.errors import ConfigurationError
from penstock.job.life import Job
from penstock.job.run import S3Access
from penstock.wire import signature
from penstock.wire.faults import Fault

HOME = Credentials("AKIAHOME", "home-secret")
LENDER = Lender("home-secret")
JOB = Job("j", "j-1", "arn:aws:sagemaker:r:1:processing-job/j", {"RoleArn": "arn:aws:iam::1:role/r"}, 0, 0)
STORE = signature.Key("AKIASTORE", "store-secret")


class Store(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(
            SimpleNamespace(method=self.command, path=self.path, headers=headers, body=body)
        )
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_PUT = do_GET  # noqa: N815 - a name that the base class gives

    def log_message(self, *args):
        pass


class _ChunkedAuth(S3SigV4Auth):
    def payload(self, request):
        return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@pytest.fixture
def store():
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def send(store):
    """Signs a request as a client does, and answers what the store was asked."""

    def go(
        access,
        method="GET",
        path="/b/k",
        body=b"",
        key=HOME,
        own=False,
        headers=(),
        auth=S3SigV4Auth,
    ):
        read = access if callable(access) else lambda: access
        callers = Callers(signature.Key(HOME.access_key, HOME.secret_key), LENDER, {"j-1": JOB}.get, now)
        gateway = S3Gateway(read, own, callers, "1")
        sent = AWSRequest(method, f"http://127.0.0.1:1{path}", data=body, headers=dict(headers))
        sent.headers["Host"] = "127.0.0.1:1"
        auth(key, "s3", "us-east-1").add_auth(sent)
        if body:
            sent.headers["Content-Length"] = str(len(body))
        parts = urlsplit(sent.url)
        scope = {
            "type": "http", "method": method, "raw_path": parts.path.encode(), "query_string": parts.query.encode(),
            "headers": [(k.lower().encode(), str(v).encode()) for k, v in sent.headers.items()],
        }  # fmt: skip
        got = []

        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if not messages:
                await asyncio.Event().wait()  # the client stays
            return messages.pop()

        async def answer(message):
            got.append(message)

        asyncio.run(gateway(scope, receive, answer))
        assert b"".join(m.get("body", b"") for m in got) == b"ok"
        return store.asked[-1]

    return go


@pytest.fixture
def access(store):
    return S3Access(f"http://127.0.0.1:{store.server_port}", "eu-west-1", STORE.access_key_id, STORE.secret)


def signer(asked):
    """Whose signature a request carries that reached the store; it is verified."""
    path, _, query = asked.path.partition("?")
    raw = [(k.encode(), v.encode()) for k, v in asked.headers.items()]
    request = signature.SignedRequest(asked.method, path.encode(), query.encode(), raw, asked.body)
    return signature.verify(request, {STORE.access_key_id: STORE.secret}.get, now()).access_key_id


def lent():
    key = LENDER.lend("j-1", now() // 1000 + LIFETIME).key
    return Credentials(key.access_key_id, key.secret, key.token)


@pytest.mark.parametrize("key", [HOME, lent()], ids=["home", "job"])
@pytest.mark.parametrize("auth", [S3SigV4Auth, S3SigV4QueryAuth])
def test_a_store_of_ones_own_is_asked_with_its_own_keys(send, access, key, auth):
    asked = send(access, path="/b/a%20b/%2B?versionId=1", key=key, auth=auth)
    assert asked.path == "/b/a%20b/%2B?versionId=1"
    assert signer(asked) == STORE.access_key_id
    assert "x-amz-security-token" not in asked.headers
    assert key.access_key not in str(asked)


def test_our_own_store_gets_a_request_as_it_is_but_from_a_job(send, access):
    as_it_is = send(access, own=True)
    assert as_it_is.headers["host"] == "127.0.0.1:1"
    assert HOME.access_key in as_it_is.headers["authorization"]
    assert signer(send(access, own=True, key=lent())) == STORE.access_key_id


def test_a_bucket_elsewhere_is_asked_there_and_never_with_the_first_ones_keys(send, access):
    first = S3Access(
        "http://127.0.0.1:1", "us-east-1", "AKIAFIRST", "x", buckets=(("%b", access), ("b", access))
    )
    for path in ("/b/k", "/%25b/k"):
        assert signer(send(first, path=path, own=True)) == STORE.access_key_id


def test_nobody_by_name_is_nobody(send, access):
    anonymous = S3Access(access.endpoint, "eu-west-1")
    for key, auth in ((HOME, S3SigV4Auth), (lent(), S3SigV4Auth), (lent(), S3SigV4QueryAuth)):
        asked = send(anonymous, key=key, auth=auth)
        assert asked.path == "/b/k"
        assert not {"authorization", "x-amz-date", "x-amz-security-token"} & set(asked.headers)


def test_the_bucket_may_stand_in_the_hosts_name(send, access, store):
    """The bucket `127` at `0.0.1` is the host 127.0.0.1."""
    inner = S3Access(
        f"http://0.0.1:{store.server_port}", "eu-west-1", STORE.access_key_id, STORE.secret, path_style=False
    )
    asked = send(inner, "PUT", "/127/folder/k", b"data")
    assert (asked.path, asked.body) == ("/folder/k", b"data")
    assert asked.headers["host"] == f"127.0.0.1:{store.server_port}"
    assert signer(asked) == STORE.access_key_id
    assert send(inner, path="/127?list-type=2").path == "/?list-type=2"


def test_a_proxy_stands_between_where_the_environment_names_one(send, access, store, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:my%20word@127.0.0.1:{store.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    inner = S3Access("http://store.test", "eu-west-1", STORE.access_key_id, STORE.secret)
    asked = send(inner, path="/b/k?versionId=1")
    assert asked.path == "http://store.test/b/k?versionId=1"
    assert asked.headers["host"] == "store.test"
    assert asked.headers["proxy-authorization"] == f"Basic {b64encode(b'me:my word').decode()}"
    assert send(access).path == "/b/k"  # none between this machine and itself


KMS = {"x-amz-server-side-encryption": "aws:kms"}
NAMED = {**KMS, "x-amz-server-side-encryption-aws-kms-key-id": "k"}


@pytest.mark.parametrize(
    ("own", "headers", "kept"), [(True, KMS, 0), (True, NAMED, 0), (False, KMS, 0), (False, NAMED, 2)]
)
def test_encryption_by_a_kms_is_left_out_where_there_is_none(send, access, own, headers, kept):
    asked = send(access, "PUT", body=b"x", own=own, headers=headers)
    assert len([name for name in asked.headers if name.startswith("x-amz-server-side")]) == kept
    assert signer(asked) == STORE.access_key_id


def test_a_body_that_the_store_could_not_check_is_refused(send, access):
    with pytest.raises(Fault, match="chunk by chunk") as caught:
        send(access, "PUT", body=b"x", auth=_ChunkedAuth)
    assert caught.value.status == 501


def test_keys_that_can_not_be_renewed_are_told(send):
    def gone():
        raise ConfigurationError("The keys of the AWS profile 'work' can't be had.")

    with pytest.raises(Fault, match="profile 'work'") as caught:
        send(gone)
    assert caught.value.status == 503


def test_a_job_that_may_not_is_refused_before_the_store_is_asked(send, access, store):
    with pytest.raises(Fault, match="s3:DeleteBucket"):
        send(access, "DELETE", "/b", key=lent())
    assert store.asked == []
