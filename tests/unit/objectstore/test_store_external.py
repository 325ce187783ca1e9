"""A store of the user's own: found, made, or refused with a reason."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.external import ExternalStore

LISTING = "<ListBucketResult><Name>mine</Name><KeyCount>0</KeyCount></ListBucketResult>"


def error(code):
    return f"<Error><Code>{code}</Code><Message>As S3 words it.</Message></Error>"


@pytest.fixture
def s3():
    """An endpoint that answers what it is told to, and keeps what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            server.asked.append((self.command, self.path.partition("?")[0], body))
            status, text = server.answers[self.command]
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = answer  # noqa: N815  # http.server's names

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.answers = [], {}
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def store(server, region="us-east-1"):
    return ExternalStore(
        lambda: S3Access(f"http://127.0.0.1:{server.server_port}", region, "id", "the-secret"), "mine"
    )


def test_a_bucket_that_exists_is_enough(s3):
    s3.answers = {"GET": (200, LISTING)}
    store(s3).wait_ready(5)
    assert s3.asked == [("GET", "/mine", "")]


@pytest.mark.parametrize(("region", "named"), [("us-east-1", False), ("eu-west-1", True)])
def test_a_missing_bucket_is_made_in_the_region(s3, region, named):
    s3.answers = {"GET": (404, error("NoSuchBucket")), "PUT": (200, "")}
    store(s3, region).wait_ready(5)
    method, path, body = s3.asked[-1]
    assert (method, path) == ("PUT", "/mine")
    assert ("<LocationConstraint>eu-west-1</LocationConstraint>" in body) is named


def test_a_bucket_that_somebody_else_has_just_made_is_welcome(s3):
    s3.answers = {"GET": (404, error("NoSuchBucket")), "PUT": (409, error("BucketAlreadyOwnedByYou"))}
    store(s3).wait_ready(5)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"GET": (403, error("InvalidAccessKeyId"))}, "InvalidAccessKeyId"),
        ({"GET": (403, error("AccessDenied"))}, "AccessDenied"),
        ({"GET": (404, error("NoSuchBucket")), "PUT": (403, error("AccessDenied"))}, "AccessDenied"),
        (
            {"GET": (404, error("NoSuchBucket")), "PUT": (409, error("BucketAlreadyExists"))},
            "BucketAlreadyExists",
        ),
    ],
)
def test_a_refusal_is_told_in_s3s_own_words(s3, answers, code):
    s3.answers = answers
    with pytest.raises(ConfigurationError) as told:
        store(s3).wait_ready(5)
    for part in (
        code,
        "As S3 words it.",
        f"http://127.0.0.1:{s3.server_port}",
        "bucket mine",
        "PENSTOCK_S3_",
    ):
        assert part in str(told.value)
    assert "the-secret" not in str(told.value)


def test_nobody_there_is_told(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            ConfigurationError, match=rf"{endpoint}.*mine.*can't be reached.*PENSTOCK_S3_ENDPOINT"
        ):
            ExternalStore(lambda: S3Access(endpoint, "us-east-1", "id", "secret"), "mine").wait_ready(1)


def test_an_endpoint_that_is_no_url_is_told():
    with pytest.raises(ConfigurationError, match=r"not-a-url.*PENSTOCK_S3_ENDPOINT"):
        ExternalStore(lambda: S3Access("not-a-url", "us-east-1", "id", "secret"), "mine").wait_ready(1)


def test_it_is_neither_started_nor_stopped(s3):
    store(s3).start()
    store(s3).stop()
    assert s3.asked == []
