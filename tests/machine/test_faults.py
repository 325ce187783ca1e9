"""Transfers and jobs through a proxy that cuts, delays, refuses, truncates and damages: complete and right, or Failed.

Transfers use the data layer alone, jobs a real server and its runners. The store behind the proxy is the embedded
one, and what it holds in the end is read without the proxy.
"""

import contextlib
import hashlib
import json
import os
import random
from collections import Counter
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import WaiterError
from machine_home import ENVIRONMENTS, stop_server
from machine_store import KEYS, client_of, embedded_store, s3_client

from penstock.data.inputs import fetch
from penstock.data.outputs import prepare, upload
from penstock.data.storage import PART, open_bucket
from penstock.errors import JobFailure
from penstock.testing.faults import FAULTS, at_random, between, in_turn

pytestmark = pytest.mark.machine

BUCKET = "fault-tests"
#: Six requests in ten meet with something.
STORMY = dict.fromkeys(FAULTS, 0.06)
#: Nothing gets through.
HOPELESS = {"cut_answer": 0.5, "server_error": 0.5}


@pytest.fixture(scope="module")
def access(tmp_path_factory):
    with embedded_store(tmp_path_factory.mktemp("store"), BUCKET, 19650) as access:
        yield access


@pytest.fixture(scope="module")
def boto(access):
    with s3_client(access) as client:
        yield client


def behind(access):
    """Where the store listens: not on the port it was given, if somebody else does."""
    found = urlsplit(access.endpoint)
    return found.hostname, found.port


