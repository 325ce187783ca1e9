from dataclasses import replace

import pytest

from penstock.dispatch.settle import catch_up, moment, verdict
from penstock.job.events import Host, to_stop
from penstock.job.life import Failed, Halted, Job, Phase, Reached, Succeeded

JOB = Job("j", "j-1", "arn", {}, 0, 0, phase=Phase.PREPARING)


def host(number, phase, **outcome):
    final = phase.final
    return Host(
        "j-1",
        "j",
        f"algo-{number}",
        "d",
        f"s{number}",
        phase=phase,
        phases={phase.value: number},
        outcome=outcome if final else None,
    )


def test_a_job_is_as_far_as_its_host_furthest_behind():
    hosts = [host(1, Phase.RUNNING), host(2, Phase.DOWNLOADING)]
    assert verdict(JOB, hosts) == Reached(Phase.DOWNLOADING)
    assert verdict(replace(JOB, phase=Phase.DOWNLOADING), hosts) is None


def test_a_host_that_has_not_begun_holds_the_job():
    assert verdict(JOB, [host(1, Phase.RUNNING), host(2, Phase.QUEUED)]) is None


def test_a_host_that_has_ended_does_not_hold_the_others():
    assert verdict(JOB, [host(1, Phase.COMPLETED), host(2, Phase.RUNNING)]) == Reached(Phase.RUNNING)


def test_a_job_ends_with_its_last_host():
    assert verdict(JOB, [host(1, Phase.COMPLETED), host(2, Phase.COMPLETED)]) == Succeeded()


def test_the_first_failure_is_the_reason_and_names_its_instance():
    hosts = [
        host(2, Phase.FAILED, reason="later"),
        host(1, Phase.FAILED, reason="first"),
        host(3, Phase.STOPPED),
    ]
    assert verdict(JOB, hosts) == Failed("first (instance algo-1)")
    assert verdict(JOB, hosts[1:2]) == Failed("first")


def test_a_halted_host_halts_the_job():
    assert verdict(JOB, [host(1, Phase.STOPPED), host(2, Phase.COMPLETED)]) == Halted()


def test_exit_messages_are_joined_in_host_order_and_cut_to_a_kilobyte():
    hosts = [
        host(1, Phase.COMPLETED, exit_message="é" * 500),
        host(2, Phase.COMPLETED, exit_message="b" * 500),
    ]
    message = verdict(JOB, hosts).exit_message
    assert message == "é" * 500 + "b" * 24


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.RUNNING])
def test_who_is_asked_to_stop(phase):
    running, ended, failed = host(1, Phase.RUNNING), host(2, Phase.COMPLETED), host(3, Phase.FAILED)
    job = replace(JOB, phase=phase)
    assert to_stop(job, [running, ended]) == ([running] if phase is Phase.STOPPING else [])
    assert to_stop(job, [running, ended, failed]) == [running]


def test_a_stopping_job_waits_for_its_hosts():
    assert verdict(replace(JOB, phase=Phase.STOPPING), [host(1, Phase.UPLOADING)]) is None


def test_an_event_happened_when_the_last_host_came_there():
    hosts = [
        replace(host(1, Phase.RUNNING), phases={"preparing": 10, "downloading": 20, "running": 50}),
        replace(host(2, Phase.DOWNLOADING), phases={"preparing": 10, "running": 30}),
    ]
    job = replace(JOB, phases={"queued": 1, "preparing": 5})
    assert moment(job, hosts, Reached(Phase.DOWNLOADING), 1000) == 30
    assert moment(job, hosts, Succeeded(), 1000) == 50


def test_a_hosts_wrong_clock_does_not_lead_out_of_what_the_server_saw():
    job = replace(JOB, phases={"preparing": 500})
    behind = [replace(host(1, Phase.RUNNING), phases={"running": 3})]
    ahead = [replace(host(1, Phase.RUNNING), phases={"running": 9999})]
    assert moment(job, behind, Reached(Phase.RUNNING), 1000) == 500
    assert moment(job, ahead, Reached(Phase.RUNNING), 1000) == 1000


def test_phases_passed_unseen_lie_within_what_the_server_saw_whatever_the_hosts_clocks():
    job = replace(JOB, created_at=100, phases={"queued": 100, "preparing": 500})
    ahead = replace(host(1, Phase.RUNNING), phases={"preparing": 1, "downloading": 9000, "running": 9999})
    behind = replace(host(2, Phase.RUNNING), phases={"preparing": 1, "downloading": 3, "running": 4})
    seen = catch_up(job, [ahead], 1000)
    assert (seen.phases["downloading"], seen.phases["running"], seen.started_at) == (1000, 1000, 1000)
    seen = catch_up(job, [behind], 1000)
    assert (seen.phases["downloading"], seen.phases["running"], seen.started_at) == (500, 500, 500)
    seen = catch_up(job, [behind], 50)
    assert (seen.phases["downloading"], seen.started_at) == (500, 500), "the server's clock was set back, too"


def test_a_phase_passed_unseen_may_lie_before_or_after_the_wish_to_stop():
    job = replace(JOB, phase=Phase.STOPPING, phases={"queued": 1, "preparing": 10, "stopping": 30})
    one = replace(host(1, Phase.UPLOADING), phases={"downloading": 20, "running": 40})
    assert catch_up(job, [one], 99).phases == {
        "queued": 1, "preparing": 10, "downloading": 20, "running": 40, "stopping": 30
    }  # fmt: skip
