"""Jobs on a Ray cluster of four simulated machines, which share nothing but a network: what is lost with one of them."""

import json
import time

import pytest
from fleet import all_ended, submit
from patience import until
from penstock_machine import build_environment, client_on, penstock_on
from ray_nodes import HEAD

from penstock.client import record
from penstock.client.local_server import Address

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

#: Seconds; what is lost is told after it.
LEASE = 30
BUCKET = "outputs"


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
    """The lines of a job, by host."""
    with client_on(cluster, HEAD, "logs", server) as logs:
        group = "/aws/sagemaker/ProcessingJobs"

        def read(name):
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
            names = [one["logStreamName"] for one in streams["logStreams"]]
            return {
                one.partition("/")[2].rpartition("-")[0]: [
                    event["message"]
                    for event in logs.get_log_events(
                        logGroupName=group, logStreamName=one, startFromHead=True
                    )["events"]
                ]
                for one in names
            }

        yield read


def begin(client, name, program, count=4):
    shape = {"InstanceCount": count, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}
    s3 = {
        "S3Uri": f"s3://{BUCKET}/{name}",
        "LocalPath": "/opt/ml/processing/out",
        "S3UploadMode": "EndOfJob",
    }
    submit(
        client,
        name,
        f"exec({program!r})",
        ProcessingResources={"ClusterConfig": shape},
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": s3}]},
    )


def stored(cluster, server, name):
    """The objects below a job's output, by their last names."""
    with client_on(cluster, HEAD, "s3", server) as s3:
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}/").get("Contents", [])
        return {
            one["Key"].rpartition("/")[2]: s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"]
            .read()
            .decode()
            for one in found
        }


#: Tells where it is, which the test wants to know, and stays.
STAYS = """
import pathlib, time, json, socket
told = json.load(open("/opt/ml/config/resourceconfig.json"))
pathlib.Path("/opt/ml/processing/out", told["current_host"]).write_text("begun")
print("at", socket.gethostbyname(told["current_host"]), flush=True)
time.sleep(SECONDS)
"""


def places(cluster, logged, name, count):
    """On which machine each instance is, once all programs run."""
    by_address = {cluster.address(node): node for node in cluster.nodes}

    def found():
        said = {
            host: by_address[line.split()[1]]
            for host, lines in logged(name).items()
            for line in lines
            if line.startswith("at ")
        }
        return said if len(said) == count else None

    return until(found, 180, 0.2)


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


def test_a_machine_that_is_cut_off_has_ended_its_program_when_it_is_told_lost(
    cluster, server, client, logged
):
    begin(client, "cut", STAYS.replace("SECONDS", "600"))
    at = places(cluster, logged, "cut", 4)
    (lost,) = (host for host, node in at.items() if node == "node4")
    cluster.cut("node4")
    status, reason = all_ended(client, ["cut"])["cut"]
    assert (status, reason.partition(":")[2].split()[0]) == ("Failed", lost)
    assert "bwrap" not in cluster.nodes["node4"].processes().values()
    cluster.heal("node4")
    cluster.mend()
    # What it had written before it was cut off never comes after the job's end.
    assert lost not in stored(cluster, server, "cut")
    begin(client, "again", "pass")
    assert all_ended(client, ["again"]) == {"again": ("Completed", None)}


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
