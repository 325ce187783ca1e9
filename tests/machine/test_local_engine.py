"""The engine of this machine, with real runners that report to nobody: there is no server."""

import signal

import pytest
from engine_runs import RealRuns

from penstock.engines.base import Life
from penstock.engines.local import LocalEngine
from penstock.job.claim import Resources
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
