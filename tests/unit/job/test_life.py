import itertools

import pytest

from penstock.errors import IllegalMove
from penstock.job.life import (
    MOVES,
    STATUS,
    Failed,
    Halted,
    Job,
    Phase,
    Reached,
    Started,
    StopAsked,
    Succeeded,
    advance,
)

EVENTS = [Started(), Reached(Phase.RUNNING), StopAsked(), Succeeded(), Failed("ClientError: x"), Halted()]


def job(phase=Phase.QUEUED):
    request = {"ProcessingResources": {"ClusterConfig": {"InstanceCount": 2}}}
    return Job("j", "j-1", "arn", request, 1000, 1000, phase=phase)


def test_the_way_of_a_job_that_goes_well():
    at = itertools.count(2000, 10)
    walked = job()
    for event in (
        Started(),
        Reached(Phase.DOWNLOADING),
        Reached(Phase.RUNNING),
        Reached(Phase.UPLOADING),
        Succeeded("done"),
    ):
        walked = advance(walked, event, next(at))
    assert walked.status == "Completed"
    assert walked.phases == {
        "preparing": 2000,
        "downloading": 2010,
        "running": 2020,
        "uploading": 2030,
        "completed": 2040,
    }
    assert (walked.started_at, walked.ended_at, walked.exit_message) == (2010, 2040, "done")
    assert walked.version == 5


def test_a_clock_that_was_set_back_leads_behind_nothing():
    begun = advance(job(), Started(), 5000)
    fetching = advance(begun, Reached(Phase.DOWNLOADING), 7)
    ended = advance(fetching, Failed("ClientError: x"), 8)
    assert ended.phases == {"preparing": 5000, "downloading": 5000, "failed": 5000}
    assert (ended.started_at, ended.ended_at, ended.modified_at) == (5000, 5000, 5000)


@pytest.mark.parametrize("phase", [p for p in Phase if p.final])
@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_nothing_follows_a_final_phase(phase, event):
    with pytest.raises(IllegalMove, match="j is"):
        advance(job(phase), event, 1)


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.DOWNLOADING, Phase.RUNNING, Phase.UPLOADING])
def test_a_working_job_can_be_stopped_and_then_ends_stopped_however_its_program_ends(phase):
    stopping = advance(job(phase), StopAsked(), 5)
    assert stopping.status == "Stopping"
    assert advance(stopping, Succeeded(), 6).status == "Stopped"
    assert advance(stopping, Halted(), 6).status == "Stopped"


def test_a_lost_output_is_told_also_of_a_job_that_was_stopped():
    stopping = advance(job(Phase.RUNNING), StopAsked(), 5)
    failed = advance(stopping, Failed("ClientError: upload"), 6)
    assert (failed.status, failed.failure_reason) == ("Failed", "ClientError: upload")


def test_a_queued_job_that_is_stopped_never_starts():
    assert advance(job(), StopAsked(), 5).phase is Phase.STOPPED


def test_a_job_never_goes_back():
    with pytest.raises(IllegalMove, match="go back"):
        advance(job(Phase.RUNNING), Reached(Phase.DOWNLOADING), 5)
    with pytest.raises(IllegalMove):
        advance(job(Phase.UPLOADING), Reached(Phase.UPLOADING), 5)


def test_every_phase_has_a_status_and_every_move_starts_where_it_can():
    assert set(STATUS) == set(Phase)
    assert not [phase for phase, _ in MOVES if phase.final]


def test_time_does_not_run_backwards_on_record():
    assert advance(job(), Started(), 10).modified_at == 1000