def objects(boto, prefix):
    """What the store really holds: relative key -> SHA-256."""
    pages = boto.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    return {key[len(prefix) :]: sha(boto.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def files(folder):
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(relative): sha(path.read_bytes()) for relative, path in found.items()}


def fill(folder, seed, small=25):
    """Files of all sizes that are treated in ways of their own; their SHA-256."""
    dice = random.Random(seed)
    sizes = [0, 1, PART + 1] if small < 5 else [0, 1, PART, PART + 1, 2 * PART + dice.randrange(1000)]
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate([*sizes, *(dice.randrange(50_000) for _ in range(small))]):
        (folder / f"n {number % 3}").mkdir(exist_ok=True)
        (folder / f"n {number % 3}" / f"{number}.bin").write_bytes(dice.randbytes(size))
    return files(folder)


def send(root, uri, access, patience=30.0):
    output = {"OutputName": "x", "S3Output": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/out"}}
    prepare({"Outputs": [output]}, root)
    opener = partial(open_bucket, patience=patience)
    return upload([output], kms_key=None, root=root, access=access, progress=[].append, opener=opener)


def bring(root, uri, access, patience=30.0):
    source = {"InputName": "x", "S3Input": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/in"}}
    opener = partial(open_bucket, patience=patience)
    root.mkdir(exist_ok=True)
    fetch([source], index=0, count=1, root=root, access=access, progress=[].append, opener=opener)
    return files(root / "processing/in")


def attempt(call, *args):
    """What the transfer gave, and the reason why it failed."""
    try:
        return call(*args), None
    except JobFailure as failure:
        return None, str(failure)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_anywhere_does_no_harm(access, boto, tmp_path, fault):
    """The fault meets each request of an upload and of a download in turn, one at a time."""
    wanted = fill(tmp_path / "processing/out", 1, small=1)
    for number in range(9):
        prefix = f"one/{fault}/{number}/"
        for step in ("up", "down"):
            choose = in_turn(iter([None] * number + [fault]))
            with between(behind(access), choose, seed=number) as proxy:
                through = replace(access, endpoint=proxy.url, own=False)
                if step == "up":
                    came, failure = attempt(send, tmp_path, f"s3://{BUCKET}/{prefix}", through)
                else:
                    came, failure = attempt(
                        bring, tmp_path / f"in{number}", f"s3://{BUCKET}/{prefix}", through
                    )
            # A name or a size that was damaged in a listing may lead nowhere: that is said, not passed over.
            assert not failure or (fault == "flip_answer" and "s3://" in failure)
            if step == "down" and not failure:
                assert came == wanted
            if step == "up":
                assert objects(boto, prefix) == wanted


@pytest.mark.parametrize("seed", range(6))
def test_a_storm_ends_complete_or_failed(access, boto, tmp_path, seed):
    wanted = fill(tmp_path / "processing/out", seed)
    prefix, outcomes = f"storm/{seed}/", Counter()
    with between(behind(access), at_random(seed, STORMY), seed) as proxy:
        through = replace(access, endpoint=proxy.url, own=False)
        for step in range(3):
            uri = f"s3://{BUCKET}/{prefix}{step}/"
            _, failure = attempt(send, tmp_path, uri, through)
            outcomes["failed" if failure else "complete"] += 1
            if failure:
                assert uri in failure
            else:
                assert objects(boto, f"{prefix}{step}/") == wanted
        source = boto_put(boto, tmp_path / "processing/out", f"{prefix}source/")
        for step in range(3):
            came, failure = attempt(bring, tmp_path / f"in{step}", source, through)
            outcomes["failed" if failure else "complete"] += 1
            if failure:
                assert source in failure
            else:
                assert came == wanted
            # What is there is whole and right even when the fetch failed.
            placed = {(f"processing/in/{name}", digest) for name, digest in wanted.items()}
            assert set(files(tmp_path / f"in{step}").items()) <= placed
        assert set(proxy.done) == set(FAULTS)
    assert outcomes["complete"], outcomes


def boto_put(boto, folder, prefix):
    for path in folder.rglob("*"):
        if path.is_file():
            boto.upload_file(str(path), BUCKET, prefix + str(path.relative_to(folder)))
    return f"s3://{BUCKET}/{prefix}"


def test_a_store_that_never_answers_rightly_is_told_with_its_answer(access, boto, tmp_path):
    fill(tmp_path / "processing/out", 0, small=3)
    boto.put_object(Bucket=BUCKET, Key="hopeless/in", Body=b"x")
    with between(behind(access), at_random(0, HOPELESS)) as proxy:
        through = replace(access, endpoint=proxy.url, own=False)
        with pytest.raises(JobFailure) as sent:
            send(tmp_path, f"s3://{BUCKET}/hopeless/out", through, patience=1.0)
        with pytest.raises(JobFailure) as brought:
            bring(tmp_path / "in", f"s3://{BUCKET}/hopeless/in", through, patience=1.0)
    assert "Output 'x': s3://fault-tests/hopeless/out/" in str(sent.value)
    assert "Input 'x': s3://fault-tests/hopeless/in: " in str(brought.value)
    for failure in (sent.value, brought.value):
        assert "InternalError" in str(failure) or "no answer from the object store" in str(failure)
        assert "run the job again" in str(failure)


@pytest.fixture(scope="module")
def stormy_server(access, tmp_path_factory):
    """A real server whose object store lies behind the proxy; the storm begins when it is up."""
    from penstock.client import local_server

    home = tmp_path_factory.mktemp("home")
    weather = {}
    random_fault = {}

    def choose(request):
        make = weather.get("rates")
        return random_fault["choose"](request) if make else None

    def storm(seed, rates):
        weather["rates"], random_fault["choose"] = rates, at_random(seed, rates)

    kept = dict(os.environ)
    with between(behind(access), choose) as proxy:
        os.environ.update(
            PENSTOCK_HOME=str(home),
            PENSTOCK_ENVIRONMENTS=str(ENVIRONMENTS),
            PENSTOCK_PORT="12650",
            PENSTOCK_S3_ENDPOINT=proxy.url,
            PENSTOCK_S3_ACCESS_KEY_ID=KEYS["access_key_id"],
            PENSTOCK_S3_SECRET_ACCESS_KEY=KEYS["secret_access_key"],
            PENSTOCK_BUCKET=BUCKET,
        )
        try:
            yield local_server.ensure(), storm, proxy
        finally:
            stop_server(home)
            os.environ.clear()
            os.environ.update(kept)


PROGRAM = """
import hashlib, json, pathlib, shutil
source, out = pathlib.Path("/opt/ml/processing/in"), pathlib.Path("/opt/ml/processing/out")
seen = {str(p.relative_to(source)): hashlib.sha256(p.read_bytes()).hexdigest() for p in source.rglob("*") if p.is_file()}
shutil.copytree(source, out / "copy")
(out / "seen.json").write_text(json.dumps(seen))
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_job_in_a_storm_is_completed_with_right_bytes_or_failed(stormy_server, boto, tmp_path, seed):
    address, storm, proxy = stormy_server
    wanted = fill(tmp_path / "data", seed, small=10)
    source = boto_put(boto, tmp_path / "data", f"job/{seed}/in/")
    boto.put_object(Bucket=BUCKET, Key="job/code/program.py", Body=PROGRAM.encode())
    storm(seed, STORMY)
    name = f"storm-{seed}"
    request = {
        "ProcessingJobName": name,
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "AppSpecification": {
            "ImageUri": "python:3.11",
            "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/program.py"],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name, uri in {"in": source, "code": f"s3://{BUCKET}/job/code/program.py"}.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "out",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/job/{seed}/out",
                        "LocalPath": "/opt/ml/processing/out",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    }
    keys = address.access_key_id, address.secret_access_key
    with client_of("sagemaker", address.endpoint, *keys) as sagemaker:
        sagemaker.create_processing_job(**request)
        waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
        with contextlib.suppress(WaiterError):  # so it tells of a failed job
            waiter.wait(ProcessingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 240})
        told = sagemaker.describe_processing_job(ProcessingJobName=name)
    assert proxy.done
    if told["ProcessingJobStatus"] == "Failed":
        assert (
            "Failed to download data" in told["FailureReason"]
            or "Failed to upload data" in told["FailureReason"]
        )
        return
    assert told["ProcessingJobStatus"] == "Completed"
    held = objects(boto, f"job/{seed}/out/")
    assert (
        json.loads(boto.get_object(Bucket=BUCKET, Key=f"job/{seed}/out/seen.json")["Body"].read()) == wanted
    )
    assert {key.removeprefix("copy/"): digest for key, digest in held.items() if key != "seen.json"} == wanted
