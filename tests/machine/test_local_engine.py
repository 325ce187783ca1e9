"""The engine of this machine, with real runners that report to nobody: there is no server."""

import contextlib
import fcntl
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from engine_runs import RealRuns, run_of
from patience import until

from penstock.engines.base import Life
from penstock.engines.local import LocalEngine
from penstock.job.claim import Resources
from penstock.job.run import S3Access
from penstock.testing.engines import EngineSuite, until_dead

pytestmark = pytest.mark.machine


class TestLocalEngine(RealRuns, EngineSuite):
    @pytest.fixture(params=[False, True], ids=["spawned", "forked"])
    def engine(self, tmp_path, request):
        made = LocalEngine(tmp_path / "runs", capacity=Resources(4, 16 << 30, 0, 4))
        if request.param:
            made.warm_up()
        yield made
        made.close()

    def test_a_runner_outlives_its_engine(self, engine, long_run):
        handle = engine.prepare(long_run("algo-1"))
        engine.start(handle)
        engine.close()
        again = LocalEngine(engine._folder)
        assert again.probe(handle) is Life.ALIVE
        again.stop(handle)
        until_dead(again, handle)

    def test_a_runner_learns_how_its_program_ends_whoever_starts_it(self, engine, short_run):
        handle = engine.prepare(short_run("algo-1"))
        before = signal.signal(
            signal.SIGCHLD, signal.SIG_IGN
        )  # as a Ray node may; what it starts inherits it
        try:
            engine.start(handle)
        finally:
            signal.signal(signal.SIGCHLD, before)
        until_dead(engine, handle)
        assert engine.remains(handle, 0).events[-1].data["outcome"] == "succeeded"

    def test_a_nursery_that_died_keeps_nobody_from_starting_and_is_replaced(self, tmp_path, short_run):
        engine = LocalEngine(tmp_path / "runs")
        engine.warm_up()
        dead = engine._nursery._process
        dead.kill()
        dead.wait()
        handle = engine.prepare(short_run("algo-1"))
        engine.start(handle)
        until_dead(engine, handle)
        assert engine.remains(handle, 0).events[-1].kind == "ended"
        assert engine._nursery._process.poll() is None
        engine.close()


