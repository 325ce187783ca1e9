"""A runner's lease, by a clock that the test moves."""

import http.client
import threading

import pytest
from failure_table import assert_told
from sealing import answer
from stranger import stranger

from penstock.config import Settings
from penstock.errors import ConfigurationError, InternalFailure
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
        self.timeouts = []

    def post(self, what, body, timeout):
        assert (what, body) == ("lease", b"")
        self.asked.set()
        self.timeouts.append(timeout)
        if isinstance(self.answer, dict):
            return self.answer
        raise self.answer

    def close(self):
        pass


class World:
    def __init__(self, patience=3600.0):
        self.time = 1000.0
        self.line = FakeLine()
        self.stop = Stop()
        self.ended = []
        self.over = threading.Event()
        self.lease = Lease(self.line, self.stop, patience, lambda: self.time, self.end)

    def end(self, code):
        self.ended.append(code)
        self.over.set()

    def silent_for(self, seconds):
        self.line.answer = ConnectionError("nobody")
        self.time += seconds
        self.lease.beat()
        self.lease.judge()


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


@pytest.mark.parametrize("begun", [False, True])
def test_who_was_given_up_ends_at_once(world, begun):
    if begun:
        world.lease.beat()
    world.line.answer = Refused()
    world.lease.beat()
    assert world.ended == [EXIT_CODE]


def test_who_was_given_up_after_its_work_has_nothing_left_to_end(world):
    world.lease.beat()
    world.lease.ease()
    world.line.answer = Refused()
    world.lease.beat()
    assert world.ended == []


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
    assert_told("no server answered the runner", world.stop.failure.reason)
    assert "No server has answered the runner for 50 s" in world.stop.failure.reason
    assert "100 s (four fifths of PENSTOCK_RUNNER_LEASE)" in world.stop.failure.reason
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

    def slow(*asked):
        world.time += 60
        return real(*asked)

    world.line.post = slow
    world.lease.beat()  # asked now, answered in 60 s: 40 are left of it
    world.line.post = real
    world.silent_for(39)
    assert world.ended == []
    world.silent_for(1)
    assert world.ended == [EXIT_CODE]


def test_word_in_time_lets_it_go_on(world):
    unreadable = ({}, {"milliseconds": None, "stop": False}, {"milliseconds": 5})
    for error in (
        ConnectionError("nobody"),
        http.client.HTTPException("500"),
        RuntimeError("!"),
        *unreadable,
    ):
        world.lease.beat()
        world.line.answer = error
        world.time += 45
        world.lease.beat()
        world.lease.judge()
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


def test_the_time_is_judged_while_a_server_hangs(world):
    """Who is asked may take as long as he likes."""
    world.lease.hold()
    hanging, answered = threading.Event(), threading.Event()

    def hang(*_):
        hanging.set()
        answered.wait(30)
        raise TimeoutError

    world.line.post = hang
    assert hanging.wait(30)
    world.time += 100
    assert world.over.wait(20)
    assert not answered.is_set()
    assert world.ended[0] == EXIT_CODE
    answered.set()
    world.lease.close()


def test_of_servers_that_hang_some_can_be_asked_before_the_program_is_ended(world):
    """Also with the shortest lease."""
    with pytest.raises(ConfigurationError, match="PENSTOCK_RUNNER_LEASE"):
        Settings.read({"PENSTOCK_RUNNER_LEASE": "9"})
    for milliseconds, timeout in ((8000, 1.0), (480_000, 8.0)):
        world.line.answer = {"milliseconds": milliseconds, "stop": False}
        world.lease.beat()
        world.lease.beat()
        assert world.line.timeouts[-1] == timeout
    assert world.line.timeouts[0] == 8.0


def test_who_never_hears_a_first_word_does_not_wait_for_ever():
    class Ended(BaseException):
        pass

    world = World(patience=-1.0)
    world.line.answer = ConnectionError("nobody")

    def end(code):
        world.ended.append(code)
        raise Ended

    world.lease._end = end
    with pytest.raises(Ended):
        world.lease.hold()
    assert world.ended == [EXIT_CODE]


