"""Several engines as one, and what the dispatcher makes of them."""

import pytest
from dispatch_world import World
from test_fake_engine import fake, make

from penstock.dispatch.outlook import nodes, outlook
from penstock.engines.fleet import Fleet
from penstock.engines.local import LocalEngine
from penstock.job.claim import ENGINE, Choice, Resources
from penstock.job.life import Phase
from penstock.testing.engines import EngineSuite
from penstock.testing.fake_engine import FakeEngine

GIB = 1 << 30
BOTH = Choice(("local", "ray"), None, Resources(4, 16 * GIB, 0, 8))


class TestFleet(EngineSuite):
    """Of two fakes, of which the second is the one that has room."""

    @pytest.fixture
    def engine(self):
        full = FakeEngine(Resources(), "full")
        full.lacks = lambda _: "has no room"
        return Fleet([full, fake()])

    @pytest.fixture
    def long_run(self):
        return lambda host: make(host, short=False)

    @pytest.fixture
    def short_run(self):
        return lambda host: make(host, short=True)


def test_what_was_prepared_is_found_where_it_lies_by_a_server_that_has_just_been_started(tmp_path):
    parts = [LocalEngine(tmp_path / name) for name in ("a", "b")]
    handle = parts[1].prepare(make("algo-1", short=True))
    fleet = Fleet([LocalEngine(tmp_path / "a")], [LocalEngine(tmp_path / "b")])
    assert fleet.knows(handle)
    assert not parts[0].knows(handle)
    assert [list(one.jobs.values()) for one in fleet.machines()] == [[], [["algo-1"]]]
    fleet.forget(handle)
    assert len(fleet.machines()) == 1, "who begins nothing and has nothing is not shown"
    assert not parts[1].knows(handle)
    assert not fleet.knows(handle)


@pytest.mark.parametrize(
    ("choice", "tags", "wanted", "engine"),
    [
        (BOTH, {}, Resources(4, 16 * GIB, 0, 1), "local"),
        (BOTH, {}, Resources(8, 16 * GIB, 0, 1), "ray"),
        (BOTH, {}, Resources(4, 32 * GIB, 0, 1), "ray"),
        (BOTH, {}, Resources(4, 16 * GIB, 1, 1), "ray"),
        (BOTH, {}, Resources(2, GIB, 0, 2), "ray"),
        (BOTH, {ENGINE: "local"}, Resources(2, GIB, 0, 2), "local"),
        (BOTH, {ENGINE: "ray"}, Resources(1, GIB, 0, 1), "ray"),
        (Choice(("local", "ray"), "ray", BOTH.here), {}, Resources(1, GIB, 0, 1), "ray"),
        (Choice(("local", "ray"), "ray", BOTH.here), {ENGINE: "local"}, Resources(1, GIB, 0, 1), "local"),
        (Choice(("ray",)), {}, Resources(1, GIB, 0, 1), ""),
        (Choice(("ray",)), {ENGINE: "ray"}, Resources(1, GIB, 0, 1), "ray"),
    ],
)
def test_a_job_waits_for_the_engine_of_its_tag_or_a_setting_or_its_size(choice, tags, wanted, engine):
    assert choice.of(tags, wanted) == engine


def test_a_tag_that_names_no_engine_of_the_server_is_none():
    with pytest.raises(ValueError, match="'slurm' is no engine of this server, which has local and ray"):
        BOTH.of({ENGINE: "slurm"}, Resources())


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.local = FakeEngine(Resources(2, 1 << 40, 0, 2), "local")
    made.ray = FakeEngine(Resources(4, 1 << 40, 0, 4), "ray")
    made.engine = Fleet([made.local, made.ray])
    made.restart()
    yield made
    made.store.close()


def waiting(world):
    told = outlook(world.store, world.engine, next(world.time), hindrance=world.dispatcher.hindrance)
    return {one["name"]: (one["engine"], one["position"], one["reason"]) for one in told["waiting"]}


