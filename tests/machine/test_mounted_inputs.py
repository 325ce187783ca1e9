"""Inputs that a job sees by a mount, in whole jobs with real walls: from the node's cache."""

import os
import textwrap
from contextlib import suppress

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError
from counting_store import counting_store
from machine_home import ENVIRONMENTS, stop_server

from penstock.client import local_server, record
from penstock.data import pruning
from penstock.processing import ProcessingInput, ScriptProcessor

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
        with suppress(WaiterError):  # it failed, as some are meant to
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


@pytest.fixture
def data(tmp_path):
    """A folder of the machine that may be an input."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(COUNT):
        (folder / str(number)).write_text(f"content {number}")
    return folder


@pytest.mark.parametrize("walls", ["auto", "bubblewrap"])
def test_a_local_folder_is_seen_where_it_lies_and_stays_as_it_is(run, store, data, walls):
    settings = {"PENSTOCK_LOCAL_INPUTS": str(data), "PENSTOCK_WALLS": walls}
    source = (
        READ_AND_SPOIL if walls == "auto" else READ_AND_SPOIL.split("for path in files[1:]", maxsplit=1)[0]
    )
    for _ in range(2):
        told, log = run(source, from_s3(data.as_uri()), settings=settings)
        assert f"sum {COUNT} {sum(range(COUNT))}" in log
    assert {path.name: path.read_text() for path in data.iterdir()} == {
        str(number): f"content {number}" for number in range(COUNT)
    }
    assert fetched(store) == 0
    assert told["hosts"][0]["inputs"][1]["objects"] is None


def test_a_single_local_file_lies_in_its_folder(run, data):
    source = "print(open('/opt/ml/processing/input/7').read()); open('/opt/ml/processing/input/mine', 'w')"
    _, log = run(source, from_s3((data / "7").as_uri()), settings={"PENSTOCK_LOCAL_INPUTS": str(data)})
    assert "content 7" in log


def test_a_link_out_of_the_allowed_folder_fails_the_job(run, data, tmp_path):
    (data / "link").symlink_to(tmp_path / "home")
    settings = {"PENSTOCK_LOCAL_INPUTS": str(data)}
    told, _ = run("print()", from_s3((data / "link").as_uri()), settings=settings, status="Failed")
    assert "in none of the folders that may be inputs" in told["failure_reason"]


def test_without_the_setting_the_api_answers_as_aws(run, data):
    with pytest.raises(
        ClientError, match=r"at 'processingInputs\.2\.member\.s3Input\.s3Uri' failed to satisfy.*pattern"
    ):
        run("print()", from_s3(data.as_uri()))


def test_with_the_setting_other_folders_are_refused_at_once(run, data, tmp_path):
    with pytest.raises(ClientError, match=r"/elsewhere lies in none of the folders"):
        run("print()", from_s3("file:///elsewhere"), settings={"PENSTOCK_LOCAL_INPUTS": str(data)})


def test_our_sdk_sends_an_explicit_file_url_as_it_is_and_uploads_the_rest(serve, store, data, tmp_path):
    address = serve(PENSTOCK_LOCAL_INPUTS=str(data))
    assert address.local_inputs == (str(data),)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("content")
    script = tmp_path / "script.py"
    script.write_text(
        "import os; print(len(os.listdir('/opt/ml/processing/a')), os.listdir('/opt/ml/processing/b'))"
    )
    processor = ScriptProcessor(
        image_uri="python:3.11", command=["python3"], instance_count=1, instance_type="ml.m5.large"
    )
    processor.run(
        code=str(script),
        inputs=[
            ProcessingInput(source=data.as_uri(), destination="/opt/ml/processing/a", input_name="a"),
            ProcessingInput(source=(tmp_path / "other").as_uri(), destination="/opt/ml/processing/b"),
            ProcessingInput(source=str(data / "7"), destination="/opt/ml/processing/c"),
        ],
    )
    uris = {one.destination: one.s3_input.s3_uri for one in processor.latest_job.inputs}
    assert uris["/opt/ml/processing/a"] == data.as_uri()
    assert uris["/opt/ml/processing/b"].startswith("s3://")
    assert uris["/opt/ml/processing/c"].startswith("s3://")
