"""A runner's lease, by a clock that the test moves."""

import http.client
import threading

import pytest
from stranger import stranger

from penstock.errors import InternalFailure
from penstock.job.run import Run, S3Access
from penstock.runner.folder import RunFolder
from penstock.runner.lease import EXIT_CODE, Lease
from penstock.runner.line import Line, Refused
from penstock.runner.stop import Stop


class FakeLine:
    """Answers what it is told to; an exception is raised."""

    def __init__(self):
        self.answer = {"milliseconds": 100_000, "stop": False}
        self.asked = threading.Event()

    def post(self, what, body):
        assert (what, body) == ("lease", b"")
        self.asked.set()
        if isinstance(self.answer, dict):
            return self.answer
        raise self.answer

    def close(self):
        pass


class World:
    def __init__(self):
        self.time = 1000.0
        self.line = FakeLine()
        self.stop = Stop()
        self.ended = []
        self.lease = Lease(self.line, self.stop, lambda: self.time, self.ended.append)

    def silent_for(self, seconds):
        self.line.answer = ConnectionError("nobody")
        self.time += seconds
        self.lease.beat()


@pytest.fixture
def world():
    return World()


def test_nothing_begins_before_a_server_has_said_so(world):
    world.line.answer = ConnectionError("nobody")
    holding = threading.Thread(target=world.lease.hold)
    holding.start()
    assert world.line.asked.wait(30)
    assert holding.is_alive()
    world.line.answer = {"milliseconds": 100_000, "stop": False}
    holding.join(30)
    assert not holding.is_alive()
    assert not world.stop.due()
    world.lease.close()


def test_who_was_given_up_does_not_begin(world):
    world.line.answer = Refused()
    world.lease.hold()
    assert world.stop.asked
    assert world.stop.failure is None
    world.lease.close()


def test_a_wish_to_stop_comes_with_the_lease(world):
    world.line.answer = {"milliseconds": 100_000, "stop": True}
    world.lease.beat()
    assert world.stop.asked
    assert world.stop.failure is None


def test_half_a_lease_without_word_ends_the_program_and_all_of_it_the_runner(world):
    world.lease.beat()
    world.silent_for(49)
    assert not world.stop.due()
    world.silent_for(1)
    assert world.stop.due()
    assert isinstance(world.stop.failure, InternalFailure)
    assert "No server has answered the runner for 50 s" in world.stop.failure.reason
    assert "100 s (PENSTOCK_RUNNER_LEASE)" in world.stop.failure.reason
    assert world.stop.grace(120) == pytest.approx(
        25, abs=1
    )  # half of what is left; the rest is for its outputs
    assert world.stop.grace(5) == 5
    world.silent_for(49)
    assert world.ended == []
    world.silent_for(1)
    assert world.ended == [EXIT_CODE]


def test_the_time_counts_from_the_question_and_not_from_the_answer(world):
    world.lease.beat()
    real = world.line.post

    def slow(what, body):
        world.time += 60
        return real(what, body)

    world.line.post = slow
    world.lease.beat()  # asked now, answered in 60 s: 40 are left of it
    world.line.post = real
    world.silent_for(39)
    assert world.ended == []
    world.silent_for(1)
    assert world.ended == [EXIT_CODE]


def test_word_in_time_lets_it_go_on(world):
    for error in (ConnectionError("nobody"), http.client.HTTPException("the server answered 500")):
        world.lease.beat()
        world.line.answer = error
        world.time += 45
        world.lease.beat()
        world.line.answer = {"milliseconds": 100_000, "stop": False}
        world.lease.beat()
        world.time += 45
    assert not world.stop.due()
    assert world.stop.grace(7) == 7


def test_who_has_done_its_work_has_all_the_time_to_tell_of_it(world):
    world.lease.beat()
    world.lease.ease()
    world.silent_for(1000)
    assert not world.stop.due()
    assert world.ended == []


def test_who_was_asked_to_stop_before_does_not_fail_for_its_lease(world):
    world.lease.beat()
    world.stop.ask()
    world.silent_for(60)
    assert world.stop.failure is None


class TestLine:
    def line(self, tmp_path, servers, home=None):
        folder = RunFolder(tmp_path / "runs" / "job-1" / "algo-1")
        folder.path.mkdir(parents=True)
        (tmp_path / "runs" / "servers").write_text("".join(f"{url}\n" for url in servers))
        run = Run(
            "j", "job-1", "arn", "algo-1", ("algo-1",), {}, "r", "token", "http://x", str(home or tmp_path / "home"),
            S3Access(None, "r"), "/e",
        )  # fmt: skip
        return Line(run, folder, timeout=2)

    def test_when_one_does_not_answer_the_next_is_asked(self, tmp_path, answering):
        line = self.line(tmp_path, ["http://127.0.0.1:9", answering.url])
        with pytest.raises(OSError, match="refused"):
            line.post("lease", b"")
        assert line.post("lease", b"") == {"milliseconds": 5, "stop": False}
        assert line.post("lease", b"") == {"milliseconds": 5, "stop": False}  # and it is kept
        assert answering.paths == ["/penstock/runs/job-1/algo-1/lease"] * 2
        line.close()

    @pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b"\xff"])
    def test_what_no_server_says_is_no_answer(self, tmp_path, body):
        with stranger(200, body) as url:
            line = self.line(tmp_path, [url])
            with pytest.raises(http.client.HTTPException, match="none of a server's"):
                line.post("lease", b"")
            line.close()

    def test_with_none_known_nothing_is_sent(self, tmp_path):
        line = self.line(tmp_path, [])
        with pytest.raises(ConnectionError, match="no server runs"):
            line.post("lease", b"")


@pytest.fixture
def answering():
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.server.paths.append(self.path)
            body = b'{"milliseconds": 5, "stop": false}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.paths = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