def test_who_waits_for_one_engine_holds_nobody_up_who_waits_for_another(world):
    """Not by a full machine, not by its patience, and not by the number of those who wait before."""
    for n in range(40):
        world.submit(f"far-{n}", 4, engine="ray", priority=5)
    world.time = iter(range(200_000, 900_000))
    for n in range(3):
        world.submit(f"near-{n}", engine="local")
    world.dispatcher.step()
    assert sorted(world.ray.runs) == [f"far-0-uid/algo-{n}" for n in (1, 2, 3, 4)]
    assert sorted(world.local.runs) == ["near-0-uid/algo-1", "near-1-uid/algo-1"]
    told = waiting(world)
    assert told["near-2"][:2] == ("local", 1)
    assert told["far-1"][:2] == ("ray", 1)
    assert "near" not in told["far-1"][2]
    for n in (1, 2, 3, 4):
        world.report("far-0", f"algo-{n}", outcome="succeeded")
    world.dispatcher.step()
    world.dispatcher.step()
    assert world.phase("far-1") is Phase.PREPARING
    assert world.phase("near-2") is Phase.QUEUED


def test_the_engine_of_a_job_is_on_record_and_its_runs_are_found_after_a_restart(world):
    world.submit("far", engine="ray")
    world.submit("any")
    world.dispatcher.step()
    assert [world.store.job(name).engine for name in ("far", "any")] == ["ray", "local"]
    world.engine = Fleet([world.local, world.ray])
    world.restart()
    world.dispatcher.step()
    assert [world.ray.runs["far-uid/algo-1"].starts, world.local.runs["any-uid/algo-1"].starts] == [1, 1]
    told = {one["engine"]: one for one in nodes(world.store, world.engine)}
    assert told["ray"]["jobs"] == [{"name": "far", "instances": ["algo-1"]}]
    assert told["ray"]["taken"]["cpus"] == 1
    assert told["local"]["taken"]["cpus"] == 1


def test_who_waits_for_an_engine_that_the_server_has_no_more_says_so(world):
    world.engine = Fleet([world.local])
    world.restart()
    world.submit("far", engine="ray")
    world.dispatcher.step()
    assert waiting(world) == {"far": ("ray", 1, "needs the engine ray, and this server has local")}


def test_a_job_that_is_sent_to_another_engine_gives_its_room_back(world):
    world.ray.reservation = type(world.ray.reservation)(ready=False)
    job = world.submit("moves", engine="ray")
    world.dispatcher.step()
    world.store.send(job, "local")
    world.dispatcher.step()
    assert world.ray.cancelled == ["moves-uid"]
    assert world.store.job("moves").engine == "local"
    assert world.phase("moves") is Phase.PREPARING
    world.store.send(job, "ray")
    assert world.store.job("moves").engine == "local", "it has begun"


def test_those_without_room_are_told_to_their_engine_the_next_first(world):
    world.ray.wanted = []
    world.ray.lacks = lambda wanted: "is small" if wanted.instances > 4 else None
    world.submit("large", 9, engine="ray", priority=1)
    for n in range(2):
        world.submit(f"far-{n}", 4, engine="ray")
    world.submit("near", engine="local")
    world.dispatcher.step()
    assert world.ray.wanted == ["large", "far-1"]


def test_a_server_with_other_engines_sends_what_waits_anew_but_what_a_tag_has_sent(world):
    large = {"kind": "ml.m5.24xlarge"}
    for name, more, tags in (
        ("small", {}, {}),
        ("large", large, {}),
        ("many", {"instances": 3}, {}),
        ("told", large, {ENGINE: "local"}),
    ):
        world.submit(name, **more)
        world.store.put_tags(world.store.job(name), tags, 50)

    def engines():
        return {claim.name: claim.engine for claim in world.store.waiting()}

    for choice, expected in (
        (BOTH, {"small": "local", "large": "ray", "many": "ray", "told": "local"}),
        (Choice(("ray",)), {"small": "", "large": "", "many": "", "told": "local"}),
        (Choice(("local", "ray"), "ray"), {"small": "ray", "large": "ray", "many": "ray", "told": "local"}),
    ):
        world.store.assign(choice)
        assert engines() == expected
        untagged = [one for one in world.store.waiting() if one.name != "told"]
        assert [choice.of({}, one.resources) for one in untagged] == [one.engine for one in untagged]