class TestRunnersThatGoOn:
    """A runner whose run has left no traces does the next one, and nothing of the one meets the other."""

    @pytest.mark.parametrize("end", ["exit 3", "kill -9 $$", "sleep 600"])
    def test_one_that_failed_or_was_stopped_does_no_other(self, told, end):
        first = told.begun("odd", end)
        told.go("odd")
        if "sleep" in end:
            told.engine.stop("odd/algo-1")
        told.over("odd")
        assert first not in [told.done(f"j-{n}") for n in range(3)]

    def test_who_kills_it_kills_its_own_run_alone(self, told):
        before, second, pid = told.second_run()
        os.kill(pid, signal.SIGKILL)
        until_dead(told.engine, f"{second}/algo-1")
        assert told.outcome(before) == "succeeded"
        assert told.done("third") != pid
        told.engine.start(f"{second}/algo-1")
        told.over(second)
        end = told.engine.remains(f"{second}/algo-1", 0).events[-1]
        assert "ended without a report" in end.data["reason"]

    def test_one_that_is_killed_while_it_waits_keeps_nobody_from_starting(self, told):
        first = told.done("j-1")
        os.kill(first, signal.SIGKILL)
        until(lambda: not alive(first))
        assert told.done("j-2") != first

    def test_a_stop_that_comes_with_the_end_of_its_run_meets_no_other(self, told):
        first = told.begun("slow")
        with (told.folder("slow") / "pid").open() as pid:
            fcntl.flock(pid, fcntl.LOCK_SH)  # as one who stops, and is slow
            told.go("slow")
            until(lambda: told.outcome("slow"))
            assert told.engine.probe("slow/algo-1") is Life.ALIVE
            told.engine.stop("slow/algo-1")
        told.over("slow")
        assert first not in [told.done(f"j-{n}") for n in range(3)]
        assert {told.outcome(job) for job in told.jobs} == {"succeeded"}

    def test_a_stop_of_a_run_that_is_over_meets_no_other(self, told):
        before, second, _ = told.second_run()
        told.engine.stop(f"{before}/algo-1")
        told.go(second)
        told.over(second)
        assert told.outcome(second) == "succeeded"

    def test_its_open_files_are_those_of_its_own_run(self, told):
        before, second, pid = told.second_run()
        names = [os.readlink(link.path) for link in os.scandir(f"/proc/{pid}/fd")]
        assert {str(told.folder(second) / name) for name in ("lock", "runner.err")} <= set(names)
        assert not any(before in name.split("/") for name in names)
        assert (told.folder(second) / "runner.err").read_text() == ""

    def test_one_that_has_talked_to_an_object_store_does_the_next(self, told, address, session, s3):
        s3.put_object(Bucket=session.default_bucket(), Key="go-on/x.csv", Body=b"1,2")
        there = f"s3://{session.default_bucket()}/go-on"
        told.s3 = S3Access(address.endpoint, "us-east-1", address.access_key_id, address.secret_access_key)
        told.asked = {
            "ProcessingInputs": [
                {
                    "InputName": "x",
                    "S3Input": {
                        "S3Uri": there,
                        "LocalPath": "/opt/ml/processing/x",
                        "S3DataType": "S3Prefix",
                    },
                }
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "y",
                        "S3Output": {"S3Uri": f"{there}-out", "LocalPath": "/opt/ml/processing/x"},
                    }
                ]
            },
        }
        _, second, _ = told.second_run()
        told.go(second)
        told.over(second)
        assert {told.outcome(job) for job in told.jobs} == {"succeeded"}
        brought = [(told.folder(job) / "ml/processing/x/x.csv").read_text() for job in told.jobs]
        assert set(brought) == {"1,2"}

    def test_those_that_wait_end_with_their_nursery(self, told):
        pids = {told.done(f"j-{n}") for n in range(3)}
        told.engine.close()
        until(lambda: not any(map(alive, pids)))

    def test_no_run_is_done_without_its_lock(self, told):
        told.done("j-1")  # its runner waits, unless it has ended
        nursery = told.engine._nursery
        handle = told.engine.prepare(told.run("unseen"))
        nursery._requests.send(os.fsencode(told.engine._folder / handle))
        assert nursery._process.wait(60) == 0
        told.done("j-2")  # by another nursery
        assert not (told.folder("unseen") / "pid").exists()

    @pytest.fixture
    def told(self, tmp_path, settings):
        made = Told(LocalEngine(tmp_path / "runs"), settings)
        made.engine.warm_up()
        yield made
        for job in made.jobs:
            made.engine.stop(f"{job}/algo-1")
            until_dead(made.engine, f"{job}/algo-1")
        made.engine.close()


class Told:
    """Runs that wait for leave to end, so that their runner can be looked at."""

    def __init__(self, engine, settings):
        self.engine = engine
        self.jobs = []
        self.asked = {}
        self.s3 = None
        self._settings = settings

    def folder(self, job):
        return self.engine._folder / job / "algo-1"

    def run(self, job, end="true"):
        program = f"touch /opt/ml/begun; until [ -e /opt/ml/go ]; do sleep 0.05; done; {end}"
        run = run_of(self._settings, "algo-1", program)
        return replace(
            run, job_uid=job, hosts=("algo-1",), request={**run.request, **self.asked}, s3=self.s3 or run.s3
        )

    def begun(self, job, end="true"):
        """Begin a run; the process that does it."""
        self.jobs.append(job)
        self.engine.start(self.engine.prepare(self.run(job, end)))
        until((self.folder(job) / "ml/begun").exists)
        return int((self.folder(job) / "pid").read_text())

    def go(self, job):
        (self.folder(job) / "ml/go").touch()

    def over(self, job):
        """The run is over, and its runner waits for the next one, or ends."""
        until_dead(self.engine, f"{job}/algo-1")
        assert (self.folder(job) / "pid").read_text() == ""

    def done(self, job):
        pid = self.begun(job)
        self.go(job)
        self.over(job)
        assert self.outcome(job) == "succeeded"
        return pid

    def second_run(self):
        """Begin runs until a process does one that has done another before: both, and the process."""
        seen = {}
        deadline = time.monotonic() + 90
        while (pid := self.begun(job := f"run-{len(seen)}")) not in seen:
            assert time.monotonic() < deadline, "no runner does a second run"
            seen[pid] = job
            self.go(job)
            self.over(job)
        return seen[pid], job, pid

    def outcome(self, job):
        events = self.engine.remains(f"{job}/algo-1", 0).events
        return events[-1].data.get("outcome") if events else None


def alive(pid):
    """Whether one of its threads is: they hold its files as long as they last."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # just gone
            states.append(thread.read_text().rpartition(") ")[2][0])
    return not set(states) <= {"Z", "X"}
