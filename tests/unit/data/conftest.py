"""A bucket in memory, and a scripted HTTP server on loopback that answers what no healthy store would."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from penstock.data.storage import S3Bucket, open_bucket
from penstock.job.run import S3Access
from penstock.testing.fake_bucket import FakeStore

SECRET = "never-to-be-seen"
ACCESS = S3Access("http://127.0.0.1:1", "us-east-1", "AKID", "the-secret")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def access() -> S3Access:
    return ACCESS


def endpoint(server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


class Script(BaseHTTPRequestHandler):
    """Answers with the server's `answers` in turn, the last one for ever; records what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        self.server.asked.append(
            SimpleNamespace(method=self.command, path=self.path, headers=dict(self.headers))
        )
        answers = self.server.answers
        status, body, *headers = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_POST = do_DELETE = do_HEAD = do_CONNECT = do_GET  # noqa: N815 -- names that the base class gives

    def log_message(self, *args):
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as server:
        server.asked, server.answers = [], [(200, b"")]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def scripted(server) -> S3Access:
    return S3Access(endpoint(server), "eu-west-1", "AKID", SECRET, "the-token")


@pytest.fixture
def bucket(scripted) -> S3Bucket:
    """Gives up at once."""
    return open_bucket(scripted, "b", None, 0.0)


@pytest.fixture
def patient(scripted) -> S3Bucket:
    return open_bucket(scripted, "b", None, 10.0)
