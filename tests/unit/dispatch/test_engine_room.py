"""Room that the engine gives, or does not; and runners that nobody can ask."""

import time

import pytest
from dispatch_world import World

from penstock.dispatch.lease import Alone
from penstock.dispatch.outlook import outlook
from penstock.engines.base import Life, Reservation
from penstock.job.claim import Resources
from penstock.job.life import Phase, StopAsked, advance

REFUSED = "needs room for 2 instances at once, and 1 would find it"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.store.close()


def waiting(world):
    told = outlook(world.store, world.engine, next(world.time), hindrance=world.dispatcher.hindrance)
    return [(one["name"], one["reason"]) for one in told["waiting"]]


def test_while_room_is_made_it_counts_as_taken_and_nothing_is_started(world):
    world.engine.reservation = Reservation(ready=False)
    world.submit("large", instances=3)
    world.submit("small", instances=2)
    world.dispatcher.step()
    assert world.engine.runs == {}
    assert waiting(world)[0] == ("large", "is about to start")
    world.engine.reservation = Reservation()
    world.dispatcher.step()
    assert [world.phase(name) for name in ("large", "small")] == [Phase.PREPARING, Phase.QUEUED]


def test_who_is_refused_lets_others_pass_and_says_why_until_there_is_room(world):
    refused = {"a-uid"}
    reserve = world.engine.reserve
    world.engine.reserve = lambda uid, wanted, beside=None: (
        Reservation(ready=False, lacking=REFUSED) if uid in refused else reserve(uid, wanted)
    )
    world.submit("a", instances=2)
    world.submit("b", instances=3)
    world.dispatcher.step()
    assert [world.phase(name) for name in "ab"] == [Phase.QUEUED, Phase.PREPARING]
    assert waiting(world) == [("a", REFUSED)]
    for n in (1, 2, 3):
        world.report("b", f"algo-{n}", outcome="succeeded")
    refused.clear()
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.phase("a") is Phase.PREPARING
    assert world.engine.cancelled == []


def test_what_could_never_be_placed_keeps_nobody_waiting_however_long_it_waits(world):
    world.engine.lacks = lambda wanted: "needs more nodes" if wanted.instances > 2 else None
    world.submit("large", instances=9)
    next_minute = 10 * 60_000
    world.time = iter(range(next_minute, 2 * next_minute))
    for n in range(4):
        world.submit(f"small-{n}")
    world.dispatcher.step()
    assert [world.phase(f"small-{n}") for n in range(4)] == [Phase.PREPARING] * 4
    assert waiting(world) == [("large", "needs more nodes")]
    world.engine.lacks = lambda _: None
    for n in range(4):
        world.report(f"small-{n}", outcome="succeeded")
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.phase("large") is Phase.PREPARING


@pytest.mark.parametrize("lacking", [None, REFUSED])
def test_who_is_stopped_before_there_was_room_gives_it_back(world, lacking):
    world.engine.reservation = Reservation(ready=False, lacking=lacking)
    world.submit("a")
    world.dispatcher.step()
    job = world.store.job("a")
    world.store.save_job(advance(job, StopAsked(), next(world.time)))
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.engine.cancelled == ["a-uid"]
    assert world.phase("a") is Phase.STOPPED


def test_a_runner_that_nobody_can_ask_is_given_up_with_its_lease_and_not_before(world):
    world.restart(runner_ms=3_600_000)
    world.submit("a", instances=2)
    world.dispatcher.step()
    for n in (1, 2):
        world.report("a", f"algo-{n}", kind="phase", phase="running")
    world.run("a", "algo-2").life = Life.UNKNOWN
    world.dispatcher.step()
    assert world.phase("a") is Phase.RUNNING
    assert world.run("a", "algo-2").starts == 1


def test_the_lost_one_is_named_and_the_others_are_stopped(world):
    world.restart(runner_ms=1)
    world.submit("a", instances=2)
    world.dispatcher.step()
    for n in (1, 2):
        world.report("a", f"algo-{n}", kind="phase", phase="running")
    world.run("a", "algo-2").life = Life.UNKNOWN
    time.sleep(0.01)  # the lease is the database's to judge, by its own clock
    world.dispatcher.step()
    assert [world.run("a", f"algo-{n}").stops for n in (1, 2)] == [1, 0]
    world.report("a", "algo-1", sequence=2, outcome="halted")
    world.dispatcher.step()
    assert world.store.job("a").failure_reason.startswith("InternalServerError: algo-2 is lost: ")
    assert world.store.job("a").failure_reason.endswith("(instance algo-2)")


def test_the_queue_gives_out_what_the_engine_has_at_that_moment(world):
    world.engine.room = Resources()
    world.submit("a")
    world.dispatcher.step()
    assert world.phase("a") is Phase.QUEUED
    world.engine.room = Resources(4, 1 << 40, 0, 4)
    world.dispatcher.step()
    assert world.phase("a") is Phase.PREPARING


def test_a_server_that_is_just_back_first_hears_whom_it_missed():
    time = 0.0
    right = Alone(600_000, lambda: time)
    for at, settled in (
        (0, False),
        (10, False),
        (25, False),
        (31, True),
        (100, False),
        (114, False),
        (131, True),
    ):
        time = at
        right.held()
        assert right.settled() is settled
        for between in range(1, 4) if at == 114 else ():
            time = at + between * 5
            right.held()
    assert Alone().settled()
