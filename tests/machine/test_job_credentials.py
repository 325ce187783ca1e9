"""boto3 within a job: lent credentials, what they are good for, and for how long. What attacks must not reach."""

import contextlib
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from machine_home import ENVIRONMENTS, stop_server

from penstock.client import local_server
from penstock.home import Home
from penstock.network import NetworkConfig
from penstock.processing import FrameworkProcessor, ProcessingOutput, ScriptProcessor
from penstock.session import Session
from penstock.sklearn import SKLearn

pytestmark = pytest.mark.machine


@pytest.fixture
def run(session, tmp_path, objects):
    """Runs a script with a real boto3 in a job; answers the job's name and what it wrote to its output."""

    def go(text, name="main.py", **changes):
        folder = tmp_path / "source"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / "requirements.txt").write_text("boto3\n")
        processor = FrameworkProcessor(
            SKLearn,
            framework_version="1.2-1",
            image_uri="python:3.11",
            instance_count=1,
            instance_type="ml.m5.large",
            sagemaker_session=session,
            **changes,
        )
        with contextlib.suppress(session.sagemaker_client.exceptions.ClientError):  # from the second job on
            session.sagemaker_client.create_experiment(ExperimentName="e")
        processor.run(
            code=name,
            source_dir=str(folder),
            outputs=[ProcessingOutput(source="/opt/ml/processing/out", output_name="out")],
            logs=False,
            experiment_config={"ExperimentName": "e"},
        )
        job = processor.latest_job
        uri = job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        return job.job_name, objects(uri)

    return go


BUCKET = "sagemaker-us-east-1-000000000000"
USES = """
import json, os, urllib.request
from datetime import datetime, timedelta, timezone
import boto3
from botocore.config import Config

def code(call, **arguments):
    try:
        call(**arguments)
        return "done"
    except Exception as error:
        return error.response["Error"]["Code"]

bucket = "sagemaker-us-east-1-000000000000"
name = os.environ["PROCESSING_JOB_NAME"]
s3, sagemaker, logs = (boto3.client(service) for service in ("s3", "sagemaker", "logs"))
s3.put_object(Bucket=bucket, Key="by a job/+é", Body=b"x" * 100_000)
with open("/tmp/large", "wb") as file:
    file.write(os.urandom(20_000_000))
s3.upload_file("/tmp/large", bucket, "by a job/large", ExtraArgs={"ServerSideEncryption": "aws:kms"})
v4 = boto3.client("s3", config=Config(signature_version="s3v4"))
signed = v4.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "by a job/+é"})
metrics = boto3.client("sagemaker-metrics")
loss = [{"MetricName": "loss", "Timestamp": datetime.now(timezone.utc), "Step": 1, "Value": 0.5}]
metrics.batch_put_metrics(TrialComponentName=name.lower() + "-aws-processing-job", MetricData=loss)
query = {"MetricName": "loss", "MetricStat": "Last", "Period": "IterationNumber", "XAxisType": "IterationNumber"}
told = {
    "loss": metrics.batch_get_metrics(MetricQueries=[{**query, "ResourceArn": os.environ["PROCESSING_JOB_ARN"]}]
        )["MetricQueryResults"][0]["MetricValues"],
    "got": len(s3.get_object(Bucket=bucket, Key="by a job/+é")["Body"].read()),
    "listed": [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="by a job/")["Contents"]],
    "presigned": len(urllib.request.urlopen(signed).read()),
    "status": sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"],
    "arn": boto3.client("sts").get_caller_identity()["Arn"],
    "streams": len(logs.describe_log_streams(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=name + "/")["logStreams"]),
    "refused": {
        "delete_bucket": code(s3.delete_bucket, Bucket=bucket),
        "put_bucket_acl": code(s3.put_bucket_acl, Bucket=bucket, ACL="public-read"),
        "list": code(sagemaker.list_processing_jobs),
        "stop": code(sagemaker.stop_processing_job, ProcessingJobName="another"),
        "metrics": code(metrics.batch_put_metrics, TrialComponentName="another-aws-processing-job", MetricData=loss),
    },
    "environment": dict(os.environ),
}
s3.delete_object(Bucket=bucket, Key="by a job/large")
# As if most of the hour were over: boto3 then fetches new ones by itself.
lent = boto3.Session().get_credentials()
now = datetime.now(timezone.utc)
lent._expiry_time = now + timedelta(seconds=60)
key = lent.get_frozen_credentials()
told["good for"] = (lent._expiry_time - now).total_seconds()
told["key"] = [key.access_key, key.secret_key, key.token]
json.dump(told, open("/opt/ml/processing/out/told", "w"))
"""


