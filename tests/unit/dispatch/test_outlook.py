"""What the queue says of itself."""

import pytest

from penstock.dispatch.outlook import outlook
from penstock.dispatch.schedule import PATIENCE_MS
from penstock.engines.base import Machine
from penstock.job.claim import Resources
from penstock.job.life import Carrier, Job, Started, advance
from penstock.store.servers import Entered, Server
from penstock.testing.fake_engine import FakeEngine
from penstock.testing.simulation.store import MemoryStore

GIB = 1 << 30
MACHINE = Resources(8, 32 * GIB, 1, 10)


@pytest.fixture
def store():
    return MemoryStore()


def put(store, name, kind="ml.m5.large", count=1, *, at=0, begun=False, **more):
    request = {"ProcessingResources": {"ClusterConfig": {"InstanceType": kind, "InstanceCount": count}}}
    job = Job(name, f"{name}-u", f"arn:{name}", request, at, at, **more)
    store.add_job(job, {})
    if begun:
        store.save_job(advance(job, Started(), at))


def reasons(store, capacity=MACHINE, now=1, servers=(), held_up=None):
    told = outlook(store, FakeEngine(capacity), now, servers, held_up=held_up)
    assert [one["position"] for one in told["waiting"]] == list(range(1, len(told["waiting"]) + 1))
    return {one["name"]: one["reason"] for one in told["waiting"]}


def test_who_holds_what_is_missing(store):
    put(store, "prep-1", "ml.c5.xlarge", begun=True)  # 4 CPUs, 8 GiB
    put(store, "prep-2", begun=True)  # 2 CPUs, 8 GiB
    put(store, "next", "ml.c5.xlarge")
    assert reasons(store) == {
        "next": "needs 4 CPUs, 2 of 8 are free; held by prep-1 (4 CPUs), prep-2 (2 CPUs)"
    }


def test_all_that_is_missing_is_named(store):
    put(store, "g", "ml.g4dn.xlarge", begun=True)  # 4 CPUs, 16 GiB, 1 GPU
    put(store, "h", "ml.g4dn.2xlarge")  # 8 CPUs, 32 GiB, 1 GPU
    assert reasons(store) == {
        "h": "needs 8 CPUs (4 of 8 are free) and 32 GiB of memory (16 GiB of 32 GiB are free) and 1 GPU (0 of 1 are "
        "free); held by g (4 CPUs, 16 GiB of memory, 1 GPU)"
    }


def test_places_for_instances_are_named(store):
    put(store, "a", begun=True)
    put(store, "b")
    assert reasons(store, Resources(64, 1 << 50, 0, 1)) == {
        "b": "needs 1 instance, 0 of 1 are free; held by a (1 instance)"
    }


def test_of_many_holders_the_first_are_named(store):
    for number in range(8):
        put(store, f"one-{number}", "ml.unheard-of.large", at=number, begun=True)
    put(store, "next")
    assert reasons(store)["next"].endswith("held by one-0 (1 CPU), one-1 (1 CPU), one-2 (1 CPU) and 5 more")


def test_what_is_larger_than_the_machine_waits_for_all_of_it(store):
    put(store, "small", begun=True)
    put(store, "huge", "ml.m5.4xlarge")
    assert reasons(store) == {
        "huge": "needs the whole machine (it asks for 16 CPUs, 64 GiB of memory); "
        "held by small (2 CPUs, 8 GiB of memory)"
    }


def test_who_waits_behind_one_that_has_waited_long_is_told_so(store):
    put(store, "running", begun=True)
    put(store, "large", "ml.c5.2xlarge")
    put(store, "small", at=1)
    assert reasons(store)["small"] == "is about to start"
    assert reasons(store, now=PATIENCE_MS) == {
        "large": "needs 8 CPUs, 6 of 8 are free; held by running (2 CPUs)",
        "small": "waits behind large, for which the machine is kept free",
    }


def test_what_runs_is_told_with_what_it_takes_and_what_is_left(store):
    put(store, "a", count=2, begun=True, owner="ann", priority=3)
    told = outlook(store, FakeEngine(MACHINE), 1)
    (running,) = told["running"]
    assert (running["name"], running["phase"], running["takes"], running["owner"], running["priority"]) == (
        "a",
        "preparing",
        "4 CPUs, 16 GiB of memory, 2 instances",
        "ann",
        3,
    )
    assert told["free"] == {"cpus": 4, "memory_bytes": 16 * GIB, "gpus": 1, "instances": 8}
    assert told["capacity"] == {"cpus": 8, "memory_bytes": 32 * GIB, "gpus": 1, "instances": 10}


def test_who_is_next_while_nothing_may_begin_is_told_why_and_the_others_what_they_wait_for(store):
    put(store, "a", "ml.c5.xlarge")
    put(store, "b", "ml.c5.2xlarge", at=1)
    assert reasons(store, held_up="needs 1 GiB of free disk") == {
        "a": "needs 1 GiB of free disk",
        "b": "needs 8 CPUs, 4 of 8 are free; held by a (4 CPUs)",
    }


def test_another_server_that_has_room_begins_them(store):
    put(store, "a", "ml.c5.xlarge")
    put(store, "b", "ml.c5.2xlarge", at=1)
    servers = [
        Entered(Server(name, f"http://{name}", name, f"/{name}", capacity, {}), Carrier(name, 1), True)
        for name, capacity in (("here", MACHINE), ("there", Resources(4, 32 * GIB, 0, 4)))
    ]
    told = reasons(store, servers=servers, held_up="needs 1 GiB of free disk")
    assert told["a"] == "is about to start"
    assert told["b"].startswith("needs 8 CPUs")


def test_what_is_larger_than_the_machine_takes_all_of_it_where_machines_are_told_too(store):
    put(store, "wide", "ml.m5.4xlarge", begun=True)  # 16 CPUs, 64 GiB
    room = Resources(8, 128 * GIB, 1, 10)
    engine = FakeEngine(room)
    there = {"wide-u": ["algo-1"]}
    engine.machines = lambda: [Machine("m", "", "fake", room, free, there)]
    free = None
    told = outlook(store, engine, 1)
    (node,) = told["nodes"]
    assert node["taken"] == node["total"] == told["capacity"]
    assert set(told["free"].values()) == {0}
    free = Resources(0, 64 * GIB, 1, 9)  # as a cluster tells, whose machines others may use beside
    (node,) = outlook(store, engine, 1)["nodes"]
    assert node["taken"]["memory_bytes"] == 64 * GIB
