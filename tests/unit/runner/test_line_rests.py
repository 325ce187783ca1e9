"""The connection to a server is kept from run to run, as long as the server keeps it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from patience import until
from sealing import answer

from penstock.job.run import Run, S3Access
from penstock.runner import line
from penstock.runner.folder import RunFolder


@pytest.fixture
def server(monkeypatch):
    """Keeps connections open, and knows them by their ports; `server.end()` ends all."""
    monkeypatch.setattr(line, "_resting", {})
    seen, open_ones = [], []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.client_address[1])
            open_ones.append(self.connection)
            answer(self, 410 if self.path.endswith("refused") else 200, b"{}", "token")

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    http.seen = seen
    http.url = f"http://127.0.0.1:{http.server_address[1]}"

    def end():
        for one in set(open_ones):
            one.shutdown(2)

    http.end = end
    yield http
    for connection in line._resting.values():
        connection.close()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def a_run(server, tmp_path):
    def make(number):
        s3 = S3Access(None, "us-east-1")
        uid = f"job-{number}"
        told = Run(uid, uid, "arn", "algo-1", ("algo-1",), {}, "r", "token", server.url, None, s3, "/e")
        return line.Line(told, RunFolder(tmp_path))

    return make


def test_one_run_after_the_other_is_told_by_the_same_connection(server, a_run):
    for number in range(3):
        one = a_run(number)
        one.post("events", b"{}")
        one.close()
    refused = a_run(3)
    with pytest.raises(line.Refused):
        refused.post("refused", b"{}")
    refused.close()
    last = a_run(4)
    last.post("events", b"{}")
    last.close()
    assert len(server.seen) == 5
    assert len(set(server.seen)) == 1


def test_two_that_talk_at_once_have_one_each_and_one_of_them_stays(server, a_run):
    first, second = a_run(1), a_run(2)
    first.post("events", b"{}")
    second.post("events", b"{}")
    assert len(set(server.seen)) == 2
    first.close()
    second.close()
    third = a_run(3)
    third.post("events", b"{}")
    assert server.seen[2] == server.seen[0]
    third.close()


def test_one_that_the_server_has_ended_meanwhile_is_not_used(server, a_run):
    first = a_run(1)
    first.post("events", b"{}")
    first.close()
    server.end()
    [resting] = line._resting.values()
    resting.sock.settimeout(60)
    until(lambda: resting.sock.recv(1, 2) == b"")  # MSG_PEEK: the news of it has come
    second = a_run(2)
    second.post("events", b"{}")
    second.close()
    assert len(set(server.seen)) == 2


def test_one_whose_answer_never_came_is_ended(server, a_run, monkeypatch):
    first = a_run(1)
    first.post("events", b"{}")
    monkeypatch.setattr(line, "seal", lambda *_: "another")
    with pytest.raises(line.http.client.HTTPException):
        first.post("events", b"{}")
    first.close()
    assert line._resting == {}
