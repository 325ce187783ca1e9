"""Waiting in a notebook: one output, drawn anew. IPython is a fake here; tests/machine has real kernels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sdk_fakes import FakeBoto

from penstock.client import live, record
from penstock.client.connection import Connection
from penstock.client.job_log import JobLog, Line
from penstock.errors import ServerUnavailable
from penstock.processing import ProcessingJob
from penstock.session import Session


class Cell:
    """The outputs of a cell by their display ids, and how often each was drawn; and the time."""

    def __init__(self) -> None:
        self.outputs: dict[str, dict[str, str]] = {}
        self.drawn = 0
        self.now = 100.0

    def display(self, data: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id not in self.outputs
        self.outputs[display_id] = data
        self.drawn += 1

    def update_display(self, data: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id in self.outputs
        self.outputs[display_id] = data
        self.drawn += 1

    @property
    def html(self) -> str:
        (output,) = self.outputs.values()
        return output["text/html"]


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """This process is a kernel."""
    cell = Cell()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(
        sys.modules,
        "IPython.display",
        SimpleNamespace(display=cell.display, update_display=cell.update_display),
    )
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: cell.now))
    return cell


@pytest.fixture
def job(local: FakeBoto, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The record of a job `j`, which may be changed; its log has a line."""
    told: dict[str, Any] = {
        "name": "j", "status": "Completed", "phase": "completed", "created_at": 0, "ended_at": 1000,
        "phases": {"queued": 0, "completed": 1000}, "failure_reason": None, "exit_message": None, "request": {},
        "progress": None, "uploads": [], "queue": None, "hosts": [],
    }  # fmt: skip
    monkeypatch.setattr(record, "fetch", lambda *_: told)
    local.answers |= {
        "describe_processing_job": {
            "ProcessingJobStatus": "Completed",
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}},
        },
        "describe_log_streams": {"logStreams": [{"logStreamName": "j/algo-1"}]},
        "get_log_events": lambda **asked: {
            "events": [] if "nextToken" in asked else [{"timestamp": 1, "message": "a <b>line</b>"}],
            "nextForwardToken": "t",
        },
    }
    return told


@pytest.mark.parametrize("logs", [True, False])
def test_a_wait_in_a_notebook_is_one_output(
    cell: Cell, job: dict[str, Any], capsys: pytest.CaptureFixture[str], logs: bool
) -> None:
    ProcessingJob(Session(), "j", [], []).wait(logs=logs)
    assert ("a &lt;b&gt;line&lt;/b&gt;" in cell.html) == logs
    assert ">Completed<" in cell.html
    (output,) = cell.outputs.values()
    assert output["text/plain"].startswith("ProcessingJob j: Completed")
    assert capsys.readouterr().out == ""


def test_the_whole_log_is_printed_on_demand(
    cell: Cell, job: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ProcessingJob(Session(), "j", [], []).logs()
    assert capsys.readouterr().out == "a <b>line</b>\n"
    assert cell.outputs == {}


@pytest.mark.parametrize(
    "ipython",
    [
        None,
        SimpleNamespace(get_ipython=lambda: None),
        SimpleNamespace(get_ipython=SimpleNamespace),  # IPython in a terminal
    ],
)
def test_elsewhere_lines_are_printed(
    ipython: Any,
    job: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    ProcessingJob(Session(), "j", [], []).wait()
    assert capsys.readouterr().out == "a <b>line</b>\n"


def test_a_job_of_another_server_has_its_lines_printed(
    cell: Cell, job: dict[str, Any], local: FakeBoto, capsys: pytest.CaptureFixture[str]
) -> None:
    ProcessingJob(Session(boto_session=local), "j", [], []).wait()
    assert capsys.readouterr().out == "a <b>line</b>\n"
    assert cell.outputs == {}


@pytest.fixture
def drawn(cell: Cell, job: dict[str, Any], local: FakeBoto) -> Callable[[int], live.Card]:
    """Make the card of a job with so many instances."""
    job |= {"status": "InProgress", "phase": "running", "ended_at": None, "phases": {"running": 0}}

    def make(instances: int) -> live.Card:
        found = live.card(Connection(), "j", JobLog(local.client("logs"), "j", instances))
        assert found is not None
        return found

    return make


def lines(*texts: str, host: str = "algo-1") -> list[Line]:
    return [Line(0, 0, host, text) for text in texts]


def test_a_flood_of_lines_has_it_drawn_seldom(cell: Cell, drawn: Callable[[int], live.Card]) -> None:
    card = drawn(1)
    for number in range(1000):
        card.show(lines(f"line {number}"))
        cell.now += 0.01
    assert 1000 * 0.01 / live.QUICKEST - 3 <= cell.drawn <= 1000 * 0.01 / live.QUICKEST + 1
    card.idle("InProgress")
    assert cell.html.count("line 9") == live.SHOWN
    card.end("Completed")
    assert "line 999\n" in cell.html.replace("</pre>", "\n")
    assert "line 899\n" not in cell.html
    assert len(cell.outputs) == 1


def test_nothing_new_has_it_drawn_each_second(cell: Cell, drawn: Callable[[int], live.Card]) -> None:
    card = drawn(1)
    for _ in range(100):
        card.idle("InProgress")
        cell.now += 0.1
    assert 9 <= cell.drawn <= 11


def test_lines_of_several_instances_have_their_names(cell: Cell, drawn: Callable[[int], live.Card]) -> None:
    card = drawn(2)
    card.show(lines("x"))
    card.show(lines("y", host="algo-2"))
    card.end("Completed")
    assert "algo-1 | x\nalgo-2 | y" in cell.html


def test_a_server_that_is_away_leaves_it_as_it_is(
    cell: Cell, drawn: Callable[[int], live.Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = drawn(1)
    card.idle("InProgress")
    before = cell.html

    def fetch(*_: Any) -> dict[str, Any]:
        raise ServerUnavailable("it is away")

    monkeypatch.setattr(record, "fetch", fetch)
    cell.now += 10
    card.idle("InProgress")
    assert cell.html == before
