"""The conformance suite of engines: subclass `EngineSuite`, give it an engine and a run, and pytest does the rest."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from penstock.engines.base import Engine, Life
from penstock.errors import InternalFailure
from penstock.job.claim import resources_of
from penstock.job.run import Run

_PATIENCE = 90.0


class EngineSuite:
    """What every engine must do.

    Fixtures that a subclass gives:
        engine: the engine under test; it has room for two of the runs.
        long_run: makes a `Run` whose program runs until it is stopped; called with the name of its host.
        short_run: the same with a program that ends at once.
    """

    def test_a_handle_depends_on_nothing_but_the_run(
        self, engine: Engine, long_run: Callable[[str], Run]
    ) -> None:
        """A start that was never written down can be found again."""
        run = long_run("algo-1")
        assert engine.prepare(run) == engine.prepare(run)
        assert engine.prepare(run) != engine.prepare(long_run("algo-2"))

    def test_what_was_not_started_is_told_so(self, engine: Engine, long_run: Callable[[str], Run]) -> None:
        """Between intent and start nothing lives."""
        assert engine.probe(prepared(engine, long_run("algo-1"))) is Life.NEVER_STARTED

    def test_a_runner_lives_from_its_start_until_it_is_stopped(
        self, engine: Engine, long_run: Callable[[str], Run]
    ) -> None:
        """Alive at once, alive while it works, dead in the end."""
        handle = prepared(engine, long_run("algo-1"))
        engine.start(handle)
        assert engine.probe(handle) is Life.ALIVE
        engine.stop(handle)
        until_dead(engine, handle)

    def test_a_living_runner_is_not_started_again(
        self, engine: Engine, long_run: Callable[[str], Run]
    ) -> None:
        """A job never runs twice at the same time; and a start may be asked for again whose answer was lost."""
        handle = prepared(engine, long_run("algo-1"))
        for _ in range(2):
            engine.start(handle)
        assert engine.probe(handle) is Life.ALIVE
        engine.stop(handle)
        until_dead(engine, handle)
        ends = [event for event in engine.remains(handle, 0).events if event.kind == "ended"]
        assert len(ends) <= 1, "two runners worked on it"

    def test_what_has_come_to_its_end_is_not_started_again(
        self, engine: Engine, short_run: Callable[[str], Run]
    ) -> None:
        """Who was held up before a start may ask for it when somebody else has, and all is done."""
        handle = prepared(engine, short_run("algo-1"))
        engine.start(handle)
        until_dead(engine, handle)
        left = engine.remains(handle, 0)
        engine.start(handle)
        assert engine.probe(handle) is Life.DEAD
        assert engine.remains(handle, 0) == left

    def test_what_a_dead_runner_left_behind_can_be_read(
        self, engine: Engine, short_run: Callable[[str], Run]
    ) -> None:
        """Journal, log and upload manifest, from any place on."""
        handle = prepared(engine, short_run("algo-1"))
        engine.start(handle)
        until_dead(engine, handle)
        remains = engine.remains(handle, 0)
        assert remains.events[-1].kind == "ended"
        assert engine.remains(handle, len(remains.log)).log == b""
        assert engine.manifest(handle, 0) == b"", "its program stored nothing"

    def test_nothing_is_left_of_what_is_not_there_and_it_can_not_be_started(self, engine: Engine) -> None:
        """A machine that lost power may have lost a run's folder."""
        remains = engine.remains("j-1/algo-9", 0)
        assert (list(remains.events), remains.log) == ([], b"")
        assert engine.manifest("j-1/algo-9", 0) == b""
        with pytest.raises(InternalFailure):
            engine.start("j-1/algo-9")

    def test_what_is_gone_may_be_stopped_and_forgotten_again(
        self, engine: Engine, short_run: Callable[[str], Run]
    ) -> None:
        """Wishes that come late have no effect."""
        handle = prepared(engine, short_run("algo-1"))
        engine.start(handle)
        until_dead(engine, handle)
        engine.stop(handle)
        engine.forget(handle)
        engine.forget(handle)
        engine.stop(handle)
        assert engine.probe(handle) is Life.NEVER_STARTED

    def test_room_is_for_all_instances_or_for_none_and_can_be_given_back(
        self, engine: Engine, short_run: Callable[[str], Run]
    ) -> None:
        """And asking again is no second wish."""
        run = short_run("algo-1")
        assert engine.lacking(resources_of(run.request)) is None
        assert resources_of(run.request).cpus <= engine.capacity().cpus
        for _ in range(2):
            prepared(engine, run)
            engine.cancel(run.job_uid)
            engine.cancel(run.job_uid)

    def test_it_knows_what_it_has_prepared_and_where_that_is(
        self, engine: Engine, short_run: Callable[[str], Run]
    ) -> None:
        """Until it is forgotten; by its parts, where it has some."""
        run = short_run("algo-1")
        assert not engine.knows(f"{run.job_uid}/{run.host}")
        handle = prepared(engine, run)

        def places() -> list[str]:
            return [one.engine for one in engine.machines() if run.host in one.jobs.get(run.job_uid, ())]

        assert [part.name for part in engine.parts() if part.knows(handle)] == places()
        assert len(places()) == 1
        assert engine.knows(handle)
        engine.want(list)
        engine.forget(handle)
        assert not engine.knows(handle)
        assert places() == []

    def test_a_sweep_keeps_the_living_and_what_is_to_be_kept(
        self, engine: Engine, long_run: Callable[[str], Run], short_run: Callable[[str], Run]
    ) -> None:
        """And forgets the rest."""
        alive, dead = prepared(engine, long_run("algo-1")), prepared(engine, short_run("algo-2"))
        for handle in (alive, dead):
            engine.start(handle)
        until_dead(engine, dead)
        engine.sweep({dead})
        assert engine.probe(dead) is Life.DEAD
        engine.sweep(set())
        assert engine.probe(dead) is Life.NEVER_STARTED
        assert engine.probe(alive) is Life.ALIVE
        engine.stop(alive)
        until_dead(engine, alive)


def prepared(engine: Engine, run: Run) -> str:
    """Have room for a run's job and make it ready to be started; its handle."""
    deadline = time.monotonic() + _PATIENCE
    while not (reserved := engine.reserve(run.job_uid, resources_of(run.request))).ready:
        assert time.monotonic() < deadline, f"there is no room: {reserved.lacking}"
        time.sleep(0.01)
    return engine.prepare(run)


def until_dead(engine: Engine, handle: str) -> None:
    """Wait for the end of a runner; the kernel's word is asked for, for there is nobody to signal it."""
    deadline = time.monotonic() + _PATIENCE
    while engine.probe(handle) is not Life.DEAD:
        assert time.monotonic() < deadline, f"{handle} is still alive"
        time.sleep(0.01)
