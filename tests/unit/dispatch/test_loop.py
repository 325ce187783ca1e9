import itertools
import threading

import pytest
from dispatch_world import World

from penstock.dispatch import loop
from penstock.dispatch.loop import SWEEP_SECONDS
from penstock.dispatch.outlook import outlook
from penstock.engines.base import Life
from penstock.errors import ConfigurationError
from penstock.job.claim import Resources
from penstock.job.events import HostEvent
from penstock.job.life import Job, Phase, StopAsked, advance
from penstock.job.uploads import Upload
from penstock.testing.fake_engine import FakeEngine


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.store.close()


def test_a_job_goes_its_way(world):
    world.submit("a")
    world.dispatcher.step()
    assert world.phase("a") is Phase.PREPARING
    assert world.run("a").starts == 1
    world.report("a", kind="phase", phase="running")
    world.dispatcher.step()
    assert world.phase("a") is Phase.RUNNING
    world.report("a", sequence=2, outcome="succeeded", exit_message="hi")
    world.dispatcher.step()
    assert world.phase("a") is Phase.COMPLETED
    assert world.store.job("a").exit_message == "hi"
    assert world.engine.forgotten == ["a-uid/algo-1"]


def test_all_instances_of_a_job_start_and_one_failure_stops_the_others(world):
    world.submit("a", instances=3)
    world.dispatcher.step()
    assert {r.starts for r in world.engine.runs.values()} == {1}
    world.report("a", "algo-2", outcome="failed", reason="AlgorithmError: , exit code: 9")
    world.dispatcher.step()
    assert [world.run("a", f"algo-{n}").stops for n in (1, 2, 3)] == [1, 0, 1]
    assert not world.phase("a").final
    world.report("a", "algo-1", outcome="halted")
    world.report("a", "algo-3", outcome="halted")
    world.dispatcher.step()
    assert world.store.job("a").failure_reason == "AlgorithmError: , exit code: 9 (instance algo-2)"


def test_what_fits_is_begun_and_a_large_job_runs_alone_and_says_so(world):
    world.submit("a", instances=2)
    world.submit("b", instances=9)
    world.submit("c", instances=1)
    world.dispatcher.step()
    assert [world.phase(n) for n in "abc"] == [Phase.PREPARING, Phase.QUEUED, Phase.PREPARING]
    assert world.run("a").run.notes == ()
    world.report("a", "algo-1", outcome="succeeded")
    world.report("a", "algo-2", outcome="succeeded")
    world.dispatcher.step()
    assert world.phase("b") is Phase.QUEUED
    world.report("c", outcome="succeeded")
    world.dispatcher.step()
    world.submit("d")
    world.dispatcher.step()
    assert [world.phase(n) for n in "bcd"] == [Phase.PREPARING, Phase.COMPLETED, Phase.QUEUED]
    (note,) = world.run("b", "algo-9").run.notes
    assert note == (
        "The job asks for 9 CPUs, 9 instances, and this machine has 64 CPUs, 1048576 GiB of memory, 4 instances to "
        "give. It runs alone on all of it."
    )


def test_jobs_claim_what_their_instance_types_have(world):
    world.engine.room = Resources(4, 32 << 30, 0, 10)
    world.restart()
    for name in "abc":
        world.submit(name, kind="ml.m5.large")  # 2 CPUs
    world.dispatcher.step()
    assert [world.phase(n) for n in "abc"] == [Phase.PREPARING, Phase.PREPARING, Phase.QUEUED]
    told = outlook(world.store, world.engine, 20_000)
    assert [(one["position"], one["reason"]) for one in told["waiting"]] == [
        (1, "needs 2 CPUs, 0 of 4 are free; held by a (2 CPUs), b (2 CPUs)")
    ]


def test_nothing_begins_while_it_is_held_up_and_what_has_begun_goes_on(world):
    full = []
    world.restart(hindrance=lambda: full[0] if full else None)
    world.submit("runs")
    world.dispatcher.step()
    full.append("needs more of the disk")
    world.submit("waits")
    world.run("runs").life = Life.DEAD
    world.dispatcher.step()
    assert (world.phase("waits"), world.phase("runs")) == (Phase.QUEUED, Phase.PREPARING)
    assert world.run("runs").starts == 2, "who has begun is looked after"
    full.clear()
    world.dispatcher.step()
    assert world.phase("waits") is Phase.PREPARING


