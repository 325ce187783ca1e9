"""Whole jobs on a real Ray of one node, begun by a real server: what becomes of them, whatever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fleet import all_ended
from fleet import submit as submit_line
from kept_things import inputs_of, put_input
from machine_home import ENVIRONMENTS, descendants
from one_ray_node import OneRayNode
from patience import until
from ray_server import RayServer

from penstock.data.shelf import LEAST_BYTES

pytestmark = pytest.mark.machine

DAY = 86400
TWO = {
    "ProcessingResources": {
        "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}
    }
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = OneRayNode(tmp_path_factory.mktemp("ray"), PENSTOCK_ENVIRONMENTS=str(ENVIRONMENTS))
    put_input(made.home / "cache", "stale", used_at=time.time() - 40 * DAY)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, node):
    made = RayServer(
        tmp_path_factory.mktemp("server") / "home", node.address, PENSTOCK_RUNNER_LEASE="20", **node.auth
    )
    yield made.start()
    made.end()
    sys.stdout.write(made.log()[-5000:])  # shown when a test has failed


@pytest.fixture
def client(server):
    return server.client("sagemaker")


def submit(client, name, program, **more):
    """A job that runs some lines of Python."""
    submit_line(client, name, f"exec({program!r})", **more)


def output_to(bucket, prefix):
    uri = f"s3://{bucket}/{prefix}"
    s3 = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob"}
    return {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": s3}]}}


def running(server, name, hosts=1):
    """Wait until the programs of a job run, and have said so."""
    until(lambda: server.logged(name).count("begun") == hosts if server.record(name)["hosts"] else False)


def test_two_instances_find_one_another_and_their_outputs_are_stored(server, client):
    program = """
import json, os, pathlib, socket
told = json.load(open("/opt/ml/config/resourceconfig.json"))
at = {host: socket.gethostbyname(host) for host in told["hosts"]}
print(json.dumps([told, at, sorted(os.environ)]))
pathlib.Path("/opt/ml/processing/out", told["current_host"]).write_text(socket.gethostname())
"""
    s3 = server.client("s3")
    s3.create_bucket(Bucket="two")
    submit(client, "two", program, **TWO, **output_to("two", "out"))
    assert all_ended(client, ["two"]) == {"two": ("Completed", None)}
    assert {
        one["Key"]: s3.get_object(Bucket="two", Key=one["Key"])["Body"].read()
        for one in s3.list_objects_v2(Bucket="two")["Contents"]
    } == {"out/algo-1": b"algo-1", "out/algo-2": b"algo-2"}
    lines = server.logged("two")
    assert lines.count("[penstock] 2 instances share 1 node of the cluster.") == 2
    told, at, variables = json.loads(next(line for line in lines if line.startswith("[{")))
    assert told["hosts"] == ["algo-1", "algo-2"]
    assert at["algo-1"] != at["algo-2"]
    assert {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"} <= set(variables)
    assert not [one for one in variables if one.startswith("RAY_")]


def test_one_failure_stops_the_others_and_one_success_does_not(server, client):
    fails = """
import json, sys, time
print("begun", flush=True)
if json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"] == "algo-2":
    sys.exit(7)
time.sleep(600)
"""
    ends = fails.replace("sys.exit(7)", "sys.exit(0)").replace("600", "8")
    submit(client, "fails", fails, **TWO)
    assert all_ended(client, ["fails"]) == {
        "fails": ("Failed", "AlgorithmError: , exit code: 7 (instance algo-2)")
    }
    submit(client, "ends", ends, **TWO)
    assert all_ended(client, ["ends"]) == {"ends": ("Completed", None)}


def test_what_finds_no_room_says_what_is_missing_and_keeps_nobody_waiting(server, client):
    large = {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 3, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}
        }
    }
    submit(client, "three", "", **large)
    submit(client, "after", "")
    assert all_ended(client, ["after"]) == {"after": ("Completed", None)}
    assert server.record("three")["queue"]["reason"] == (
        "needs room for 3 instances with 2 CPUs, 4 GiB of memory each; the cluster, with 1 node, is large enough for 2"
    )
    client.stop_processing_job(ProcessingJobName="three")
    assert all_ended(client, ["three"]) == {"three": ("Stopped", None)}


def test_a_stop_reaches_all_instances(server, client):
    submit(client, "stopped", "import time; print('begun', flush=True); time.sleep(600)", **TWO)
    running(server, "stopped", 2)
    client.stop_processing_job(ProcessingJobName="stopped")
    assert all_ended(client, ["stopped"]) == {"stopped": ("Stopped", None)}


def test_jobs_outlive_their_doors_the_helper_and_the_server(server, client, node):
    submit(client, "outlives", "import time\nprint('begun', flush=True)\ntime.sleep(15)", **TWO)
    running(server, "outlives", 2)
    doors = node.processes(b"ray::Door")
    assert doors
    for pid in doors:
        os.kill(pid, signal.SIGKILL)
    server.end(signal.SIGKILL)
    server.start()
    client = server.client("sagemaker")
    assert all_ended(client, ["outlives"]) == {"outlives": ("Completed", None)}


def test_a_dead_runner_is_followed_by_one_that_saves_its_outputs(server, client, node):
    program = """
