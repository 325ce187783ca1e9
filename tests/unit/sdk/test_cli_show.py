"""What `penstock run` tells at the end of a job."""

from __future__ import annotations

from typing import Any

import pytest

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
    assert "train: 1 file(s)" in capsys.readouterr().err
    show.end(told(2))
    said = capsys.readouterr().err
    assert "train of algo-1: 1 file(s)" in said
    assert "train of algo-2: 1 file(s)" in said
