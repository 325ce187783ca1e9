"""Where a job goes that begins anew, and what is told of it meanwhile."""

import pytest
from test_attempts_of_jobs import Retrying

from penstock.api import own
from penstock.api.admission import Admission
from penstock.api.context import Context
from penstock.dispatch.outlook import nodes
from penstock.engines.fleet import Fleet
from penstock.job.claim import ENGINE, Choice, Resources
from penstock.job.life import Phase
from penstock.progress import Progress
from penstock.testing.fake_engine import FakeEngine


class OnEngines(Retrying):
    """One server with some engines; it may be followed by one with others."""

    def serve(self, *names):
        """As a server of the same database that has these engines."""
        self.parts = {name: FakeEngine(Resources(8, 1 << 40, 0, 8), name) for name in names}
        self.engine = Fleet(list(self.parts.values())) if len(names) > 1 else self.parts[names[0]]
        self.choice = Choice(names, None, Resources(8, 1 << 40, 0, 8))
        self.restart()

    def run(self, name, host="algo-1"):
        return next(part for part in self.parts.values() if part.runs).runs[f"{name}-uid/{host}"]


@pytest.fixture
def world(tmp_path):
    made = OnEngines(tmp_path)
    made.serve("local", "ray")
    yield made
    made.store.close()


def test_a_job_that_begins_anew_goes_to_the_engine_that_its_tag_names_by_now(world):
    world.begin()
    assert world.job.engine == "local"
    world.store.put_tags(world.job, {ENGINE: "ray"}, 50)
    world.lose()
    world.dispatcher.step()
    assert (world.job.engine, world.job.attempt) == ("ray", 2)
    assert (list(world.parts["local"].runs), list(world.parts["ray"].runs)) == ([], ["job-uid/algo-1.2"])


@pytest.mark.parametrize(("tags", "engine"), [({}, "local"), ({ENGINE: "ray"}, "ray")])
def test_what_was_lost_on_an_engine_that_the_server_has_no_more_begins_on_another_but_for_a_tag(
    world, tags, engine
):
    world.serve("ray")
    world.begin(tags=tags)
    assert world.job.engine == "ray"
    gone = world.engine
    world.serve("local")
    world.engine = Fleet([world.parts["local"]], [gone])
    world.parts["ray"] = gone
    world.restart()
    world.lose()
    world.dispatcher.step()
    assert (world.job.engine, world.job.attempt) == (engine, 2)
    assert world.job.phase is (Phase.PREPARING if engine == "local" else Phase.QUEUED)


def test_a_node_names_the_instances_of_the_attempt_that_it_bears(world):
    world.begin(instances=2)
    world.lose()
    world.dispatcher.step()
    [there] = [one for one in nodes(world.store, world.engine) if one["jobs"]]
    assert there["jobs"] == [{"name": "job", "instances": ["algo-1", "algo-2"]}]
    assert there["taken"]["instances"] == 2
    context = Context(
        world.store,
        world.logbook,
        "r",
        "1",
        lambda: 1,
        lambda **_: None,
        Admission(world.store.add_jobs),
        nodes=lambda: nodes(world.store, world.engine),
    )
    told = own._record(context, "job")
    assert [(one["name"], one["node"]) for one in told["hosts"]] == [
        ("algo-1", "fake-1"),
        ("algo-2", "fake-1"),
    ]


def test_what_a_lost_attempt_moved_is_no_progress_of_the_next(world):
    context = Context(
        world.store, world.logbook, "r", "1", lambda: 1, lambda **_: None, Admission(world.store.add_jobs)
    )
    world.begin()
    context.transfers["job-uid", "algo-1"] = Progress("download", 1, 5, 2, 10)
    assert own._record(context, "job")["progress"]["bytes"] == 5
    world.lose()
    world.dispatcher.step()
    assert (world.job.phase, world.job.attempt) == (Phase.PREPARING, 2)
    assert own._record(context, "job")["progress"] is None
