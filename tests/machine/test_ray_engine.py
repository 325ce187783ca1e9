"""A Ray cluster as an engine, on one real node, with real runners that report to nobody: there is no server."""

import json
import os
import signal
import threading

import pytest
from engine_runs import RealRuns, run_of
from one_ray_node import OneRayNode
from patience import until

from penstock.engines.base import Life
from penstock.engines.ray.engine import RayEngine
from penstock.testing.engines import EngineSuite, prepared, until_dead

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def node(tmp_path_factory, home):
    made = OneRayNode(
        tmp_path_factory.mktemp("ray"),
        cpus=8,
        gpus=2,
        PENSTOCK_ENVIRONMENTS=os.environ["PENSTOCK_ENVIRONMENTS"],
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def connect(node, tmp_path_factory):
    """Makes an engine that is connected; all have the same folder, as those of a server that is started anew."""
    made = []
    folder = tmp_path_factory.mktemp("server") / "cluster"
    os.environ.update(node.auth)  # `home` puts them back

    def connect(address=node.address):
        changed = threading.Event()
        engine = RayEngine(folder, "server", address, reachable=False, changed=changed.set)
        made.append(engine)
        engine.warm_up()
        assert changed.wait(90)
        return engine

    yield connect
    for engine in made:
        engine.close()


@pytest.fixture(scope="module")
def connected(connect):
    return connect()


class TestRayEngine(RealRuns, EngineSuite):
    @pytest.fixture
    def engine(self, connected):
        yield connected
        for handle in connected._kept.handles():
            connected.stop(handle)
            if connected.probe(handle) is Life.ALIVE:
                until_dead(connected, handle)
        connected.sweep(set())
        until(lambda: not connected._link.call("jobs"))

    def test_a_server_that_is_no_node_of_the_cluster_joins_by_its_client_server(
        self, engine, connect, node, short_run
    ):
        other = connect(node.client_address)
        assert other.capacity() == engine.capacity()
        handle = prepared(other, short_run("algo-1"))
        other.start(handle)
        until_dead(other, handle)
        assert other.remains(handle, 0).events[-1].data["outcome"] == "succeeded"
        assert engine.probe(handle) is Life.DEAD
        other.close()

    def test_each_instance_is_given_the_cards_that_ray_has_for_it_also_by_another_door(
        self, engine, node, settings
    ):
        runs = [run_of(settings, host, "env; sleep 600", "ml.g4dn.xlarge") for host in ("algo-1", "algo-2")]
        first, second = (prepared(engine, run) for run in runs)
        engine.start(first)
        kill_doors(node)
        engine.start(second)
        given = [
            json.loads((node.home / "ray/server" / one / "run.json").read_text())["gpus"]
            for one in (first, second)
        ]
        assert sorted(given) == [[0], [1]]

    def test_a_start_may_be_asked_for_again_of_the_door_that_follows_one_that_died(
        self, engine, node, long_run, short_run
    ):
        living, ended = prepared(engine, long_run("algo-1")), prepared(engine, short_run("algo-2"))
        for handle in (living, ended):
            engine.start(handle)
        until_dead(engine, ended)
        runner = node.home / "ray/server" / living / "pid"
        until(runner.exists)
        before = runner.read_text(), engine.remains(ended, 0)
        kill_doors(node)
        for handle in (living, ended):
            engine.start(handle)
        assert engine.probe(living) is Life.ALIVE
        assert (runner.read_text(), engine.remains(ended, 0)) == before


def kill_doors(node):
    doors = node.processes(b"ray::Door")
    assert doors
    for pid in doors:
        os.kill(pid, signal.SIGKILL)
