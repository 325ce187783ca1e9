"""What the command line shows: the end of a job, tables, facts, times."""

from __future__ import annotations

from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from penstock.cli import show


def told(hosts: int) -> dict[str, Any]:
    output = {"name": "train", "files": 1, "bytes": 2, "uri": "s3://b/train"}
    names = [f"algo-{n}" for n in range(1, hosts + 1)]
    return {
        "status": "Completed",
        "phases": {"queued": 0, "completed": 10},
        "ended_at": 10,
        "hosts": [{"name": name, "outputs": [output]} for name in names],
    }


def test_outputs_are_told_with_their_host_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    show.end(told(1))
    assert "train: 1 file," in capsys.readouterr().err
    show.end(told(2))
    said = capsys.readouterr().err
    assert "train of algo-1: 1 file," in said
    assert "train of algo-2: 1 file," in said


def test_metrics_are_told_at_the_end_and_those_that_no_line_has_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = [{"name": "auc", "last": 0.75}]
    show.end({**told(1), "metrics": metrics, "untold_metrics": [{"name": "mse", "regex": "MSE=(.*)"}]})
    said = capsys.readouterr().err
    assert "metric: auc = 0.75" in said
    assert "note: The metric 'mse' has no value: no line of the log fits 'MSE=(.*)'" in said


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What people see on a terminal of 40 columns."""
    seen = StringIO()
    monkeypatch.setattr(seen, "isatty", lambda: True)
    monkeypatch.setattr(
        show, "out", Console(file=seen, width=40, color_system=None, highlight=False, soft_wrap=True)
    )
    return seen


COLUMNS = ("NAME", "STATUS", "REASON")
ROWS = [("a" * 24, "Failed", "out of\nmemory " * 5), ("b", "Completed", "")]


def test_what_a_terminal_has_no_room_for_stands_beneath_its_row(terminal: StringIO) -> None:
    show.table(COLUMNS, ROWS)
    assert terminal.getvalue().splitlines() == [
        f"{'NAME':24}  STATUS",
        "  REASON",
        f"{'a' * 24}  Failed",
        "  " + " ".join(["out of memory"] * 5),
        f"{'b':24}  Completed",
    ]


def test_a_line_beneath_may_be_cut(terminal: StringIO) -> None:
    show.table(COLUMNS, ROWS, crop=True)
    (cut,) = (line for line in terminal.getvalue().splitlines() if "out of" in line)
    assert len(cut) == 40
    assert cut.endswith("…")


def test_what_fits_stands_beside_each_other(terminal: StringIO) -> None:
    show.table(("IN", "SIZE"), [("x", "2 B")])
    assert terminal.getvalue() == "IN  SIZE\nx   2 B\n"


def test_a_column_without_anything_has_no_heading_beneath(terminal: StringIO) -> None:
    show.table(COLUMNS, [("a" * 30, "Completed", "")])
    assert "REASON" not in terminal.getvalue()


def test_a_program_gets_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(COLUMNS, ROWS, crop=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("Failed     " + " ".join(["out of memory"] * 5))


def test_facts_keep_their_lines_on_a_terminal_only(terminal: StringIO) -> None:
    show.facts([("status", "Failed"), ("exit message", "one\ntwo")])
    assert terminal.getvalue() == "status        Failed\nexit message  one\n              two\n"


def test_facts_are_a_line_each_to_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    show.facts([("exit message", "one\ntwo")])
    assert capsys.readouterr().out == "exit message  one two\n"


def test_times_in_lists_are_short_on_a_terminal(terminal: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    noon = int(datetime(2026, 7, 5, 12, 30, 15).astimezone().timestamp() * 1000)
    monkeypatch.setattr(show, "now", lambda: noon)
    day = 24 * 3600 * 1000
    assert show.lately(noon - 1000) == "12:30:14"
    assert show.lately(noon - day) == "07-04 12:30"
    assert show.lately(noon - 300 * day).startswith("2025-09-")
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    assert show.lately(noon) == "2026-07-05 12:30:15"
