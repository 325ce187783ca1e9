"""Jobs on a Ray cluster of four simulated machines, which share nothing but a network: what is lost with one of them."""

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from cluster_jobs import BUCKET, STAYS, begin, logs_on, places, stored
from fleet import all_ended, submit
from patience import until
from penstock_machine import PORT, build_environment, client_on, penstock_on
from ray_nodes import HEAD

from penstock.client import record
from penstock.client.local_server import Address

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

#: Seconds; what is lost is told after it.
LEASE = 30
#: Seconds for which a store is out of reach.
AWAY = 10
#: Seconds for which the cluster's client server waits for a client that it has lost.
GRACE = 2
OBJECTS = 10_000


@pytest.fixture(scope="module")
def bucket(tmp_path_factory, ray_cluster):
    """Outputs' own, with an environment for jobs: simulated machines have no way to get packages."""
    build_environment(tmp_path_factory.mktemp("builder"))
    return ray_cluster.store(BUCKET)


@pytest.fixture
def server(cluster, bucket):
    settings = {
        "PENSTOCK_ENGINE": "ray",
        "PENSTOCK_RAY_ADDRESS": cluster.env["RAY_ADDRESS"],
        "PENSTOCK_STOP_GRACE": "3",
        "PENSTOCK_RUNNER_LEASE": str(LEASE),
        "PENSTOCK_AWS_LIMITS": "relaxed",
    }
    with penstock_on(cluster, HEAD, bucket, **settings) as url:
        yield url


@pytest.fixture
def client(cluster, server):
    with client_on(cluster, HEAD, "sagemaker", server) as made:
        yield made


@pytest.fixture
def logged(cluster, server):
    with logs_on(cluster, HEAD, server) as read:
        yield read


def test_each_instance_has_a_machine_and_they_reach_one_another_by_name(cluster, server, client):
    begin(
        client,
        "talks",
        """
import json, pathlib, socket, time
told = json.load(open("/opt/ml/config/resourceconfig.json"))
me, out = told["current_host"], pathlib.Path("/opt/ml/processing/out")
at = {host: socket.gethostbyname(host) for host in told["hosts"]}
if me == "algo-1":
    with socket.create_server((at[me], 7777)) as door:
        heard = []
        for _ in range(3):
            connection, _ = door.accept()
            with connection, connection.makefile() as file:
                heard.append(file.readline().strip())
    out.joinpath("heard").write_text(json.dumps([sorted(heard), at, told["network_interface_name"]]))
else:
    while True:
        try:
            with socket.create_connection(("algo-1", 7777)) as connection:
                connection.sendall(f"{me} {connection.getsockname()[0]}\\n".encode())
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
""",
    )
    assert all_ended(client, ["talks"]) == {"talks": ("Completed", None)}
    heard, at, interface = json.loads(stored(cluster, server, "talks")["heard"])
    assert sorted(at.values()) == sorted(cluster.address(f"node{n}") for n in (1, 2, 3, 4))
    assert heard == sorted(f"{host} {at[host]}" for host in ("algo-2", "algo-3", "algo-4"))
    assert interface != "lo"


def test_more_instances_than_machines_share_them_and_the_log_says_so(cluster, server, client, logged):
    begin(client, "shares", "pass", 6)
    assert all_ended(client, ["shares"]) == {"shares": ("Completed", None)}
    lines = logged("shares")
    assert len(lines) == 6
    assert all("[penstock] 6 instances share 4 nodes of the cluster." in said for said in lines.values())


