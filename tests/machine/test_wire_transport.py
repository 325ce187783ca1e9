"""Refusals where the transport matters: uvicorn, as the server runs it, over a real socket."""

import http.client
import json
import logging
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn
from wire_client import WireClient, signed

from penstock.api.app import LARGEST_BODY
from penstock.api.protocol import LARGEST_HEAD, BoundedProtocol
from penstock.wire import faults

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


@pytest.fixture
def served(tmp_path):
    """An application and its port."""

    async def gateway(*_):
        raise faults.missing_token()

    client = WireClient(tmp_path, gateway=gateway)
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
    yield client, listener.getsockname()[1]
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
    listener.close()
    client.close()


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
