"""Jobs when the head of their Ray cluster is killed and started again, which keeps what it knows in Redis or not at all.

With RocksDB, which the other tests have, `test_ray_machines` does the same.
"""

import os
import shutil

import pytest
import ray_nodes
from cluster_jobs import BUCKET, STAYS, begin, logs_on, places
from fleet import all_ended
from machine_home import ENVIRONMENTS
from penstock_machine import build_environment, client_on, penstock_on
from ray_nodes import HEAD

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]


#: The id that Ray has given to the node that is not the head.
OTHER = "told = [one['NodeID'] for one in ray.nodes() if one['Alive'] and one['NodeManagerAddress'] == arguments[0]]"


@pytest.fixture(params=["redis", "memory"])
def storage(request):
    """Where the head keeps what it knows."""
    return request.param


@pytest.fixture
def cluster(storage, tmp_path_factory):
    """Two machines."""
    problem = ray_nodes.lacking()
    if problem is None and storage == "redis" and shutil.which("redis-server") is None:
        problem = "redis-server is not installed"
        assert "redis" not in os.environ.get("PENSTOCK_TESTS_NEED", ""), problem
    if problem:
        pytest.skip(problem)
    build_environment(tmp_path_factory.mktemp("builder"))
    settings = {"PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS), "PENSTOCK_CACHE_BYTES": "0"}
    folder = tmp_path_factory.mktemp("nodes")
    with ray_nodes.ray_nodes(folder, 2, settings=settings, storage=storage) as nodes:
        yield nodes


def test_jobs_ride_out_the_death_of_the_head_and_all_room_is_there_afterwards(cluster, storage):
    store = cluster.store(BUCKET)
    settings = {
        "PENSTOCK_ENGINE": "ray",
        "PENSTOCK_RAY_ADDRESS": cluster.env["RAY_ADDRESS"],
        "PENSTOCK_AWS_LIMITS": "relaxed",
    }
    with (
        penstock_on(cluster, HEAD, store, **settings) as url,
        client_on(cluster, HEAD, "sagemaker", url) as client,
        logs_on(cluster, HEAD, url) as logged,
    ):
        begin(client, "rides", STAYS.replace("SECONDS", "10"), 2)
        places(cluster, logged, "rides", 2)
        before = cluster.drive(OTHER, cluster.address("node2"))
        assert len(before) == 1
        cluster.end_ray(HEAD)
        begin(client, "meanwhile", "pass", 2)
        cluster.join(HEAD)
        cluster.mend()  # a head that knows nothing of its nodes ends them: they are started again
        assert (cluster.drive(OTHER, cluster.address("node2")) == before) == (storage == "redis")
        assert all_ended(client, ["rides", "meanwhile"]) == {
            "rides": ("Completed", None),
            "meanwhile": ("Completed", None),
        }
        begin(client, "all", "pass", 2, kind="ml.m5.2xlarge")  # each has all CPUs of a node
        assert all_ended(client, ["all"]) == {"all": ("Completed", None)}