class TestLine:
    def line(self, tmp_path, servers):
        folder = RunFolder(tmp_path / "runs" / "job-1" / "algo-1")
        folder.path.mkdir(parents=True)
        folder.run.touch()
        (tmp_path / "runs" / "servers").write_text("".join(f"{url}\n" for url in servers))
        run = Run(
            "j", "job-1", "arn", "algo-1", ("algo-1",), {}, "r", "token", "http://x", str(tmp_path / "home"),
            S3Access(None, "r"), "/e", leased=True,
        )  # fmt: skip
        return Line(run, folder)

    def test_when_one_does_not_answer_the_next_is_asked(self, tmp_path, answering):
        line = self.line(tmp_path, ["http://127.0.0.1:9", answering.url])
        with pytest.raises(OSError, match="refused"):
            line.post("lease", b"")
        assert line.post("lease", b"") == {"milliseconds": 5, "stop": False}
        assert line.post("lease", b"") == {"milliseconds": 5, "stop": False}  # and it is kept
        assert answering.paths == ["/penstock/runs/job-1/algo-1/lease"] * 2
        line.close()

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, b"<html>"), (200, b""), (200, b"[]"), (200, b"\xff"), (200, b'{"milliseconds": 5, "stop": true}'),
            (401, b""), (403, b"{}"), (404, b'{"error": "there is no such run"}'), (410, b"{}"),
        ],
    )  # fmt: skip
    def test_what_a_stranger_says_is_no_answer(self, tmp_path, answering, status, body):
        """Another program, or a server of another database, at an address where a server was."""
        with stranger(status, body) as url:
            line = self.line(tmp_path, [url, answering.url])
            with pytest.raises(http.client.HTTPException, match="none of a server's that knows this run"):
                line.post("lease", b"")
            assert line.post("lease", b"") == {"milliseconds": 5, "stop": False}
            line.close()

    def test_a_run_whose_folder_was_removed_is_known_no_more(self, tmp_path):
        """Its job has ended, and may be gone from the record before the runner has heard that its end was taken."""
        line = self.line(tmp_path, [])
        with stranger(404, b"{}") as url:
            (tmp_path / "runs" / "servers").write_text(url)
            line._folder.run.unlink()
            with pytest.raises(Refused):
                line.post("events", b"")
            line.close()

    def test_only_a_server_that_knows_the_run_says_that_it_has_ended(self, tmp_path, answering):
        line = self.line(tmp_path, [answering.url])
        answering.status = 410
        with pytest.raises(Refused):
            line.post("lease", b"")
        answering.token = "another"
        with pytest.raises(http.client.HTTPException, match="knows this run"):
            line.post("lease", b"")
        line.close()

    def test_an_answer_to_another_question_is_none(self, tmp_path, answering, monkeypatch):
        line = self.line(tmp_path, [answering.url])
        assert line.post("lease", b"")["milliseconds"] == 5
        monkeypatch.setattr("sealing.NONCE", "Authorization")
        with pytest.raises(http.client.HTTPException, match="knows this run"):
            line.post("lease", b"")
        line.close()

    def test_a_connection_that_is_closed_after_an_answer_is_not_opened_again_at_a_stale_address(
        self, tmp_path, answering
    ):
        line = self.line(tmp_path, [answering.url])
        answering.then = "close"
        line.post("lease", b"")
        (tmp_path / "runs" / "servers").write_text("")
        with pytest.raises(ConnectionError, match="no server runs"):
            line.post("lease", b"")

    def test_a_home_that_can_not_be_read_leaves_the_others(self, tmp_path, answering, monkeypatch):
        def unreadable(_):
            raise ConfigurationError("Too many open files")

        monkeypatch.setattr("penstock.runner.line.Home.server", unreadable)
        line = self.line(tmp_path, [answering.url])
        assert line.post("lease", b"")["milliseconds"] == 5
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
            answer(self, self.server.status, body, self.server.token, Connection=self.server.then)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.paths, server.status, server.token, server.then = [], 200, "token", "keep-alive"
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
