"""The connection to a server goes from one run of a runner's process to the next."""

import http.server
import socket
import threading

import pytest
from patience import until
from sealing import answer

from penstock.job.run import Run, S3Access
from penstock.runner.folder import RunFolder
from penstock.runner.line import Line, _kept


class Server:
    """Answers each request, and keeps all its connections."""

    def __init__(self):
        self.connections = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections.append(self.connection)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                answer(self, 200, b"{}", "the-token")

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def hang_up(self):
        self.connections[-1].shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.thread.join()
    made.http.server_close()


@pytest.fixture
def told(server, tmp_path):
    """A run that tells something and ends; how many connections there have been by then."""

    def tell(url=server.url, **more):
        line = Line(
            Run(
                job_name="j",
                job_uid="j-1",
                job_arn="arn:j",
                host="algo-1",
                hosts=("algo-1",),
                request={},
                region="eu-west-1",
                token="the-token",
                report_url=url,
                home=None,
                s3=S3Access(None, "r"),
                environments="/e",
                **more,
            ),
            RunFolder(tmp_path),
        )
        line.post("progress", b"{}")
        line.hand_on()
        return len(server.connections)

    yield tell
    for _, connection, _ in _kept:
        connection.close()
    _kept.clear()


def test_the_next_run_goes_on_with_it(told):
    assert [told() for _ in range(3)] == [1, 1, 1]


def test_a_run_with_other_servers_has_one_of_its_own(told, server):
    assert [told(), told(others=("http://127.0.0.1:9",)), told()] == [1, 2, 3]


def test_one_that_was_closed_meanwhile_is_not_gone_on_with(told, server):
    told()
    server.hang_up()
    assert told() == 2


def test_one_of_no_more_use_is_closed(told, server):
    told()
    first = server.connections[0]
    told(others=("http://127.0.0.1:9",))
    until(lambda: first.fileno() == -1)  # as the server does when its other end is closed
