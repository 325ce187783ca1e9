"""Inputs that a job sees by a mount, in whole jobs with real walls: from the node's cache."""

import os
import textwrap

import boto3
import pytest
from counting_store import counting_store
from machine_home import ENVIRONMENTS, stop_server

from penstock.client import local_server, record
from penstock.data import pruning

pytestmark = pytest.mark.machine

IN = "/opt/ml/processing/input"
OUT = "/opt/ml/processing/out"
COUNT = 100


@pytest.fixture
def store():
    with counting_store() as server:
        server.objects |= {f"data/{n % 10}/{n}": f"content {n}".encode() for n in range(COUNT)}
        yield server


@pytest.fixture
def serve(store, tmp_path, monkeypatch):
    """Starts the server of a home of its own, on the counting store, with these settings."""

    def start(**settings):
        for name in list(os.environ):
            if name.startswith(("AWS_", "PENSTOCK_")):
                monkeypatch.delenv(name)
        given = {
            "PENSTOCK_HOME": str(tmp_path / "home"),
            "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
            "PENSTOCK_PORT": "14550",
            "PENSTOCK_S3_ENDPOINT": store.endpoint,
            "PENSTOCK_S3_ACCESS_KEY_ID": "AKIDFORTESTS",
            "PENSTOCK_S3_SECRET_ACCESS_KEY": "secret-for-tests",
            **settings,
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return local_server.ensure()

    yield start
    stop_server(tmp_path / "home")


@pytest.fixture
def run(serve, store):
    """Runs Python source as a job and gives what is told of it, its log last."""
    count = iter(range(1000))

    def run(source, *inputs, settings=None, outputs=(), status="Completed"):
        store.objects["script/script.py"] = textwrap.dedent(source).encode()
        address = serve(**(settings or {}))
        keys = {
            "endpoint_url": address.endpoint,
            "region_name": address.region,
            "aws_access_key_id": address.access_key_id,
            "aws_secret_access_key": address.secret_access_key,
        }
        sagemaker, name = boto3.client("sagemaker", **keys), f"job-{next(count)}"
        sagemaker.create_processing_job(
            ProcessingJobName=name,
            RoleArn="arn:aws:iam::000000000000:role/service-role/Any",
            AppSpecification={
                "ImageUri": "python:3.11",
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/script/script.py"],
            },
            ProcessingInputs=[from_s3("s3://b/script/", "/opt/ml/processing/script", "script"), *inputs],
            ProcessingOutputConfig={"Outputs": [to_s3(*one) for one in outputs]},
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
        )
        sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
            ProcessingJobName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300}
        )
        told = record.fetch(address, name)
        events = boto3.client("logs", **keys).filter_log_events(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )["events"]
        log = "\n".join(event["message"] for event in events)
        assert sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == status, log
        return told, log

    return run


def from_s3(uri, place=IN, name="x"):
    return {
        "InputName": name,
        "S3Input": {"S3Uri": uri, "LocalPath": place, "S3DataType": "S3Prefix", "S3InputMode": "File"},
    }


def to_s3(place, name="out"):
    output = {"S3Uri": f"s3://b/{name}", "LocalPath": place, "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": output}


def fetched(store):
    return len([key for key in store.gets if key.startswith("data/")])


#: Reads all, then changes all: what the next job must not see.
READ_AND_SPOIL = """
    import os, pathlib
    folder = pathlib.Path('/opt/ml/processing/input')
    files = [path for path in folder.rglob('*') if path.is_file()]
    print('sum', len(files), sum(int(path.read_text().split()[1]) for path in files))
    for path in files[1:]:
        path.write_text('spoilt 0')
    files[0].unlink()
    (folder / 'new').write_text('new 0')
"""


def test_a_second_job_on_the_same_input_gets_nothing_from_the_store(run, store, tmp_path):
    for number in range(3):
        told, log = run(READ_AND_SPOIL, from_s3("s3://b/data/"))
        assert f"sum {COUNT} {sum(range(COUNT))}" in log
        assert fetched(store) == COUNT, number
    assert "from the cache" in log
    _, one = told["hosts"][0]["inputs"]
    assert (one["objects"], one["local_path"]) == (COUNT, IN)
    verdict = pruning.verify(tmp_path / "home" / "cache")
    assert (verdict.objects, verdict.damaged) == (COUNT, ())
    assert list((tmp_path / "home" / "runs").rglob("*")) == []  # also what the jobs wrote to their inputs


@pytest.mark.parametrize("walls", ["bubblewrap", "unshare"])
def test_all_walls_show_the_same(run, store, walls):
    for _ in range(2):
        _, log = run(READ_AND_SPOIL, from_s3("s3://b/data/"), settings={"PENSTOCK_WALLS": walls})
        assert f"sum {COUNT} {sum(range(COUNT))}" in log
        assert ("Inputs are copied from the cache" in log) == (walls == "bubblewrap")
    assert fetched(store) == COUNT


def test_code_may_lie_within_a_mounted_input(run, store):
    store.objects["scripts/code.py"] = b"print('the code')"
    source = """
        import pathlib
        folder = pathlib.Path('/opt/ml/processing/input')
        exec((folder / 'code' / 'code.py').read_text())
        pathlib.Path('/opt/ml/processing/out/result').write_text((folder / '3' / '33').read_text())
    """
    _, log = run(
        source,
        from_s3("s3://b/data/"),
        from_s3("s3://b/scripts/", f"{IN}/code", "code"),
        outputs=[(OUT,)],
    )
    assert "the code" in log
    assert store.objects["out/result"] == b"content 33"


def test_without_a_cache_everything_is_downloaded_each_time(run, store, tmp_path):
    for _ in range(2):
        run(READ_AND_SPOIL, from_s3("s3://b/data/"), settings={"PENSTOCK_CACHE_BYTES": "0"})
    assert fetched(store) == 2 * COUNT
    assert not (tmp_path / "home" / "cache").exists()
