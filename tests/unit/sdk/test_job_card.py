"""A job as HTML and as text: what is shown of it, and that nothing of a job's own words becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from failure_table import assert_told
from sdk_fakes import FakeBoto

from penstock.client import card, record, view
from penstock.client.view import Data, View
from penstock.errors import PenstockError
from penstock.processing import ProcessingJob
from penstock.session import Session

EVIL = "<script>alert('x')</script>\"&"

REQUEST = {
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.xlarge"}},
    "AppSpecification": {"ImageUri": "python:3.11"},
    "ProcessingInputs": [
        {"InputName": "all", "S3Input": {"S3Uri": "s3://b/all", "S3DataDistributionType": "FullyReplicated"}},
        {
            "InputName": "part",
            "S3Input": {"S3Uri": "s3://b/part", "S3DataDistributionType": "ShardedByS3Key"},
        },
    ],
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/o"}}]},
}


def host(**more: Any) -> dict[str, Any]:
    inputs = [
        {"name": "all", "objects": 3, "bytes": 30},
        {"name": "part", "objects": 2, "bytes": 20},
    ]
    environment = {"python": "3.11.2", "packages": {"pip": "1"}, "deviations": ["torch 1.10.2 is missing"]}
    return {"name": "algo-1", "inputs": inputs, "environment": environment, **more}


def told(**more: Any) -> dict[str, Any]:
    """A record of the server's, as it is while the program runs."""
    return {
        "name": "j",
        "status": "InProgress",
        "phase": "running",
        "created_at": 1000,
        "ended_at": None,
        "phases": {"queued": 1000, "preparing": 1500, "running": 2000},
        "failure_reason": None,
        "exit_message": None,
        "request": REQUEST,
        "progress": None,
        "uploads": [],
        "queue": None,
        "hosts": [host(), host(name="algo-2")],
        **more,
    }


ENDED = told(
    status="Completed",
    phase="completed",
    ended_at=5000,
    phases={"queued": 1000, "preparing": 1500, "running": 2000, "completed": 5000},
    uploads=[{"name": "o", "objects": 1, "bytes": 2048}],
)