def test_boto3_in_a_job_uses_credentials_of_its_own(run, address, home, s3):
    _, found = run(USES)
    told = json.loads(found["told"])
    assert (told["got"], told["presigned"]) == (100_000, 100_000)
    assert told["listed"] == ["by a job/+é", "by a job/large"]
    assert (told["status"], told["streams"]) == ("InProgress", 1)
    assert told["arn"].endswith("/SageMaker")
    assert 3500 < told["good for"] <= 3600
    assert told["refused"] == {
        "delete_bucket": "AccessDenied",
        "put_bucket_acl": "AccessDenied",
        "list": "AccessDeniedException",
        "stop": "AccessDeniedException",
        "metrics": "AccessDeniedException",
    }
    assert told["loss"] == [0.5]
    assert s3.get_object(Bucket=BUCKET, Key="by a job/+é")["Body"].read() == b"x" * 100_000

    # Neither the server's keys nor the runner's token are in what the program sees.
    keys = Home(home).keys()
    seen = json.dumps(told)
    assert keys.access_key_id not in seen
    assert keys.secret_access_key not in seen

    # The job has ended, and with it what its program may still know.
    expired = client("s3", told["key"], address.endpoint)
    with pytest.raises(ClientError, match="ExpiredToken"):
        expired.get_object(Bucket=BUCKET, Key="by a job/+é")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):  # the store's own door never knew them
        client("s3", told["key"], address.s3_endpoint).list_buckets()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(told["environment"])

    # Nothing that is kept tells the token or the secret.
    token = told["environment"]["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    secrets = [token.encode(), told["key"][1].encode()]
    kept = [p for p in home.rglob("*") if p.is_file() and "store/data" not in str(p)]
    kept = [p for p in kept if ENVIRONMENTS not in p.parents]
    assert not [p for p in kept if any(secret in p.read_bytes() for secret in secrets)]


def client(service, key, endpoint):
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    keys = dict(zip(names, key, strict=True))
    return boto3.Session().client(service, endpoint_url=endpoint, region_name="us-east-1", **keys)


def fetch(environment, token=None):
    asked = urllib.request.Request(
        environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        headers={"Authorization": token or environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


WAITS = """
import json, os, socket
with socket.create_connection(("127.0.0.1", {port})) as connection:
    connection.sendall(json.dumps(dict(os.environ)).encode() + b"\\n")
    connection.recv(1)
"""


def test_one_job_can_not_take_those_of_another(processor, script, address):
    """Two jobs run at once: each one's token is good for its own credentials, and these for its own concerns."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = script(WAITS.format(port=listener.getsockname()[1]))
        jobs = [processor() for _ in range(2)]
        for job in jobs:
            job.run(code=code, wait=False)
        connections = [listener.accept()[0] for _ in jobs]
        try:
            told = [json.loads(connection.makefile().readline()) for connection in connections]
            assert told[0]["PROCESSING_JOB_NAME"] != told[1]["PROCESSING_JOB_NAME"]
            with pytest.raises(urllib.error.HTTPError, match="403"):
                fetch(told[0], token=told[1]["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
            lent = [fetch(one) for one in told]
            mine = [lent[0][name] for name in ("AccessKeyId", "SecretAccessKey", "Token")]
            sagemaker = client("sagemaker", mine, address.endpoint)
            sagemaker.describe_processing_job(ProcessingJobName=told[0]["PROCESSING_JOB_NAME"])
            for call in (sagemaker.describe_processing_job, sagemaker.stop_processing_job):
                with pytest.raises(ClientError, match=r"AccessDeniedException.*is not authorized to perform"):
                    call(ProcessingJobName=told[1]["PROCESSING_JOB_NAME"])
            mixed = client("sagemaker", [*mine[:2], lent[1]["Token"]], address.endpoint)
            with pytest.raises(ClientError, match="UnrecognizedClientException"):
                mixed.describe_processing_job(ProcessingJobName=told[0]["PROCESSING_JOB_NAME"])
            # No process but the job's own shows the token: not by its arguments, and no runner by its environment.
            for process in (p for p in Path("/proc").iterdir() if p.name.isdigit()):
                try:
                    arguments = (process / "cmdline").read_bytes()
                except OSError:
                    continue
                assert told[0]["AWS_CONTAINER_AUTHORIZATION_TOKEN"].encode() not in arguments
        finally:
            for connection in connections:
                connection.close()
    for job in jobs:
        job.latest_job.wait(logs=False)


SHOWS = "import json, os; json.dump(dict(os.environ), open('/opt/ml/processing/out/env', 'w'))"
OUT = ProcessingOutput(source="/opt/ml/processing/out", output_name="out")


@pytest.mark.parametrize(
    "changes",
    [
        {"network_config": NetworkConfig(enable_network_isolation=True)},
        {"env": {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "my own"}},
    ],
    ids=["isolated", "own keys"],
)
def test_who_is_isolated_or_brings_keys_is_lent_none(processor, script, objects, changes):
    job = processor(**changes)
    job.run(code=script(SHOWS), outputs=[OUT], logs=False)
    uri = job.latest_job.describe()["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    seen = json.loads(objects(uri)["env"])
    assert not [name for name in seen if name.startswith(("AWS_CONTAINER_", "AWS_ENDPOINT_URL"))]
    assert seen.get("AWS_SECRET_ACCESS_KEY") == changes.get("env", {}).get("AWS_SECRET_ACCESS_KEY")


def test_a_server_on_another_address_lends_on_loopback(tmp_path, monkeypatch):
    """boto3 asks for credentials on loopback only; a server that listens elsewhere does so there, too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells which address this machine would send from
        except OSError:
            pytest.skip("this machine has no address but loopback")
        outer = probe.getsockname()[0]
    home = tmp_path / "home"
    for name, value in {"HOME": str(home), "HOST": outer, "PORT": "10750"}.items():
        monkeypatch.setenv(f"PENSTOCK_{name}", value)
    monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(ENVIRONMENTS))
    try:
        assert local_server.ensure().endpoint == f"http://{outer}:10750"
        code = tmp_path / "s.py"
        code.write_text(
            "import os, urllib.request\n"
            "url = os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI']\n"
            "token = os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']\n"
            "assert url.startswith('http://127.0.0.1:'), url\n"
            "urllib.request.urlopen(urllib.request.Request(url, headers={'Authorization': token}))\n"
        )
        processor = ScriptProcessor(
            image_uri="python:3.11",
            command=["python3"],
            instance_count=1,
            instance_type="ml.m5.large",
            sagemaker_session=Session(),
        )
        processor.run(code=str(code), logs=False)
    finally:
        stop_server(home)
