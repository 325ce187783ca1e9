"""Refusals where the transport matters: uvicorn, as the server runs it, over a real socket."""

import http.client
import json
import logging
import socket
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import uvicorn
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from wire_client import KEY, REGION, WireClient, signed

from penstock.api.body import LARGEST_BODY
from penstock.api.protocol import LARGEST_HEAD, BoundedProtocol
from penstock.clock import now
from penstock.job.run import S3Access
from penstock.wire import faults, signature

pytestmark = pytest.mark.machine

JOB = {
    "ProcessingJobName": "job",
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}},
    "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3", "-c", "pass"]},
    "RoleArn": "arn:aws:iam::111122223333:role/r",
}


class Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config):
        super().__init__(config)
        self.serves = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        self.serves.set()


@contextmanager
def serving(folder, **options):
    """An application and its port."""
    client = WireClient(folder, **options)
    config = uvicorn.Config(
        client.application,
        loop="uvloop",
        http=BoundedProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert server.serves.wait(30)
    try:
        yield client, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        client.close()
    assert not thread.is_alive()


@pytest.fixture
def served(tmp_path):
    """An application without a store."""

    async def gateway(*_):
        raise faults.missing_token()

    with serving(tmp_path, gateway=gateway) as client_and_port:
        yield client_and_port


class Store(BaseHTTPRequestHandler):
    """What an S3 of the user's does: it checks signatures. The object `endless` is as long as there are readers."""

    protocol_version = "HTTP/1.1"
    left = threading.Event()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        headers = [(k.lower().encode(), v.encode()) for k, v in self.headers.items()]
        request = signature.SignedRequest("GET", path.encode(), query.encode(), headers, None)
        signature.verify(request, {"AKIASTORE": "other"}.get, now())
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40) if path.endswith("/endless") else str(len(query)))
        self.send_header("Connection", "close")  # the gateway would keep it
        self.end_headers()
        try:
            self.wfile.write(query.encode())
            while path.endswith("/endless"):
                self.wfile.write(bytes(1 << 16))
        except OSError:
            self.left.set()

    def log_message(self, *_):
        pass


@pytest.fixture
def before_a_store(tmp_path):
    """An application before a store of the user's, whose keys the clients don't know; its port."""
    store = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=store.serve_forever).start()
    access = S3Access(f"http://127.0.0.1:{store.server_port}", REGION, "AKIASTORE", "other")
    with serving(tmp_path, access=access, own=False) as (_, port):
        yield port
    store.shutdown()
    store.server_close()