def test_eight_instances_share_ten_thousand_objects_out_and_store_each_once(cluster, server, client):
    makes = """
import pathlib
for n in range(OBJECTS):
    folder = pathlib.Path("/opt/ml/processing/out", str(n % 10))
    folder.mkdir(exist_ok=True)
    folder.joinpath(str(n)).write_text(f"{n} " * 200)
"""
    copies = """
import json, shutil
host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
shutil.copytree("/opt/ml/processing/in", f"/opt/ml/processing/out/{host}")
"""
    begin(client, "makes", makes.replace("OBJECTS", str(OBJECTS)), 1)
    assert all_ended(client, ["makes"], 400) == {"makes": ("Completed", None)}
    shards = {
        "S3Uri": f"s3://{BUCKET}/makes/",
        "LocalPath": "/opt/ml/processing/in",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    begin(client, "copies", copies, 8, ProcessingInputs=[{"InputName": "in", "S3Input": shards}])
    assert all_ended(client, ["copies"], 400) == {"copies": ("Completed", None)}
    with client_on(cluster, HEAD, "s3", server) as s3:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="copies/")
        found = [(*one["Key"].split("/")[1:], one["ETag"].strip('"')) for p in pages for one in p["Contents"]]
    assert sorted((where, name, tag) for _, where, name, tag in found) == sorted(
        (str(n % 10), str(n), hashlib.md5(f"{n} ".encode() * 200).hexdigest()) for n in range(OBJECTS)
    )
    assert Counter(host for host, *_ in found) == {f"algo-{n}": OBJECTS // 8 for n in range(1, 9)}


def test_a_machine_that_lost_power_is_named_and_the_others_are_stopped_with_their_outputs(
    cluster, server, client, logged
):
    begin(client, "power", STAYS.replace("SECONDS", "600"))
    at = places(cluster, logged, "power", 4)
    (lost,) = (host for host, node in at.items() if node == "node3")
    cluster.kill("node3")
    since = time.monotonic()
    status, reason = all_ended(client, ["power"])["power"]
    assert time.monotonic() - since < 4 * LEASE
    assert status == "Failed"
    assert reason.startswith(f"InternalServerError: {lost} is lost: its machine is out of reach"), reason
    assert reason.endswith(f"(instance {lost})")
    assert set(stored(cluster, server, "power")) == {"algo-1", "algo-2", "algo-3", "algo-4"} - {lost}


#: Writes objects that tell by their names in which attempt they were written, for ever in the first one.
TELLS = """
import json, pathlib, socket, time
mode = pathlib.Path("/opt/ml/processing/flag/mode").read_text()
me, out = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"], pathlib.Path("/opt/ml/processing/out")
print("at", socket.gethostbyname(me), flush=True)
number = 0
while True:
    number += 1
    out.joinpath(f"{me}-last").write_text(mode)
    out.joinpath(f"{me}-{mode}-{number}").write_bytes(number.to_bytes(2, "big") * (5 << 20))
    if mode == "end":
        break
    print("wrote", number, flush=True)
    time.sleep(0.3)
"""


def test_a_machine_that_is_cut_off_writes_nothing_after_the_next_attempt_has_begun(
    cluster, server, client, logged
):
    s3 = {"S3Uri": f"s3://{BUCKET}/flags/", "LocalPath": "/opt/ml/processing/flag", "S3DataType": "S3Prefix"}
    with client_on(cluster, HEAD, "s3", server) as store, client_on(cluster, HEAD, "logs", server) as logs:

        def streams():
            asked = {"logGroupName": "/aws/sagemaker/ProcessingJobs", "logStreamNamePrefix": "cut/"}
            found = logs.describe_log_streams(**asked)["logStreams"]
            return [one["logStreamName"] for one in found]

        def objects():
            found = store.list_objects_v2(Bucket=BUCKET, Prefix="cut/").get("Contents", [])
            return {one["Key"].removeprefix("cut/"): (one["ETag"], one["LastModified"]) for one in found}

        def of_the_first(found):
            return {name: what for name, what in found.items() if "-stay-" in name}

        store.put_object(Bucket=BUCKET, Key="flags/mode", Body=b"stay")
        begin(
            client,
            "cut",
            TELLS,
            3,
            mode="Continuous",
            ProcessingInputs=[{"InputName": "flag", "S3Input": {**s3, "S3InputMode": "File"}}],
            Tags=[{"Key": "penstock:retries", "Value": "1"}],
        )
        until(lambda: len({name[:6] for name in of_the_first(objects())}) == 3, 180, 0.5)
        away = next(node for node in places(cluster, logged, "cut", 3).values() if node != HEAD)
        before = list(cluster.nodes[away].processes().values())
        cluster.cut(away)
        store.put_object(Bucket=BUCKET, Key="flags/mode", Body=b"end")
        until(lambda: len(streams()) == 6, 300, 0.2)
        at_its_beginning = of_the_first(objects())
        # Its runner has ended, and its program with it, though nobody could ask for it.
        now = list(cluster.nodes[away].processes().values())
        assert now.count("python") < before.count("python")
        cluster.heal(away)
        assert all_ended(client, ["cut"]) == {"cut": ("Completed", None)}
        cluster.mend()
        found = objects()
        assert of_the_first(found) == at_its_beginning
        assert {name for name in found if "-end-" in name} == {f"algo-{n}-end-1" for n in (1, 2, 3)}
        assert [
            store.get_object(Bucket=BUCKET, Key=f"cut/algo-{n}-last")["Body"].read() for n in (1, 2, 3)
        ] == [b"end"] * 3


def test_a_machine_that_is_no_node_is_told_so_where_ray_would_abort(cluster):
    outside = cluster.switch_on().name
    code = "import sys; from penstock.engines.ray.driver import connect; connect(sys.argv[1])"
    command = [sys.executable, "-P", "-c", code, cluster.env["RAY_ADDRESS"]]
    program = cluster.run(outside, command, stderr=subprocess.PIPE, text=True)
    _, said = program.communicate(timeout=180)
    cluster.kill(outside)
    assert program.returncode == 1
    assert "This machine is no node of the Ray cluster at" in said
    assert "to its client server, as in ray://HEAD:10001" in said


def test_doctor_looks_at_all_nodes_and_at_their_way_to_the_server(cluster, server):
    report = f"http://{cluster.address(HEAD)}:{PORT}"
    settings = {"PENSTOCK_ENGINE": "ray", "PENSTOCK_RAY_ADDRESS": cluster.env["RAY_ADDRESS"]}

    def doctor(**more):
        command = [Path(sys.executable).with_name("penstock"), "doctor", "--json"]
        asked = cluster.run("node2", command, {**settings, **more}, stdout=subprocess.PIPE)
        told, _ = asked.communicate(timeout=300)
        return {one["what"]: one for one in json.loads(told)}

    found = doctor(PENSTOCK_REPORT_URL=report)
    nodes = [f"ray node ({cluster.address(f'node{n}')})" for n in (1, 2, 3, 4)]
    looked = ["ray", f"ray cluster ({cluster.env['RAY_ADDRESS']})", "ray token", *nodes, "way to the server"]
    assert {what: found[what]["state"] for what in looked} == dict.fromkeys(looked, "ok")
    cluster.cut("node3")
    unreached = doctor(PENSTOCK_REPORT_URL=f"http://{cluster.address(HEAD)}:1")["way to the server"]
    assert unreached["state"] == "missing"
    assert cluster.address("node4") in unreached["text"]


#: What Ray's autoscaler is told of gangs that wait: how many instances each has.
WANTED = """
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state
found = get_cluster_resource_state(GcsClient(address=ray.get_runtime_context().gcs_address))
told = [
    len(one.requests or one.bundle_selectors[0].resource_requests)
    for one in found.pending_gang_resource_requests
]
"""


def test_beside_this_machine_nodes_come_and_go_and_what_has_no_room_is_wanted(cluster, bucket):
    cluster.kill("node4")
    cluster.wait_for("node1", "node2", "node3")
    settings = {
        "PENSTOCK_ENGINE": "local,ray",
        "PENSTOCK_CPUS": "2",
        "PENSTOCK_MEMORY": "16G",
        "PENSTOCK_RAY_ADDRESS": cluster.env["RAY_ADDRESS"],
        "PENSTOCK_RAY_AUTOSCALER": "1",
    }
    whole = {"InstanceCount": 4, "InstanceType": "ml.m5.2xlarge", "VolumeSizeInGB": 1}

    def nodes():
        keys = json.loads((cluster.home(HEAD) / "keys.json").read_text())
        address = Address(
            url,
            url,
            "us-east-1",
            "us-east-1",
            "0" * 12,
            BUCKET,
            keys["access_key_id"],
            keys["secret_access_key"],
        )
        return {(one["engine"], one["name"]): one for one in record.nodes(address)}

    with (
        penstock_on(cluster, HEAD, bucket, **settings) as url,
        client_on(cluster, HEAD, "sagemaker", url) as client,
    ):
        until(lambda: len(nodes()) == 4)
        sleep = "import time; time.sleep(600)"
        submit(client, "near", sleep)
        submit(client, "named", sleep, Tags=[{"Key": "penstock:engine", "Value": "ray"}])

        def on():
            return {job["name"]: engine for (engine, _), one in nodes().items() for job in one["jobs"]}

        until(lambda: on() == {"near": "local", "named": "ray"})
        for name in ("near", "named"):
            client.stop_processing_job(ProcessingJobName=name)
        submit(client, "gone", sleep, ProcessingResources={"ClusterConfig": whole})
        until(lambda: cluster.drive(WANTED) == [4])
        client.stop_processing_job(ProcessingJobName="gone")
        until(lambda: cluster.drive(WANTED) == [])
        assert set(all_ended(client, ["near", "named", "gone"]).values()) == {("Stopped", None)}
        submit(client, "whole", "pass", ProcessingResources={"ClusterConfig": whole})
        until(lambda: cluster.drive(WANTED) == [4])
        cluster.add("node4")
        assert all_ended(client, ["whole"]) == {"whole": ("Completed", None)}
        assert cluster.drive(WANTED) == []
        assert ("ray", "node4") in nodes()
        cluster.kill("node4")
        until(lambda: ("ray", "node4") not in nodes())


KEPT = """
from penstock.engines.ray.driver import Cluster
from penstock.engines.ray.nodes import Gang
from penstock.job.claim import Resources
own = Cluster("kept")
*kept, left = [node.id for node in own.nodes()]
each = Resources(1, 1 << 30, 0, 1)
seats = own.reserve("fits", Gang(each, 2), False, kept)
told = [[seat.node == left for seat in seats], own.reserve("does not", Gang(each, 2), True, kept)]
own.cancel("fits")
"""


def test_nodes_that_are_kept_for_one_are_given_to_nobody_else(cluster):
    assert cluster.drive(KEPT) == [[True, True], None]


def test_jobs_ride_out_a_restart_of_the_head(cluster, server, client, logged):
    begin(client, "rides", STAYS.replace("SECONDS", "20"))
    places(cluster, logged, "rides", 4)
    cluster.restart_head()
    assert all_ended(client, ["rides"]) == {"rides": ("Completed", None)}
    cluster.wait_for("node1", "node2", "node3", "node4")
    begin(client, "after", "pass")
    assert all_ended(client, ["after"]) == {"after": ("Completed", None)}


def test_jobs_ride_out_a_store_that_nobody_reaches_for_a_while(cluster, server, client, logged):
    with client_on(cluster, HEAD, "s3", server) as s3:
        s3.put_object(Bucket=BUCKET, Key="read/it", Body=b"read")
    begin(client, "writes", STAYS.replace("SECONDS", "600"))
    places(cluster, logged, "writes", 4)
    cluster.cut("store")
    source = {"S3Uri": f"s3://{BUCKET}/read/", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix"}
    inputs = [{"InputName": "in", "S3Input": {**source, "S3InputMode": "File"}}]
    copies = "import shutil; shutil.copy('/opt/ml/processing/in/it', '/opt/ml/processing/out')"
    begin(client, "reads", copies, 1, ProcessingInputs=inputs)
    client.stop_processing_job(ProcessingJobName="writes")
    time.sleep(AWAY)
    assert all(
        client.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == status
        for name, status in {"reads": "InProgress", "writes": "Stopping"}.items()
    )
    cluster.heal("store")
    assert all_ended(client, ["reads", "writes"]) == {
        "reads": ("Completed", None),
        "writes": ("Stopped", None),
    }
    assert stored(cluster, server, "reads") == {"it": "read"}
    assert set(stored(cluster, server, "writes")) == {"algo-1", "algo-2", "algo-3", "algo-4"}


def test_a_server_that_is_no_node_outlives_idle_time_and_a_cut_beyond_the_grace_of_rays_client(
    cluster, bucket
):
    outside = cluster.switch_on().name
    settings = {
        "PENSTOCK_ENGINE": "ray",
        "PENSTOCK_RAY_ADDRESS": f"ray://{cluster.address(HEAD)}:10001",
        "PENSTOCK_AWS_LIMITS": "relaxed",
        "RAY_CLIENT_RECONNECT_GRACE_PERIOD": str(GRACE),
    }
    with (
        penstock_on(cluster, outside, bucket, **settings) as url,
        client_on(cluster, outside, "sagemaker", url) as client,
    ):

        def completes(name):
            begin(client, name, "pass", 2)
            assert all_ended(client, [name]) == {name: ("Completed", None)}

        completes("far")
        time.sleep(3 * GRACE)
        completes("idle")
        cluster.cut(outside)
        time.sleep(3 * GRACE)
        cluster.heal(outside)
        completes("healed")
    cluster.kill(outside)
