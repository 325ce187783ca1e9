"""What is lost may be followed by another attempt, by policy; never what is the user's."""

import hashlib
import json
from dataclasses import replace

import pytest
from dispatch_world import World

from penstock.api import reports
from penstock.api.admission import Admission
from penstock.api.context import Context
from penstock.engines.base import Life
from penstock.job.claim import RETRIES, retries_of
from penstock.job.life import Phase, StopAsked, advance


class Retrying(World):
    retries = 2
    choice = None

    def restart(self, runner_ms=None):
        self.elapsed = 0.0
        super().restart(runner_ms, retries=self.retries, choice=self.choice, elapsed=lambda: self.elapsed)

    def make_run(self, job, host, hosts, token):
        return replace(
            super().make_run(job, host, hosts, token), attempt=job.attempt, spent=job.spent_ms / 1000
        )

    def begin(self, instances=1, tags=None, limit=3600):
        job = self.submit("job", instances)
        self.store.delete_tags(job.arn, [RETRIES])
        if tags:
            self.store.put_tags(job, tags, 50)
        with self.store._engine.begin() as c:  # its request has a time limit
            request = {**job.request, "StoppingCondition": {"MaxRuntimeInSeconds": limit}}
            c.exec_driver_sql("UPDATE jobs SET request = ?", (json.dumps(request),))
        self.dispatcher.step()

    def lose(self, name="algo-1"):
        """Its runner dies before its program was run, and the one that follows it, too."""
        run = self.run("job", name)
        for _ in range(2):
            run.life = Life.DEAD
            self.dispatcher.step()

    def stop(self):
        self.store.save_job(advance(self.job, StopAsked(), next(self.time)))

    @property
    def job(self):
        return self.store.job("job")


@pytest.fixture
def world(tmp_path):
    made = Retrying(tmp_path)
    yield made
    made.store.close()


def test_what_is_lost_begins_anew_with_all_instances_and_a_clean_record(world):
    world.begin(instances=2)
    first = world.store.hosts("job-uid")
    world.report("job", "algo-2", kind="phase", phase="preparing")
    world.report("job", "algo-2", kind="ended", sequence=2, outcome="halted")
    world.lose()
    assert (world.job.phase, world.job.attempt) == (Phase.QUEUED, 2) or world.job.phase is Phase.PREPARING
    world.dispatcher.step()
    assert sorted(world.engine.runs) == ["job-uid/algo-1.2", "job-uid/algo-2.2"]
    job, [lost] = world.job, world.job.lost
    assert (job.phase, job.status, job.attempt) == (Phase.PREPARING, "InProgress", 2)
    assert lost.reason.startswith("InternalServerError: The runner of algo-1 ended without a report")
    assert {"queued", "preparing"} <= set(lost.phases)
    hosts = world.store.hosts("job-uid", 2)
    assert [(host.name, host.key, host.phase) for host in hosts] == [
        ("algo-1", "algo-1.2", Phase.QUEUED),
        ("algo-2", "algo-2.2", Phase.QUEUED),
    ]
    assert {host.log_stream for host in hosts}.isdisjoint(host.log_stream for host in first)
    assert {host.token_digest for host in hosts}.isdisjoint(host.token_digest for host in first)
    assert [host.name for host in world.store.hosts("job-uid")] == ["algo-1", "algo-2"] * 2


def test_each_attempt_is_counted_and_the_last_ones_end_is_the_jobs(world):
    world.begin(tags={RETRIES: "1"})
    world.lose("algo-1")
    world.dispatcher.step()
    world.lose("algo-1.2")
    assert (world.job.phase, world.job.attempt, len(world.job.lost)) == (Phase.FAILED, 2, 1)
    assert world.job.failure_reason.startswith("InternalServerError: The runner of algo-1 ended")
    assert world.engine.runs == {}


@pytest.mark.parametrize(
    "outcome",
    [
        {"outcome": "failed", "reason": "AlgorithmError: , exit code: 3", "lost": False},
        {"outcome": "halted", "reason": None},
        {"outcome": "failed", "reason": "ClientError: no such bucket"},
    ],
)
def test_what_is_the_users_is_never_followed(world, outcome):
    world.begin(instances=2)
    world.report("job", "algo-2", **outcome)
    world.lose()
    assert world.job.phase in (
        {Phase.FAILED, Phase.PREPARING} if outcome["reason"] is None else {Phase.FAILED}
    )
    assert world.job.attempt == (2 if outcome["reason"] is None else 1)


def test_what_is_lost_while_the_job_stops_is_its_end(world):
    world.begin()
    world.report("job", kind="phase", phase="running")
    world.stop()
    world.lose()
    assert (world.job.phase, world.job.attempt) == (Phase.FAILED, 1)