@contextmanager
def connected(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def create(body=None):
    body = json.dumps(JOB).encode() if body is None else body
    return signed("POST", "/", body, "SageMaker.CreateProcessingJob")


def head_of(method, path, headers, length):
    lines = [f"{method} {path} HTTP/1.1".encode()]
    lines += [name + b": " + value for name, value in headers if name != b"content-length"]
    return b"\r\n".join([*lines, b"Content-Length: " + str(length).encode(), b"", b""])


def until_closed(connection):
    """All that comes until the server closes; nothing when it resets."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def post(connection, call):
    method, path, headers, body = call
    connection.request(method, path, body, {k.decode(): v.decode() for k, v in headers})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_an_answer_has_a_date_and_one_id(served):
    """Clients set their clocks by the date when they are told that it is wrong."""
    _, port = served
    with connected(port) as connection:
        status, headers, _ = post(connection, signed("POST", "/", b"{}", "SageMaker.ListProcessingJobs"))
        assert status == 200
        assert headers["date"].endswith(" GMT")
        assert len(headers["x-amzn-requestid"]) == 36
        assert "server" not in headers


def test_a_body_that_is_too_large_is_answered_and_the_connection_stays_good(served):
    _, port = served
    with connected(port) as connection:
        status, _, body = post(connection, create(b"x" * (LARGEST_BODY + 4_000_000)))
        assert (status, json.loads(body)["__type"]) == (413, "RequestEntityTooLargeException")
        assert post(connection, create())[0] == 200


def test_a_body_without_end_is_answered(served):
    """In chunks, without a length: the answer comes while the client still sends."""
    _, port = served
    method, path, headers, _ = create(b"")
    kept = [(k, v) for k, v in headers if k != b"content-length"]
    lines = [
        f"{method} {path} HTTP/1.1".encode(),
        *(k + b": " + v for k, v in kept),
        b"transfer-encoding: chunked",
    ]
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(b"\r\n".join([*lines, b"", b""]))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(LARGEST_BODY // 0x10000 + 1):
            connection.sendall(chunk)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"POST / HTTP/1.1\r\nHost: x\r\n", id="head"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", id="trailers"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=", id="extension"),
    ],
)
def test_what_is_no_body_and_does_not_end_is_cut_off(served, beginning):
    """The client has no key and could fill the memory."""
    _, port = served
    more = (b"X-More: " + b"x" * 1000 + b"\r\n") if beginning.endswith(b"\r\n") else b"x" * 1000
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(beginning)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(more * (64 * LARGEST_HEAD // len(more)))
    with connected(port) as connection:
        assert post(connection, create())[0] == 200


@pytest.mark.parametrize("path", ["/", "/penstock/runs/job-0/algo-1/log?offset=0"])
def test_who_has_no_key_is_answered_before_the_body(served, path):
    """Or a thousand of them, who never end what they send, would fill the memory."""
    _, port = served
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        headers = [(b"X-Amz-Target", b"SageMaker.ListTags"), (b"Authorization", b"Bearer none")]
        connection.sendall(head_of("POST", path, headers, 1000) + b"x" * 10)
        assert connection.recv(65536).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


@pytest.mark.parametrize("lacking", [1, 100])
def test_a_body_that_ends_early_does_nothing(served, lacking, caplog):
    client, port = served
    method, path, headers, body = create()
    with (
        caplog.at_level(logging.INFO),
        socket.create_connection(("127.0.0.1", port), 30) as connection,
    ):
        connection.sendall(head_of(method, path, headers, len(body)) + body[:-lacking])
        connection.shutdown(socket.SHUT_WR)
        assert until_closed(connection) == b""
    assert client.store.job("job") is None
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    with connected(port) as connection:
        assert post(connection, create())[0] == 200


def test_a_body_that_is_longer_than_it_says_is_cut(served):
    """What follows is no request, and is refused as one; what was said is answered for itself."""
    _, port = served
    method, path, headers, body = create()
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(head_of(method, path, headers, len(body)) + body + b"}}}\r\n\r\n")
        received = until_closed(connection)
    assert received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    assert b"HTTP/1.1 500 " not in received
    with connected(port) as connection:  # and a length that cuts the body off is no signature for it
        status, _, answer = post(connection, (method, path, headers, body[:-1]))
        assert (status, json.loads(answer)["__type"]) == (400, "InvalidSignatureException")


def test_who_waits_for_leave_to_send_gets_it(served):
    _, port = served
    method, path, headers, body = create()
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(head_of(method, path, [*headers, (b"expect", b"100-continue")], len(body)))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_refused_head_has_no_body(served):
    _, port = served
    with connected(port) as connection:
        connection.request("HEAD", "/bucket/key")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (403, b"")
        assert answer.getheader("content-type") == "application/xml"
        assert post(connection, create())[0] == 200


@pytest.mark.parametrize(
    "line", [b"NONSENSE\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"]
)
def test_what_is_no_http_is_refused(served, line):
    _, port = served
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        assert b" 500 " not in until_closed(connection)
    with connected(port) as connection:
        assert post(connection, create())[0] == 200


def test_a_presigned_url_reaches_a_store_of_the_users_own(before_a_store):
    """The store is told by one signature only, its own, and what else the query says."""
    request = AWSRequest("GET", f"http://127.0.0.1:{before_a_store}/b/k", params={"versionId": "a/b"})
    S3SigV4QueryAuth(KEY, "s3", REGION).add_auth(request)
    with connected(before_a_store) as connection:
        connection.request("GET", request.url.partition(str(before_a_store))[2])
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"versionId=a%2Fb")


def test_a_store_does_not_read_for_a_client_that_has_left(before_a_store):
    Store.left.clear()
    method, path, headers, _ = signed("GET", "/b/endless", b"", None, service="s3")
    with socket.create_connection(("127.0.0.1", before_a_store), 30) as connection:
        connection.sendall(head_of(method, path, headers, 0))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert Store.left.wait(20)


def test_who_waits_for_the_store_keeps_nobody_from_work(tmp_path):
    """They need no key, and are more than the server has threads."""
    waits, ready = threading.Event(), threading.Event()

    def wait_ready():
        waits.set()
        assert ready.wait(30)

    with ExitStack() as stack:
        _, port = stack.enter_context(serving(tmp_path, wait_ready=wait_ready))
        waiting = [stack.enter_context(connected(port)) for _ in range(50)]
        stack.callback(ready.set)
        for connection in waiting:
            connection.request("GET", "/penstock/ready")
        assert waits.wait(30)
        connection = stack.enter_context(connected(port))
        assert post(connection, signed("POST", "/", b"{}", "SageMaker.ListProcessingJobs"))[0] == 200
        assert not ready.is_set()
        ready.set()
        assert [json.loads(c.getresponse().read()) for c in waiting] == [{"ready": True}] * 50