class Balanced(HTMLParser):
    """Every element is closed, in the order in which they were opened; keeps tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] != "style":
            self.text += data + "\n"


def test_a_running_job() -> None:
    seen = view.of_record(told(), 4000, ["one", "two"])
    shown = Balanced(card.job(seen))
    for text in (
        "InProgress: running", "for 3.00 s", "queued 0.50 s", "running 2.00 s", "2 x ml.m5.xlarge", "python:3.11",
        "Python 3.11.2, 1 packages", "torch 1.10.2 is missing", "s3://b/all", "3 files, 30 B", "4 files, 40 B",
        "the last 2 log lines", "one\ntwo",
    ):  # fmt: skip
        assert text in shown.text, text
    assert shown.text.count("torch 1.10.2") == 1
    widths = [re.search(r"width:([\d.]+)%", value) for name, value in shown.attributes if name == "style"]
    assert [float(width[1]) for width in widths if width] == [16.67, 16.67, 66.67]
    assert ("open", "") not in shown.attributes


def test_a_completed_job() -> None:
    seen = view.of_record(ENDED, 99_000)
    shown = Balanced(card.job(replace(seen, metrics=(("mse", 0.25),)))).text
    assert "Completed\n" in shown
    assert "took 4.00 s" in shown
    assert "completed 0" not in shown  # the end takes no time
    assert "1 file, 2.0 KiB" in shown
    assert "mse = 0.25" in shown
    assert "log line" not in shown


def summary(name: str, last: float) -> dict[str, Any]:
    return {"name": name, "last": last, "minimum": 0.0, "maximum": 9.0, "mean": 1.0, "deviation": 0.0, "size": 2, "at": 1}  # fmt: skip


def test_metrics_are_told_by_their_last_values_and_of_very_many_the_first() -> None:
    few = view.of_record(told(metrics=[summary("auc", 0.75), summary("test:mse", 4.5)]), 9000)
    assert few.metrics == (("auc", 0.75), ("test:mse", 4.5))
    for shown in (str(few), Balanced(card.job(few)).text):
        assert "auc = 0.75" in shown
        assert "test:mse = 4.5" in shown
    many = view.of_record(told(metrics=[summary(f"m{n}", n) for n in range(99)]), 9000)
    for shown in (str(many), Balanced(card.job(many)).text):
        assert "m39 = 39" in shown
        assert "m40" not in shown
        assert "and 59 more" in shown


def test_a_metric_that_no_line_has_given_is_a_note() -> None:
    seen = view.of_record({**ENDED, "untold_metrics": [{"name": "auc", "regex": "AUC=(.*)"}]}, 9000)
    for shown in (str(seen), Balanced(card.job(seen)).text):
        assert "The metric 'auc' has no value: no line of the log fits 'AUC=(.*)'" in shown
    assert_told("no line of the log gives a metric", seen.notes[0])


def test_the_metrics_of_a_job(local: FakeBoto, boto: FakeBoto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "fetch", lambda *_: told(metrics=[summary("auc", 0.75)]))
    assert ProcessingJob(Session(), "j", [], []).metrics == {"auc": 0.75}
    elsewhere = ProcessingJob(Session(boto_session=boto), "j", [], [])
    with pytest.raises(PenstockError, match="another server: BatchGetMetrics"):
        _ = elsewhere.metrics


def test_a_job_that_waits_tells_for_what() -> None:
    queued = told(
        phase="queued", phases={"queued": 1000}, hosts=[], queue={"position": 2, "reason": "needs 2 CPUs"}
    )
    shown = Balanced(card.job(view.of_record(queued, 2000))).text
    assert "2nd in the queue: needs 2 CPUs" in shown
    assert "s3://b/all" in shown


def test_a_log_that_was_removed_is_said_to_be() -> None:
    seen = view.of_record({**ENDED, "logs_removed_at": 6000}, 9000, [])
    assert "The log of j was removed on" in card.job(seen)
    assert "The log of j was removed on" in str(seen)


def test_a_transfer_is_told_of() -> None:
    moves = {"way": "download", "objects": 1, "bytes": 512, "total_objects": 2, "total_bytes": 1024}
    assert "1 of 2 objects, 512 B of 1.0 KiB (50%)" in card.job(view.of_record(told(progress=moves), 2000))


@pytest.mark.parametrize(
    ("reason", "lines", "remedy"),
    [
        ("AlgorithmError: , exit code: 1", ["ModuleNotFoundError: No module named 'cv2'"], "no module cv2"),
        ("AlgorithmError: , exit code: 1", ["boom"], "the last lines of the log say which"),
        ("ClientError: The volume is full. Ask for a larger one.", ["boom"], None),
    ],
)
def test_a_failure_comes_with_what_to_do(reason: str, lines: list[str], remedy: str | None) -> None:
    failed = {**ENDED, "status": "Failed", "phase": "failed", "failure_reason": reason}
    seen = view.of_record(failed, 9000, lines)
    shown = Balanced(card.job(seen))
    assert reason in shown.text
    assert ("open", "") in shown.attributes
    assert ("What to do" in shown.text) == (remedy is not None)
    for text in (shown.text, str(seen)):
        assert remedy is None or remedy in text
        assert lines[0] in text


def evil() -> View:
    return View(
        name=EVIL, status=EVIL, phase=EVIL, at=2, created_at=1, phases=((EVIL, 1, 1),), place=EVIL,
        instances=EVIL, image=EVIL, environment=EVIL, deviations=(EVIL,), inputs=(Data(EVIL, EVIL),),
        outputs=(Data(EVIL, EVIL, 1, 1),), metrics=((EVIL, 1.0),), reason=EVIL, exit_message=EVIL, lines=(EVIL,),
    )  # fmt: skip


@pytest.mark.parametrize("status", [EVIL, "Failed"])
def test_what_others_have_written_stays_text(status: str) -> None:
    for html in (
        card.job(replace(evil(), status=status)),
        card.files(EVIL, EVIL, [(EVIL, 1)], 2),
        card.message(EVIL, EVIL),
    ):
        assert "<script" not in html
        shown = Balanced(html)
        assert shown.tags <= {
            "div", "span", "style", "table", "tbody", "tr", "th", "td", "i", "b", "details", "summary", "pre",
        }  # fmt: skip
        assert {name for name, _ in shown.attributes} <= {"class", "style", "title", "open"}
        assert EVIL in shown.text


def test_it_needs_nothing_from_outside() -> None:
    html = card.job(view.of_record(ENDED, 9000, ["x"]))
    assert re.search(r"url\(|@import|https?:|src=|href=|<script|\son\w+=", html) is None
    # Text is in the notebook's colour: no ground is set but behind the coloured badge.
    assert "background:#fff" not in html
    assert "color:#000" not in html


def test_colours_of_terminals_are_left_out() -> None:
    html = card.job(replace(evil(), lines=("\x1b[31mred\x1b[0m\r\x07 plain",)))
    assert "red plain" in html
    assert "\x1b" not in html


def test_a_line_without_end_is_cut() -> None:
    html = card.job(replace(evil(), lines=("x" * 1_000_000,)))
    assert "xx ... and 999,000 characters more" in html
    assert len(html) < 10_000


def test_many_files_are_counted() -> None:
    shown = Balanced(card.files("output o", "s3://b/o", [("a.csv", 1024)], 1001)).text
    assert "a.csv" in shown
    assert "1.0 KiB" in shown
    assert "and 1,000 more" in shown


def test_the_text_of_a_job() -> None:
    assert str(view.of_record(ENDED, 9000)).splitlines() == [
        "ProcessingJob j: Completed, took 4.00 s",
        "  instances    2 x ml.m5.xlarge",
        "  image        python:3.11",
        "  environment  Python 3.11.2, 1 packages",
        "  phases       queued 0.50 s, preparing 0.50 s, running 3.00 s",
        "  input        all: s3://b/all (3 files, 30 B)",
        "  input        part: s3://b/part (4 files, 40 B)",
        "  output       o: s3://b/o (1 file, 2.0 KiB)",
        "  note         torch 1.10.2 is missing",
    ]


def test_a_job_of_the_local_server_shows_itself(local: FakeBoto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "fetch", lambda *_: ENDED)
    local.answers["describe_log_streams"] = {"logStreams": [{"logStreamName": "j/algo-1"}]}
    local.answers["get_log_events"] = {"events": [{"timestamp": 1, "message": "a line"}]}
    job = ProcessingJob(Session(), "j", [], [])
    assert "a line" in job._repr_html_()
    assert str(job).startswith("ProcessingJob j: Completed")
    assert repr(job) == "<ProcessingJob j>"


def test_a_job_of_another_server_shows_what_that_tells(boto: FakeBoto) -> None:
    boto.answers["describe_processing_job"] = {
        "ProcessingJobName": "j",
        "ProcessingJobStatus": "Failed",
        "FailureReason": "ClientError: no",
        "CreationTime": datetime(2026, 1, 1, 0, 0, 0, tzinfo=UTC),
        "ProcessingEndTime": datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC),
        **REQUEST,
    }
    boto.answers["describe_log_streams"] = {"logStreams": []}
    job = ProcessingJob(Session(boto_session=boto), "j", [], [])
    shown = Balanced(job._repr_html_()).text
    for text in ("Failed", "took 5.00 s", "ClientError: no", "s3://b/o", "2 x ml.m5.xlarge"):
        assert text in shown, text


def test_to_be_shown_never_fails(local: FakeBoto, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any) -> dict[str, Any]:
        raise PenstockError(f"no job {EVIL}")

    monkeypatch.setattr(record, "fetch", fetch)
    job = ProcessingJob(Session(), "j", [], [])
    assert f"no job {EVIL}" in Balanced(job._repr_html_()).text
    assert str(job) == f"<ProcessingJob j>: no job {EVIL}"