def test_who_stops_a_job_whose_attempt_is_lost_has_stopped_it(world):
    world.restart(runner_ms=60_000)
    world.begin()
    world.lose()  # and a store has time to do what was sent last
    world.stop()
    world.dispatcher.step()
    assert (world.job.status, world.job.attempt, world.job.failure_reason) == ("Stopped", 1, None)
    assert world.engine.runs == {}


def test_so_has_who_stops_it_while_its_other_instances_are_being_stopped(world):
    world.begin(instances=3)
    world.lose("algo-1")
    world.stop()
    world.report("job", "algo-2", outcome="halted")
    world.lose("algo-3")  # on the same machine, say
    assert (world.job.status, world.job.attempt) == ("Stopped", 1)


def test_what_had_failed_for_good_before_the_stop_has_failed(world):
    world.retries = 0
    world.restart()
    world.begin(instances=2)
    world.lose("algo-1")
    world.stop()
    world.report("job", "algo-2", outcome="halted")
    world.dispatcher.step()
    assert world.job.status == "Failed"
    assert "The runner of algo-1 ended" in world.job.failure_reason


def test_the_time_limit_is_for_all_attempts(world):
    world.begin(limit=1)
    world.report("job", kind="phase", phase="downloading")
    world.time = iter(range(12_000, 20_000))
    world.lose()
    assert (world.job.phase, world.job.attempt) == (Phase.FAILED, 1)


def test_what_an_attempt_has_used_is_told_to_the_next(world):
    world.begin()
    world.report("job", kind="phase", phase="downloading")
    world.time = iter(range(510_000, 600_000))
    world.lose()
    world.dispatcher.step()
    assert world.run("job", "algo-1.2").run.spent == pytest.approx(500, abs=1)
    assert world.job.started_at < 11_000


def test_none_follows_by_itself(tmp_path):
    world = Retrying(tmp_path)
    world.retries = 0
    world.restart()
    world.begin()
    world.lose()
    assert (world.job.phase, world.job.attempt) == (Phase.FAILED, 1)
    world.store.close()


def test_on_other_machines_a_store_has_time_to_do_what_was_sent_last(world):
    world.restart(runner_ms=60_000)
    world.begin()
    world.lose()
    world.elapsed = 5.9
    world.dispatcher.step()
    assert world.job.attempt == 1
    world.elapsed = 6.1
    world.dispatcher.step()
    assert world.job.attempt == 2


def test_an_earlier_attempt_is_heard_no_more(world):
    admission = Admission(world.store.add_jobs)
    context = Context(world.store, world.logbook, "r", "1", lambda: 1, lambda **_: None, admission)
    world.begin()
    token = world.run("job").run.token
    world.lose()
    world.dispatcher.step()
    for take, *more in (
        (reports.take_events, b'{"events": []}'),
        (reports.take_lease, b""),
        (reports.take_log, 0, b"1 late\n"),
        (reports.take_uploads, b""),
        (reports.take_progress, b"{}"),
    ):
        with pytest.raises(reports.ReportRefused) as refused:
            take(context, reports.known(context, "job-uid", "algo-1", token), *more)
        assert refused.value.status == 410
    with pytest.raises(reports.ReportRefused):
        reports.known(context, "job-uid", "algo-1.2", token)
    now = world.run("job", "algo-1.2").run.token
    assert hashlib.sha256(now.encode()).hexdigest() == world.store.host("job-uid", "algo-1.2").token_digest
    host = reports.known(context, "job-uid", "algo-1.2", now)
    assert reports.take_log(context, host, 0, b"1 hello\n") == {"size": 8}


def test_what_an_earlier_attempt_was_saying_when_it_was_followed_is_not_taken(world):
    """A body may be on its way for long: its runner's machine stood still, or was cut off."""
    admission = Admission(world.store.add_jobs)
    context = Context(world.store, world.logbook, "r", "1", lambda: 1, lambda **_: None, admission)
    world.begin()
    host = reports.known(context, "job-uid", "algo-1", world.run("job").run.token)
    world.lose()
    world.dispatcher.step()
    line = json.dumps({"output": "o", "uri": "s3://b/k", "size": 1, "sha256": "0" * 64, "at": 1}).encode()
    for take, *more in (
        (reports.take_uploads, line + b"\n"),
        (reports.take_log, world.logbook.size("job-uid", "algo-1"), b"1 late\n"),
        (reports.take_progress, b"{}"),
    ):
        with pytest.raises(reports.ReportRefused) as refused:
            take(context, host, *more)
        assert refused.value.status == 410
    assert world.store.uploads.totals("job-uid") == []


@pytest.mark.parametrize("text", ["", "-1", "31", "1.5", "many", "٣"])
def test_a_number_of_retries_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="no whole number from 0 to 30"):
        retries_of({RETRIES: text}, 0)
