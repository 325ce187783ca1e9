import json
from dataclasses import replace

import pytest

from penstock.job.events import Host, HostEvent, apply
from penstock.job.life import Phase
from penstock.job.run import Run, S3Access


def host():
    return Host("j-1", "j", "algo-1", "digest", "j/algo-1-1")


def event(sequence, kind, **data):
    return HostEvent(sequence, kind, 100 + sequence, data)


def test_events_tell_phases_notes_and_the_end():
    told = host()
    for happened in (
        event(1, "phase", phase="preparing"),
        event(2, "note", environment={"python": "3.11"}),
        event(3, "phase", phase="running"),
        event(4, "ended", outcome="failed", reason="AlgorithmError: , exit code: 3", exit_code=3),
    ):
        told = apply(told, happened)
    assert told.ended
    assert told.phase is Phase.FAILED
    assert told.phases == {"preparing": 101, "running": 103, "failed": 104}
    assert told.notes == {"environment": {"python": "3.11"}}
    assert told.outcome["exit_code"] == 3


def test_an_event_that_comes_twice_counts_once():
    once = apply(host(), event(1, "phase", phase="running"))
    assert apply(once, event(1, "phase", phase="uploading")) is once


def test_nothing_counts_after_the_end():
    ended = apply(host(), event(1, "ended", outcome="succeeded"))
    assert apply(ended, event(2, "ended", outcome="failed")) is ended


@pytest.mark.parametrize(
    "bad",
    [event(1, "phase", phase="completed"), event(1, "phase", phase="?"), event(1, "ended", outcome="?")],
)
def test_an_event_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=r"told by|not a valid|unknown outcome"):
        apply(host(), bad)


def test_a_runners_clock_that_was_set_back_leads_behind_nothing():
    early = apply(host(), replace(event(1, "phase", phase="running"), at=500))
    late = apply(early, replace(event(2, "ended", outcome="succeeded"), at=3))
    assert late.phases == {"running": 500, "completed": 500}


def test_the_json_form_comes_back_the_same():
    given = event(7, "note", inputs=[1])
    assert HostEvent.from_json(given.to_json()) == given


@pytest.mark.parametrize("bad", [{}, {"sequence": 1, "kind": "x", "at": 1, "data": {}}, {"sequence": None}])
def test_what_is_no_event_is_refused(bad):
    with pytest.raises(ValueError, match="event"):
        HostEvent.from_json(bad)


def test_a_run_comes_back_from_disk_the_same_also_from_another_version():
    run = Run(
        job_name="j",
        job_uid="j-1",
        job_arn="arn",
        host="algo-2",
        hosts=("algo-1", "algo-2"),
        request={"a": 1},
        region="us-east-1",
        token="secret-token",
        report_url="http://127.0.0.1:1",
        home=None,
        s3=S3Access("http://127.0.0.1:2", "us-east-1", "id", "secret-key"),
        environments="/e",
    )
    text = run.to_json()
    assert Run.from_json(text) == run
    newer = text[:-1] + ', "unknown": 1}'
    assert Run.from_json(newer) == run
    assert run.index == 1
    assert "secret" not in repr(run)


def test_what_is_no_character_is_told_all_the_same():
    told = HostEvent.from_json(
        json.loads(json.dumps(event(1, "note", files={"o": ["a\udcff", "\U0001f600", "é"]}).to_json()))
    )
    assert told.data == {"files": {"o": ["a?", "\U0001f600", "é"]}}
