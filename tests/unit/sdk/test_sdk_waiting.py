"""Following a job: what is printed, when it ends, and what is raised. Time is the test's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Self

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from sdk_fakes import FakeBoto

from penstock.client import job_log, patience, record, screen, waiting
from penstock.errors import ServerUnavailable
from penstock.exceptions import CapacityError, UnexpectedStatusException
from penstock.processing import ProcessingJob
from penstock.session import Session


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (patience, screen, waiting):
        monkeypatch.setattr(module, "time", clock)
    return clock


class Server:
    """A job whose status and log lines depend on the time; away, it answers nothing."""

    away = (0.0, 0.0)

    def __init__(
        self, boto: FakeBoto, clock: Clock, ends: float, status: str = "Completed", **more: Any
    ) -> None:
        self.clock, self.ends, self.status, self.more = clock, ends, status, more
        self.lines: dict[str, list[tuple[float, str]]] = {}
        self.instances = 1
        boto.answers["describe_processing_job"] = self.describe
        boto.answers["describe_log_streams"] = self.streams
        boto.answers["get_log_events"] = self.events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def next(self, seconds: float, log: int | None = None) -> dict[str, Any]:
        """As `record.News` has it."""
        until = self.clock.now + seconds
        while True:
            if self.away[0] < self.clock.now < self.away[1]:
                raise ServerUnavailable("it is away")
            ended = self.clock.now >= self.ends
            size = sum(len(self._seen(stream)) for stream in self.lines)
            if ended or (log is not None and size > log) or self.clock.now >= until:
                return {"status": self.status if ended else "InProgress", "ended": ended, "log": size}
            self.clock.sleep(min(0.1, until - self.clock.now))

    def describe(self, ProcessingJobName: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        if self.away[0] < self.clock.now < self.away[1]:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
        ended = self.clock.now >= self.ends
        return {
            "ProcessingJobName": ProcessingJobName,
            "ProcessingJobStatus": self.status if ended else "InProgress",
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": self.instances}},
            **(self.more if ended else {}),
        }

    def _seen(self, stream: str) -> list[dict[str, Any]]:
        lines = self.lines.get(stream, [])
        return [{"timestamp": int(at * 1000), "message": text} for at, text in lines if at <= self.clock.now]

    def streams(self, logStreamNamePrefix: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
        names = [
            name for name in sorted(self.lines) if name.startswith(logStreamNamePrefix) and self._seen(name)
        ]
        return {"logStreams": [{"logStreamName": name} for name in names]}

    def events(
        self,
        logStreamName: str,  # noqa: N803 - AWS's name
        startFromHead: bool,  # noqa: N803 - AWS's name
        nextToken: str = "0",  # noqa: N803 - AWS's name
        limit: int = 2,
        **_: Any,
    ) -> dict[str, Any]:
        seen = self._seen(logStreamName)
        if not startFromHead:
            return {"events": seen[-limit:], "nextForwardToken": "-"}
        page = seen[int(nextToken) : int(nextToken) + limit]
        return {"events": page, "nextForwardToken": str(int(nextToken) + len(page))}


@pytest.fixture
def serve(local: FakeBoto, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Server]:
    """Make a job at the local server."""

    def serve(*arguments: Any, **more: Any) -> Server:
        server = Server(local, clock, *arguments, **more)
        monkeypatch.setattr(record, "News", lambda *_: server)
        return server

    return serve


def test_lines_are_printed_as_they_come_and_all_of_them(
    serve: Callable[..., Server], boto: FakeBoto, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    # The last lines are written in the moment in which the job ends.
    lines = [(1.0, "one"), (1.0, "two"), (1.0, "three"), (5.0, "four"), (5.0, "five")]
    serve(5.0).lines = {"j/algo-1": lines}
    ProcessingJob(Session(), "j", [], []).wait()
    assert capsys.readouterr().out.splitlines() == ["one", "two", "three", "four", "five"]
    assert clock.now - 5.0 <= 0.1
    # A server elsewhere tells no news: it is asked.
    clock.now, clock.sleeps = 0.0, []
    Server(boto, clock, 5.0).lines = {"j/algo-1": lines}
    ProcessingJob(Session(boto_session=boto), "j", [], []).wait()
    assert capsys.readouterr().out.splitlines() == ["one", "two", "three", "four", "five"]
    assert clock.now - 5.0 <= waiting.SLOWEST
    assert max(clock.sleeps) <= waiting.SLOWEST
    assert min(clock.sleeps) == waiting.QUICKEST


def test_news_make_asking_quick_again(boto: FakeBoto, clock: Clock) -> None:
    server = Server(boto, clock, 4.0)
    server.lines = {"j/algo-1": [(2.0, "one")]}
    ProcessingJob(Session(boto_session=boto), "j", [], []).wait()
    slow = clock.sleeps.index(waiting.SLOWEST)
    assert waiting.QUICKEST in clock.sleeps[slow:]


def test_instances_are_merged_by_time(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(0.0)
    server.instances = 2
    server.lines = {
        "j/algo-1": [(-3.0, "a"), (-1.0, "c")],
        "j/algo-2": [(-2.0, "b")],
        "other/algo-1": [(-9, "x")],
    }
    Session().logs_for_processing_job("j")
    assert capsys.readouterr().out.splitlines() == ["algo-1 | a", "algo-2 | b", "algo-1 | c"]


def test_the_lines_of_an_attempt_that_ended_between_two_looks_are_printed(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(5.0)
    server.lines = {"j/algo-1-1": [(1.0, "lost"), (5.0, "its last")], "j/algo-1-2": [(5.0, "anew")]}
    ProcessingJob(Session(), "j", [], []).wait()
    assert capsys.readouterr().out.splitlines() == ["lost", "its last", "anew"]


def test_an_instance_keeps_its_colour_in_another_attempt(boto: FakeBoto, clock: Clock) -> None:
    server = Server(boto, clock, 9.0)
    server.lines = {"j/algo-1-1": [(0.0, "a")], "j/algo-2-1": [(0.0, "b")]}
    log = job_log.JobLog(boto.client("logs"), "j", 2)
    assert [(line.stream, line.host) for line in log.news()] == [(0, "algo-1"), (1, "algo-2")]
    server.lines |= {"j/algo-1-2": [(1.0, "c")], "j/algo-2-2": [(1.0, "d")]}
    clock.now = 1.0
    assert [(line.stream, line.text) for line in log.news()] == [(0, "c"), (1, "d")]


def test_a_stream_that_comes_late_is_found(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(5.0)
    server.instances = 2
    server.lines = {"j/algo-1": [(1.0, "a")], "j/algo-2": [(3.0, "b")]}
    Session().logs_for_processing_job("j", wait=True)
    assert capsys.readouterr().out.splitlines() == ["algo-1 | a", "algo-2 | b"]


def test_without_wait_it_does_not_wait(
    serve: Callable[..., Server], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(1000.0)
    server.lines = {"j/algo-1": [(0.0, "so far")]}
    Session().logs_for_processing_job("j")
    assert capsys.readouterr().out == "so far\n"
    assert clock.sleeps == []


def test_without_a_line_the_place_in_the_queue_is_told(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(1000.0)
    monkeypatch.setattr(record, "fetch", lambda *_: {"queue": {"position": 2, "reason": "needs 2 CPUs"}})
    Session().logs_for_processing_job("j")
    assert caplog.messages == ["j has no log yet. It is 2nd in the queue: needs 2 CPUs."]


def test_colours_are_for_terminals(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    server = serve(0.0)
    server.instances = 2
    server.lines = {"j/algo-1": [(-2.0, "a")], "j/algo-2": [(-1.0, "b")]}
    Session().logs_for_processing_job("j")
    assert capsys.readouterr().out == "\x1b[34ma\x1b[0m\n\x1b[35mb\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    Session().logs_for_processing_job("j")
    assert capsys.readouterr().out == "algo-1 | a\nalgo-2 | b\n"


def test_dots_while_nothing_is_there(
    serve: Callable[..., Server], local: FakeBoto, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(31.0)
    server.lines = {"j/algo-1": [(25.0, "late")]}
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeLogStreams")

    def streams(**request: Any) -> dict[str, Any]:
        if server.clock.now < 12:
            raise missing
        return server.streams(**request)

    local.answers["describe_log_streams"] = streams
    ProcessingJob(Session(), "j", [], []).wait()
    assert capsys.readouterr().out == "..\nlate\n"


def test_a_failure_carries_reason_and_last_lines(serve: Callable[..., Server]) -> None:
    server = serve(1.0, "Failed", FailureReason="AlgorithmError: exit code 1")
    server.lines = {"j/algo-1": [(0.5, f"line {n}") for n in range(30)]}
    with pytest.raises(UnexpectedStatusException) as caught:
        ProcessingJob(Session(), "j", [], []).wait()
    text = str(caught.value)
    assert text.startswith(
        "Error for Processing job j: Failed. Reason: AlgorithmError: exit code 1. Check troubleshooting guide"
    )
    assert text.splitlines()[-20:] == [f"  line {n}" for n in range(10, 30)]
    assert "line 9\n" not in text
    assert caught.value.actual_status == "Failed"
    assert caught.value.allowed_statuses == ["Completed", "Stopped"]


def test_a_failure_without_logs_reads_the_last_lines(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(1.0, "Failed")
    server.lines = {"j/algo-1": [(0.5, "why")]}
    with pytest.raises(
        UnexpectedStatusException, match=r"Reason: \(No reason provided\)\.[^\n]*\n[^\n]*\n  why$"
    ):
        ProcessingJob(Session(), "j", [], []).wait(logs=False)
    assert capsys.readouterr().out == "*"


def test_a_failure_whose_log_can_t_be_read_is_a_failure(
    serve: Callable[..., Server], local: FakeBoto, caplog: pytest.LogCaptureFixture
) -> None:
    serve(0.0, "Failed", FailureReason="CapacityError: no machine")
    local.answers["describe_log_streams"] = ClientError(
        {"Error": {"Code": "AccessDenied"}}, "DescribeLogStreams"
    )
    with pytest.raises(CapacityError, match="no machine"):
        ProcessingJob(Session(), "j", [], []).wait(logs=False)
    assert "The log of j can't be read" in caplog.text


def test_a_stop_is_a_warning(serve: Callable[..., Server], caplog: pytest.LogCaptureFixture) -> None:
    serve(0.0, "Stopped")
    with caplog.at_level(logging.WARNING):
        ProcessingJob(Session(), "j", [], []).wait()
    assert "Job ended with status 'Stopped' rather than 'Completed'." in caplog.text


def test_status_characters_come_at_the_pace_of_poll(
    serve: Callable[..., Server], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(12.0)
    description = Session().wait_for_processing_job("j", poll=5)
    assert description["ProcessingJobStatus"] == "Completed"
    assert capsys.readouterr().out == "..!"
    assert clock.now - 12.0 <= waiting.SLOWEST


def test_aws_itself_is_asked_at_its_own_pace(boto: FakeBoto, clock: Clock) -> None:
    Server(boto, clock, 12.0)
    session = Session(boto_session=boto)

    class Meta:
        endpoint_url = "https://api.sagemaker.us-east-1.amazonaws.com"

    client = boto.client("sagemaker")
    client.meta = Meta()  # type: ignore[attr-defined]
    session.sagemaker_client = client
    session.wait_for_processing_job("j", poll=5)
    assert clock.sleeps == [5, 5, 5]


def test_a_server_that_is_away_for_a_while_is_waited_for(
    serve: Callable[..., Server], boto: FakeBoto, clock: Clock
) -> None:
    server = serve(60.0)
    server.away = (10.0, 40.0)
    ProcessingJob(Session(), "j", [], []).wait(logs=False)
    assert clock.now >= 60.0
    clock.now = 0.0
    server = Server(boto, clock, 60.0)
    server.away = (10.0, 40.0)
    ProcessingJob(Session(boto_session=boto), "j", [], []).wait(logs=False)
    assert clock.now >= 60.0


def test_a_server_that_stays_away_is_an_error(local: FakeBoto, clock: Clock) -> None:
    local.answers["describe_processing_job"] = EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
    with pytest.raises(EndpointConnectionError):
        ProcessingJob(Session(), "j", [], []).wait()
    assert clock.now >= patience.PATIENCE


@pytest.mark.parametrize("logs", [True, False])
def test_an_interrupted_wait_says_that_the_job_goes_on(
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    logs: bool,
) -> None:
    serve(60.0)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ProcessingJob(Session(), "j", [], []).wait(logs=logs)
    said = capsys.readouterr().err
    assert "penstock stop j" in said
    assert "penstock logs -f j" in said


def test_many_streams_are_read_page_by_page(local: FakeBoto) -> None:
    def pages(nextToken: str | None = None, **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name
        if nextToken is None:
            return {"logStreams": [{"logStreamName": "j/algo-1"}], "nextToken": "t"}
        assert nextToken == "t"
        return {"logStreams": [{"logStreamName": "j/algo-2"}]}

    local.answers["describe_log_streams"] = pages
    assert job_log.stream_names(local.client("logs"), "j") == ["j/algo-1", "j/algo-2"]


class TestTransferLine:
    """What a person sees of a transfer; `told` is the server's record at a time."""

    @pytest.fixture(autouse=True)
    def person(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        for module in (screen, waiting):
            monkeypatch.setattr(module, "looked_on", lambda: True)
        monkeypatch.setenv("NO_COLOR", "1")
        transfer = {"way": "download", "objects": 1, "bytes": 1024, "total_objects": 2, "total_bytes": 2048}

        def fetch(*_: Any) -> dict[str, Any]:
            return {"progress": transfer if clock.now < 4 else None}

        monkeypatch.setattr(record, "fetch", fetch)

    def test_it_is_written_over_and_gives_way_to_the_log(
        self, serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
    ) -> None:
        server = serve(5.0)
        server.lines = {"j/algo-1": [(2.5, "one"), (4.5, "two")]}
        ProcessingJob(Session(), "j", [], []).wait()
        line = "Downloading inputs: 1 of 2 objects, 1.0 KiB of 2.0 KiB (50%)"
        away = "\r" + " " * len(line) + "\r"
        written = capsys.readouterr().out
        assert written.replace(f"\r{line}", "<line>") in {
            f"<line><line>{away}one\n<line>{away}two\n",
            f"<line>{away}one\n<line>{away}two\n",
        }

    def test_it_stands_in_the_place_of_dots(
        self, serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
    ) -> None:
        serve(6.0)
        ProcessingJob(Session(), "j", [], []).wait(logs=False)
        written = capsys.readouterr().out
        assert written.count("Downloading inputs") == 3
        assert written.endswith("\r.!")

    def test_a_job_that_waits_shows_its_place_in_the_queue(
        self,
        serve: Callable[..., Server],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        place = {"position": 22, "reason": "needs 2 CPUs, 0 of 4 are free; held by a (4 CPUs)"}
        monkeypatch.setattr(record, "fetch", lambda *_: {"progress": None, "queue": place})
        serve(3.0)
        ProcessingJob(Session(), "j", [], []).wait(logs=False)
        assert "\r22nd in the queue: needs 2 CPUs, 0 of 4 are free; held by a" in capsys.readouterr().out

    def test_a_quick_job_is_not_asked_for_it(
        self, serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
    ) -> None:
        server = serve(0.5)
        server.lines = {"j/algo-1": [(0.2, "one")]}
        ProcessingJob(Session(), "j", [], []).wait()
        assert capsys.readouterr().out == "one\n"

    def test_no_program_reads_it(
        self,
        serve: Callable[..., Server],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for module in (screen, waiting):
            monkeypatch.setattr(module, "looked_on", lambda: False)
        serve(5.0)
        ProcessingJob(Session(), "j", [], []).wait()
        assert capsys.readouterr().out == ""