def test_the_more_urgent_goes_first(world):
    world.engine.room = Resources(2, 32 << 30, 0, 10)
    world.restart()
    for name, priority in (("a", 0), ("b", -1), ("c", 7)):
        world.submit(name, kind="ml.m5.large", priority=priority)
    world.dispatcher.step()
    assert [world.phase(n) for n in "abc"] == [Phase.QUEUED, Phase.QUEUED, Phase.PREPARING]


def test_a_place_that_a_job_could_not_take_goes_to_the_next_within_the_same_pass(world, monkeypatch):
    """Also when those that can't be begun are as many as one look at the queue sees."""
    monkeypatch.setattr("penstock.dispatch.loop._HEADS", (1, 2))
    for number in range(7):
        world.submit(f"j{number}")
    real = world.engine.prepare

    def prepare(run):
        if run.job_name < "j4":
            raise OSError("no room")
        return real(run)

    monkeypatch.setattr(world.engine, "prepare", prepare)
    world.dispatcher.step()
    assert [world.phase(f"j{n}") for n in range(7)] == [Phase.FAILED] * 4 + [Phase.PREPARING] * 3


def test_of_ten_thousand_that_wait_a_pass_reads_the_first_alone(world, monkeypatch):
    request = {"ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}}}
    world.store.add_jobs(
        [(Job(f"j{n:05}", f"j{n:05}-uid", f"arn:{n}", request, n, n, owner="me"), {}) for n in range(10_000)]
    )
    read = []
    real = world.store.waiting
    monkeypatch.setattr(world.store, "waiting", lambda first: read.append(real(first)) or read[-1])
    world.dispatcher.step()
    assert [world.phase(f"j{n:05}") for n in (0, 3, 4)] == [Phase.PREPARING, Phase.PREPARING, Phase.QUEUED]
    assert [len(claims) for claims in read] == [2, 16]
    world.dispatcher.step()
    assert len(read) == 2  # the machine is full
    world.report("j00000", outcome="succeeded")
    world.dispatcher.step()
    assert world.phase("j00004") is Phase.PREPARING
    assert [len(claims) for claims in read[2:]] == [2], (
        "behind the one who finds no room nobody is looked for"
    )


def test_a_runner_that_tells_its_end_while_a_pass_is_made_is_not_looked_into(world, monkeypatch):
    world.submit("a")
    world.dispatcher.step()

    def probe(handle):
        world.report("a", outcome="succeeded")
        return Life.DEAD

    monkeypatch.setattr(world.engine, "probe", probe)
    monkeypatch.setattr(world.engine, "remains", None)
    world.dispatcher.step()
    assert world.phase("a") is Phase.COMPLETED


def test_a_stop_reaches_the_runner_until_it_has_ended(world):
    world.submit("a")
    world.dispatcher.step()
    world.store.save_job(advance(world.store.job("a"), StopAsked(), next(world.time)))
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.run("a").stops == 2
    world.report("a", outcome="halted")
    world.dispatcher.step()
    assert world.phase("a") is Phase.STOPPED


def test_a_runner_that_died_before_its_program_ran_fails_the_job_with_its_last_words(world):
    world.submit("a")
    world.dispatcher.step()
    world.report("a", kind="phase", phase="downloading")
    run = world.run("a")
    run.life, run.last_words = Life.DEAD, "Killed"
    world.dispatcher.step()
    assert run.starts == 1
    job = world.store.job("a")
    assert job.phase is Phase.FAILED
    assert "runner of algo-1 ended without a report" in job.failure_reason
    assert "Killed" in job.failure_reason


def test_a_runner_that_died_before_its_first_word_is_followed_once_by_another(world):
    """It may never have been: who was to start it was killed with the request in hand."""
    world.submit("a")
    world.dispatcher.step()
    run = world.run("a")
    run.life = Life.DEAD
    world.dispatcher.step()
    assert (run.starts, world.phase("a")) == (2, Phase.PREPARING)
    run.life = Life.DEAD
    run.last_words = "No module named penstock"
    world.dispatcher.step()
    assert run.starts == 2
    reason = world.store.job("a").failure_reason
    assert "runner of algo-1 ended without a report while queued" in reason
    assert "No module named penstock" in reason


def test_a_runner_that_died_before_its_first_word_is_not_followed_when_its_job_is_to_stop(world):
    world.submit("a")
    world.dispatcher.step()
    run = world.run("a")
    run.life = Life.DEAD
    world.store.save_job(advance(world.store.job("a"), StopAsked(), next(world.time)))
    world.dispatcher.step()
    assert (run.starts, world.phase("a")) == (1, Phase.STOPPED)


def test_a_runner_that_died_while_its_program_ran_is_followed_once_by_one_that_saves_outputs(world):
    world.submit("a")
    world.dispatcher.step()
    world.report("a", kind="phase", phase="running")
    world.run("a").life = Life.DEAD
    world.dispatcher.step()
    assert world.run("a").starts == 2
    assert not world.phase("a").final
    run = world.run("a")
    run.life = Life.DEAD
    world.dispatcher.step()
    assert run.starts == 2
    assert world.phase("a") is Phase.FAILED
    assert "may not have been uploaded" in world.store.job("a").failure_reason


def test_outputs_are_saved_though_the_first_try_to_start_for_them_fails(world, monkeypatch):
    world.submit("a")
    world.dispatcher.step()
    world.report("a", kind="phase", phase="running")
    world.run("a").life = Life.DEAD

    def full(_):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(world.engine, "start", full)
        world.dispatcher.step()
    world.dispatcher.step()
    assert world.run("a").starts == 2


@pytest.mark.parametrize("asked_to_stop", [False, True])
def test_a_run_that_its_machine_has_lost_is_not_run_again(world, asked_to_stop):
    """After a loss of power the folder may be as before the start, though the program ran."""
    world.submit("a")
    world.dispatcher.step()
    world.report("a", kind="phase", phase="running")
    world.run("a").life = Life.NEVER_STARTED
    if asked_to_stop:
        world.store.save_job(advance(world.store.job("a"), StopAsked(), next(world.time)))
    world.dispatcher.step()
    assert world.engine.runs == {}
    job = world.store.job("a")
    assert job.phase is Phase.FAILED
    assert "What this machine kept of algo-1 is gone, though it was running" in job.failure_reason


def test_one_jobs_trouble_does_not_keep_the_others_waiting(world, monkeypatch, caplog):
    world.submit("a")
    world.submit("b")
    world.dispatcher.step()
    real = world.engine.probe

    def broken(handle):
        if handle.startswith("a-"):
            raise RuntimeError("broken")
        return real(handle)

    monkeypatch.setattr(world.engine, "probe", broken)
    world.report("b", outcome="succeeded")
    world.submit("c")
    world.dispatcher.step()
    assert world.phase("b") is Phase.COMPLETED
    assert world.phase("c") is Phase.PREPARING
    assert "a can't be carried on" in caplog.text


def test_a_job_that_is_stopped_in_the_middle_of_a_pass_keeps_its_place(world, monkeypatch):
    world.engine.room = Resources(64, 1 << 50, 0, 1)
    world.restart()
    world.submit("a")
    world.dispatcher.step()
    world.submit("b")
    world.report("a", kind="phase", phase="running")
    probe = world.engine.probe

    def meanwhile(handle):
        monkeypatch.undo()
        world.store.save_job(advance(world.store.job("a"), StopAsked(), next(world.time)))
        return probe(handle)

    world.dispatcher.step()
    world.report("a", kind="phase", sequence=2, phase="uploading")
    monkeypatch.setattr(world.engine, "probe", meanwhile)
    world.dispatcher.step()
    assert (world.phase("a"), world.phase("b")) == (Phase.STOPPING, Phase.QUEUED)


def test_a_job_that_is_stopped_while_it_is_prepared_leaves_nothing_behind(world, monkeypatch):
    job, prepare = world.submit("a", instances=2), world.engine.prepare

    def and_stopped(run):
        if run.host == "algo-2":
            world.store.save_job(advance(job, StopAsked(), next(world.time)))
        return prepare(run)

    monkeypatch.setattr(world.engine, "prepare", and_stopped)
    world.dispatcher.step()
    assert world.phase("a") is Phase.STOPPED
    assert world.store.hosts("a-uid") == []
    assert world.engine.runs == {}
    assert world.engine.forgotten == ["a-uid/algo-1", "a-uid/algo-2"]


def test_a_job_that_can_not_be_prepared_keeps_no_other_waiting(world, monkeypatch, caplog):
    world.engine.room = Resources(64, 1 << 50, 0, 1)
    world.restart()
    world.submit("a")
    world.submit("b")
    real = world.engine.prepare
    monkeypatch.setattr(world.engine, "prepare", lambda run: 1 / 0 if run.job_name == "a" else real(run))
    world.dispatcher.step()
    assert (world.phase("a"), world.phase("b")) == (Phase.QUEUED, Phase.PREPARING)
    assert "a can't be prepared" in caplog.text


def test_a_start_that_breaks_after_the_intent_fails_nothing_and_is_tried_again(world, monkeypatch):
    world.submit("a")
    with monkeypatch.context() as patch:
        patch.setattr(world.engine, "start", lambda _: (_ for _ in ()).throw(OSError("for a moment")))
        world.dispatcher.step()
    assert world.phase("a") is Phase.PREPARING
    world.dispatcher.step()
    assert world.run("a").starts == 1


def test_a_journal_that_makes_no_sense_ends_its_job(world):
    world.submit("a")
    world.dispatcher.step()
    world.run("a").life = Life.DEAD
    world.run("a").left = [HostEvent(1, "phase", 5, {"phase": "bogus"})]
    world.dispatcher.step()
    assert world.phase("a") is Phase.FAILED
    assert "journal" in world.store.job("a").failure_reason


def test_reports_that_come_all_at_once_leave_no_phase_out(world):
    world.submit("a")
    world.dispatcher.step()
    for sequence, phase in enumerate(("preparing", "downloading", "running", "uploading"), 1):
        world.report("a", kind="phase", sequence=sequence, phase=phase)
    world.report("a", sequence=5, outcome="succeeded")
    world.dispatcher.step()
    job = world.store.job("a")
    assert job.started_at == job.phases["downloading"]
    assert set(job.phases) == {"queued", "preparing", "downloading", "running", "uploading", "completed"}


def test_what_a_dead_runner_left_on_disk_counts_as_reported(world):
    world.submit("a")
    world.dispatcher.step()
    run = world.run("a")
    run.life = Life.DEAD
    run.left = [
        HostEvent(1, "phase", 5, {"phase": "running"}),
        HostEvent(2, "ended", 6, {"outcome": "succeeded"}),
    ]
    run.log = b"1 first\n2 second\n"
    world.logbook.append("a-uid", "algo-1", 0, b"1 first\n")
    stored = [Upload("out", f"s3://b/{name}", 1, "00", 7) for name in ("j", "k")]
    run.manifest = b"".join(one.to_line() for one in stored) + b'{"cut off'
    world.store.uploads.add("a-uid", "algo-1", stored[:1])
    world.dispatcher.step()
    assert world.store.uploads.page("a-uid", None, 9) == [("algo-1", one) for one in stored]
    assert world.phase("a") is Phase.COMPLETED
    assert [e.message for e in world.logbook.forward("a-uid", "algo-1", 0)] == ["first", "second"]


def test_a_crash_between_intent_and_start_is_mended_without_a_second_start(world, monkeypatch):
    world.submit("a", instances=2)
    begun = []

    def crash(handle):
        if begun:
            raise KeyboardInterrupt
        begun.append(handle)
        FakeEngine.start(world.engine, handle)

    monkeypatch.setattr(world.engine, "start", crash)
    with pytest.raises(KeyboardInterrupt):
        world.dispatcher.step()
    monkeypatch.undo()
    world.restart()
    world.dispatcher.step()
    assert [world.run("a", f"algo-{n}").starts for n in (1, 2)] == [1, 1]


def test_an_engine_that_can_not_start_fails_the_job(world):
    world.engine.start_error = "no room"
    world.submit("a")
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.store.job("a").failure_reason == "InternalServerError: no room"


def test_a_job_that_is_stopped_before_its_runner_was_started_ends_stopped(world):
    world.submit("a")
    world.dispatcher.step()
    world.run("a").life = Life.NEVER_STARTED
    world.store.save_job(advance(world.store.job("a"), StopAsked(), next(world.time)))
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.phase("a") is Phase.STOPPED


def test_the_thread_works_when_woken_and_ends_when_closed(world, monkeypatch):
    started = threading.Event()
    monkeypatch.setattr(world.engine, "start", lambda _: started.set())
    world.dispatcher.start()
    world.submit("a")
    world.dispatcher.wake()
    assert started.wait(10)
    world.dispatcher.close()
    assert world.phase("a") is Phase.PREPARING


def test_the_rest_after_a_pass_ends_when_something_presses_and_a_pressing_pass_has_none(world, monkeypatch):
    monkeypatch.setattr(loop, "_PAUSE", 1e9)
    monkeypatch.setattr(loop, "_LONGEST_PAUSE", 300.0)
    passes = threading.Semaphore(0)
    monkeypatch.setattr(world.dispatcher, "step", passes.release)
    world.dispatcher.start()
    assert passes.acquire(timeout=10)
    world.dispatcher.wake(soon=False)
    assert not passes.acquire(timeout=0.05)
    world.dispatcher.wake()
    assert passes.acquire(timeout=10)
    world.dispatcher.wake(soon=False)
    assert passes.acquire(timeout=10)
    world.dispatcher.close()


def left_behind(world, name):
    handle = world.engine.prepare(world.make_run(world.submit(name), "algo-1", ("algo-1",), "t"))
    world.store.save_job(advance(world.store.job(name), StopAsked(), next(world.time)))
    world.engine.runs[handle].life = Life.DEAD
    return handle


def test_at_the_start_what_ended_jobs_left_behind_is_removed(world):
    world.submit("a")
    world.dispatcher.step()
    handle = left_behind(world, "old")
    world.restart()
    world.dispatcher.step()
    assert world.engine.forgotten == [handle]
    assert "a-uid/algo-1" in world.engine.runs


def test_what_outlives_its_job_by_a_moment_is_removed_without_a_new_start(world):
    """A runner that still waits for an answer when the next server starts, or a folder that can't be removed."""
    handle = left_behind(world, "old")
    world.engine.runs[handle].life = Life.ALIVE
    world.dispatcher.step()
    world.engine.runs[handle].life = Life.DEAD
    world.dispatcher.step()
    assert handle in world.engine.runs, "not at every pass"
    world.time = itertools.count(next(world.time) + int(SWEEP_SECONDS * 1000))
    world.dispatcher.step()
    assert handle not in world.engine.runs


def test_a_clock_that_is_set_back_delays_no_sweep(world):
    world.dispatcher.step()
    handle = left_behind(world, "old")
    world.time = itertools.count(0)
    world.dispatcher.step()
    assert handle not in world.engine.runs


def test_what_can_not_be_swept_keeps_no_job_waiting_and_is_tried_again(world, monkeypatch, caplog):
    handle = left_behind(world, "old")
    world.submit("a")
    with monkeypatch.context() as patch:
        patch.setattr(world.engine, "sweep", lambda _: 1 / 0)
        world.dispatcher.step()
    assert world.phase("a") is Phase.PREPARING
    assert "left behind can't be removed" in caplog.text
    world.dispatcher.step()
    assert handle not in world.engine.runs


def test_a_store_whose_keys_can_not_be_had_fails_the_job_and_no_other(world, monkeypatch):
    world.submit("a")
    world.submit("b")
    make_run = world.dispatcher._make_run

    def without_keys(job, *rest):
        if job.name == "a":
            raise ConfigurationError("The keys of the AWS profile 'work' can't be had: they have expired.")
        return make_run(job, *rest)

    monkeypatch.setattr(world.dispatcher, "_make_run", without_keys)
    world.dispatcher.step()
    assert world.phase("a") is Phase.FAILED
    assert "profile 'work'" in world.store.job("a").failure_reason
    assert world.phase("b") is Phase.PREPARING


def test_more_of_a_line_is_read_where_its_first_do_not_tell(world):
    """The first two are too large for what is free, and let the third pass."""
    world.engine.room = Resources(8, 64 << 30, 0, 10)
    world.restart()
    world.submit("held", kind="ml.m5.xlarge")
    world.dispatcher.step()
    for name in "ab":
        world.submit(name, kind="ml.m5.2xlarge")
    world.submit("c", kind="ml.m5.xlarge")
    world.dispatcher.step()
    assert [world.phase(n) for n in "abc"] == [Phase.QUEUED, Phase.QUEUED, Phase.PREPARING]


def test_a_line_whose_first_can_not_be_prepared_goes_on_behind_them(world, monkeypatch, caplog):
    for number in range(5):
        world.submit(f"j{number}")
    real = world.engine.prepare
    monkeypatch.setattr(
        world.engine, "prepare", lambda run: 1 / 0 if run.job_name in {"j0", "j1"} else real(run)
    )
    world.dispatcher.step()
    assert [world.phase(f"j{n}") for n in range(5)] == [Phase.QUEUED] * 2 + [Phase.PREPARING] * 3
    assert "can't be prepared" in caplog.text