import pathlib, time
pathlib.Path("/opt/ml/processing/out/half").write_text("half")
print("begun", flush=True)
time.sleep(600)
"""
    s3 = server.client("s3")
    s3.create_bucket(Bucket="saved")
    submit(client, "dies", program, **output_to("saved", "out"))
    running(server, "dies")
    runner = node.runner("dies")
    os.kill(runner, signal.SIGKILL)
    status, reason = all_ended(client, ["dies"])["dies"]
    assert status == "Failed"
    assert reason.startswith("InternalServerError: The runner of algo-1 ended without a report"), reason
    assert s3.get_object(Bucket="saved", Key="out/half")["Body"].read() == b"half"


def test_nothing_is_left_on_the_node_of_jobs_that_have_ended(server, client, node):
    submit(client, "last", "")
    assert all_ended(client, ["last"]) == {"last": ("Completed", None)}
    until(lambda: not list((node.home / "ray").glob("*/last-*")))
    until(lambda: not list((server.home / "cluster").glob("*")))


def test_nodes_remove_inputs_that_nobody_uses_and_the_command_tells_what_each_would(server, client, node):
    s3 = server.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="in/one", Body=bytes(LEAST_BYTES))
    put_input(node.home / "cache", "old", used_at=time.time() - 10 * DAY)
    source = {"S3Uri": "s3://kept/in", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix"}
    inputs = [{"InputName": "in", "S3Input": {**source, "S3InputMode": "File"}}]
    submit(
        client, "uses", "import time; print('begun', flush=True); time.sleep(600)", ProcessingInputs=inputs
    )
    running(server, "uses")

    def prune(*words):
        command = [Path(sys.executable).with_name("penstock"), "prune", "--cache", *words]
        done = subprocess.run(command, env=server.env, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    until(lambda: "s3://b/stale" not in inputs_of(node.home / "cache"))  # by the server itself
    assert inputs_of(node.home / "cache") == ["s3://b/old", "s3://kept/in"]
    assert ": 1 cached input would go, and free 1.0 MiB." in prune("--older-than", "5d", "--dry-run")
    (told,) = json.loads(prune("--older-than", "0s", "--json"))["nodes"].values()
    assert [one["of"] for one in told["inputs"]] == ["s3://b/old"]
    client.stop_processing_job(ProcessingJobName="uses")
    all_ended(client, ["uses"])
    (told,) = json.loads(prune("--older-than", "0s", "--json"))["nodes"].values()
    assert [one["of"] for one in told["inputs"]] == ["s3://kept/in"]
    assert "Nothing is old enough" in prune()


def test_a_machine_that_is_gone_is_told_so_and_one_whose_ray_alone_died_goes_on(server, client, node):
    submit(client, "goes-on", "import time; print('begun', flush=True); time.sleep(12)")
    submit(client, "gone", "import time; print('begun', flush=True); time.sleep(600)")
    for name in ("goes-on", "gone"):
        running(server, name)
    runner = node.runner("goes-on")
    node.kill(spare={runner, *descendants(runner)})
    assert all_ended(client, ["goes-on"]) == {"goes-on": ("Completed", None)}
    status, reason = all_ended(client, ["gone"])["gone"]
    assert status == "Failed"
    assert reason.startswith("InternalServerError: algo-1 is lost: its machine is out of reach"), reason
    submit(client, "waits", "")
    until(lambda: "needs the Ray cluster at" in (server.record("waits")["queue"] or {}).get("reason", ""))
    left = node.home / "ray" / "another-server"
    (left / "job-1" / "algo-1").mkdir(parents=True)
    os.utime(left, (0, 0))
    node.start()
    until(lambda: not left.exists())
    assert all_ended(client, ["waits"]) == {"waits": ("Completed", None)}
