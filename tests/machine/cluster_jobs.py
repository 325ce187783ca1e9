"""Jobs of tests on a cluster of simulated machines: how they are begun, and where they are."""

import contextlib

from fleet import submit
from patience import until
from penstock_machine import client_on
from ray_nodes import HEAD

BUCKET = "outputs"


def begin(client, name, program, count=4, mode="EndOfJob", kind="ml.t3.medium", **more):
    shape = {"InstanceCount": count, "InstanceType": kind, "VolumeSizeInGB": 1}
    s3 = {
        "S3Uri": f"s3://{BUCKET}/{name}",
        "LocalPath": "/opt/ml/processing/out",
        "S3UploadMode": mode,
    }
    submit(
        client,
        name,
        f"exec({program!r})",
        ProcessingResources={"ClusterConfig": shape},
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": s3}]},
        **more,
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


@contextlib.contextmanager
def logs_on(machines, name, url):
    """What reads the lines of a job, by host, from the server on that machine."""
    with client_on(machines, name, "logs", url) as logs:
        group = "/aws/sagemaker/ProcessingJobs"

        def read(job):
            streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")
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
