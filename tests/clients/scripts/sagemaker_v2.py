"""SageMaker's SDK v2, used as its documentation uses it; `python sagemaker_v2.py CASE`."""

import contextlib
import io
import os
import sys
from pathlib import Path

from sagemaker import Session, get_execution_role
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.network import NetworkConfig
from sagemaker.processing import (
    FrameworkProcessor,
    ProcessingInput,
    ProcessingJob,
    ProcessingOutput,
    Processor,
    ScriptProcessor,
)
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.sklearn.estimator import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor

IMAGE = "python:3.11"
ROLE = "arn:aws:iam::000000000000:role/any"
ONE = {"instance_count": 1, "instance_type": "ml.m5.xlarge"}


def processor():
    """Processor: arguments, environment, tags, role by name, run(wait, logs)"""
    printed = io.StringIO()
    made = Processor(
        role="MyRole",
        image_uri=IMAGE,
        entrypoint=["python3", "-c", "import os, sys; print('said', os.environ['COLOUR'], sys.argv[1:])"],
        env={"COLOUR": "green"},
        tags=[{"Key": "team", "Value": "a"}],
        base_job_name="v2-plain",
        max_runtime_in_seconds=600,
        **ONE,
    )
    with contextlib.redirect_stdout(printed):
        made.run(arguments=["--n", "two words"], wait=True, logs=True)
    assert "said green ['--n', 'two words']" in printed.getvalue(), printed.getvalue()
    told = made.latest_job.describe()
    assert told["ProcessingJobStatus"] == "Completed"
    assert told["RoleArn"].endswith(":role/MyRole")
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    tags = made.sagemaker_session.sagemaker_client.list_tags(ResourceArn=told["ProcessingJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}]


def script_processor():
    """ScriptProcessor: local script and input, output to the default bucket, wait without logs"""
    Path("run.py").write_text(
        "import shutil, sys\n"
        "shutil.copy('/opt/ml/processing/in/d.csv', '/opt/ml/processing/out/' + sys.argv[1])\n"
    )
    Path("d.csv").write_text("1,2\n")
    made = ScriptProcessor(role=ROLE, image_uri=IMAGE, command=["python3"], **ONE)
    made.run(
        code="run.py",
        inputs=[ProcessingInput(source="d.csv", destination="/opt/ml/processing/in")],
        outputs=[ProcessingOutput(source="/opt/ml/processing/out", output_name="out")],
        arguments=["e.csv"],
        logs=False,
    )
    assert S3Downloader.read_file(made.latest_job.outputs[0].destination + "/e.csv") == "1,2\n"


def sklearn_processor():
    """SKLearnProcessor: the framework's image, run(wait, logs)"""
    Path("run.py").write_text("import sklearn; print('sklearn is', sklearn.__version__)\n")
    printed = io.StringIO()
    made = SKLearnProcessor("1.2-1", role=get_execution_role(), **ONE)
    with contextlib.redirect_stdout(printed):
        made.run(code="run.py")
    assert "sklearn is 1.2" in printed.getvalue(), printed.getvalue()


def framework_processor():
    """FrameworkProcessor: source_dir and requirements.txt through the SDK's runproc.sh (SSE-KMS upload)"""
    source = Path("source")
    source.mkdir()
    (source / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (source / "helper.py").write_text("import importlib.metadata as m\nversion = m.version('iniconfig')\n")
    (source / "train.py").write_text("import helper, sys\nprint('found', helper.version, sys.argv[1:])\n")
    printed = io.StringIO()
    made = FrameworkProcessor(estimator_cls=SKLearn, framework_version="1.2-1", role=ROLE, **ONE)
    with contextlib.redirect_stdout(printed):
        made.run(code="train.py", source_dir="source", arguments=["--epochs", "2"])
    assert "found 2.0.0 ['--epochs', '2']" in printed.getvalue(), printed.getvalue()


def network():
    """NetworkConfig(enable_network_isolation): the program has no network; describe echoes it"""
    code = "import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.1', %s)) == 0)"
    made = Processor(
        role=ROLE,
        image_uri=IMAGE,
        entrypoint=["python3", "-c", code % os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]],
        network_config=NetworkConfig(enable_network_isolation=True),
        **ONE,
    )
    made.run(logs=False)
    assert made.latest_job.describe()["NetworkConfig"]["EnableNetworkIsolation"] is True


def stop_and_find():
    """ProcessingJob: from_processing_name, from_processing_arn, stop, wait, describe"""
    made = Processor(role=ROLE, image_uri=IMAGE, entrypoint=["sleep", "600"], **ONE)
    made.run(wait=False, logs=False)
    session = Session()
    found = ProcessingJob.from_processing_name(session, made.latest_job.job_name)
    arn = found.describe()["ProcessingJobArn"]
    again = ProcessingJob.from_processing_arn(session, arn)
    assert again.job_name == made.latest_job.job_name
    again.stop()
    found.wait(logs=False)
    assert found.describe()["ProcessingJobStatus"] == "Stopped"


def failure():
    """A failing job: run(wait, logs) raises UnexpectedStatusException; its exit message"""
    code = "open('/opt/ml/output/message', 'w').write('no such column: x'); raise SystemExit(5)"
    made = Processor(role=ROLE, image_uri=IMAGE, entrypoint=["python3", "-c", code], **ONE)
    error = _raised(UnexpectedStatusException, made.run)
    assert error.actual_status == "Failed"
    assert "exit code: 5" in str(error), error
    assert made.latest_job.describe()["ExitMessage"] == "no such column: x"


def s3_helpers():
    """S3Uploader, S3Downloader, Session.upload_data, download_data, list_s3_files; a KMS key"""
    session = Session()
    bucket = session.default_bucket()
    base = f"s3://{bucket}/v2"
    Path("folder/deep").mkdir(parents=True)
    Path("folder/a.txt").write_text("a")
    Path("folder/deep/b.txt").write_text("b")
    assert S3Uploader.upload("folder", base + "/up") == base + "/up"
    assert sorted(S3Downloader.list(base + "/up")) == [base + "/up/a.txt", base + "/up/deep/b.txt"]
    S3Downloader.download(base + "/up", "down")
    assert Path("down/deep/b.txt").read_text() == "b"
    S3Uploader.upload_string_as_file_body("text", base + "/text", kms_key="alias/mine")
    assert S3Downloader.read_file(base + "/text") == "text"
    assert session.upload_data("folder/a.txt", key_prefix="v2/data") == base + "/data/a.txt"
    assert session.list_s3_files(bucket, "v2/data") == ["v2/data/a.txt"]
    session.download_data("got", bucket, "v2/data/a.txt")
    assert Path("got/a.txt").read_text() == "a"
    with Path("large").open("wb") as file:
        file.truncate(20 << 20)  # more than one part
    session.upload_data("large", key_prefix="v2/large", extra_args={"ServerSideEncryption": "aws:kms"})
    assert (
        session.boto_session.client("s3").head_object(Bucket=bucket, Key="v2/large/large")["ContentLength"]
        == 20 << 20
    )


def identity():
    """get_execution_role, account_id, default_bucket without a configured one (STS)"""
    os.environ.pop("SAGEMAKER_USER_CONFIG_OVERRIDE")
    session = Session()
    assert session.account_id() == "000000000000"
    assert session.default_bucket() == f"sagemaker-{os.environ['AWS_REGION']}-000000000000"
    assert get_execution_role(session) == "arn:aws:iam::000000000000:role/penstock"
    assert session.upload_data(__file__, key_prefix="owned").endswith("/owned/sagemaker_v2.py")


def _raised(kind, call):
    """The exception of `kind` that `call` must raise."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
