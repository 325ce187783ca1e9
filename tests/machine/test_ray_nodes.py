"""Ray on simulated machines: what jobs on Ray are tested on does what it says."""

import pytest
from patience import until
from ray_nodes import HEAD, DriverFailed

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

_ALL = ["node1", "node2", "node3", "node4"]
#: A gang as an engine would have it; what is told is where its actors are.
_GANG = """
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Placed
gang, count = arguments
group = placement_group([{"CPU": 1}] * count, strategy="STRICT_SPREAD", lifetime="detached", name=gang)
assert group.wait(120)
@ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)
class Host:
    def __init__(self):
        self.calls = 0
    def where(self):
        import os, socket
        self.calls += 1
        return socket.gethostname(), os.getpid(), self.calls
hosts = [
    Host.options(name=f"{gang}-{n}", lifetime="detached", scheduling_strategy=Placed(group, n)).remote()
    for n in range(count)
]
told = ray.get([host.where.remote() for host in hosts])
"""
_ASK = "told = ray.get(ray.get_actor(*arguments).where.remote(), timeout=120)"
_END = """
gang, count = arguments
for n in range(count):
    try:
        ray.kill(ray.get_actor(f"{gang}-{n}"))
    except ValueError:
        pass  # it is dead
ray.util.remove_placement_group(ray.util.get_placement_group(gang))
told = None
"""


def gang(cluster, name, count=4, on=HEAD):
    """Where the actors of a new gang are: node, process and calls that it has had."""
    return cluster.drive(_GANG, name, count, on=on)


def test_the_cluster_has_four_nodes_and_asks_for_a_token(cluster):
    assert cluster.alive() == _ALL
    assert cluster.alive("node3") == _ALL
    cluster.end_driver("node2")
    token = cluster.nodes["node2"].env.pop("RAY_AUTH_TOKEN")
    with pytest.raises(DriverFailed):
        cluster.alive("node2")
    cluster.nodes["node2"].env["RAY_AUTH_TOKEN"] = token


def test_a_gang_has_an_actor_on_each_node_which_outlives_its_driver(cluster):
    places = gang(cluster, "spread")
    assert sorted(node for node, _, _ in places) == _ALL
    cluster.end_driver()
    node, pid, calls = places[3]
    assert cluster.drive(_ASK, "spread-3", on="node2") == [node, pid, calls + 1]
    cluster.drive(_END, "spread", 4)


def test_one_that_is_killed_is_gone_for_ray_and_comes_back_as_a_new_node(cluster):
    places = gang(cluster, "killed")
    cluster.kill("node4")
    cluster.wait_for("node1", "node2", "node3")
    lost = next(n for n, (node, _, _) in enumerate(places) if node == "node4")
    # For a moment after its node its name is still there.
    with pytest.raises(DriverFailed, match=r"Failed to look up actor|ActorDiedError"):
        cluster.drive(_ASK, f"killed-{lost}")
    cluster.drive(_END, "killed", 4)
    cluster.add("node4")
    cluster.wait_for(*_ALL)


def test_one_that_is_cut_off_is_dead_for_ray_and_runs_on(cluster):
    places = gang(cluster, "cut")
    cluster.cut("node3")
    cluster.wait_for("node1", "node2", "node4")
    assert {"raylet", "ray::Host"} <= set(cluster.nodes["node3"].processes().values())
    cluster.heal("node3")
    cluster.join("node3")
    cluster.wait_for(*_ALL)
    until(lambda: "ray::Host" not in cluster.nodes["node3"].processes().values())
    assert sorted(node for node, _, _ in places) == _ALL
    cluster.drive(_END, "cut", 4)


def test_the_nodes_ride_out_a_restart_of_the_head(cluster):
    places = gang(cluster, "head")
    cluster.restart_head()
    cluster.wait_for(*_ALL)
    kept = next(n for n, (node, _, _) in enumerate(places) if node == "node2")
    node, pid, calls = places[kept]
    assert cluster.drive(_ASK, f"head-{kept}") == [node, pid, calls + 1]
    cluster.drive(_END, "head", 4)
