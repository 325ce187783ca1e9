"""SageMaker's SDK v3, used as its documentation uses it; `python sagemaker_v3.py CASE`."""

import contextlib
import io
import os
import sys
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.exceptions import UnexpectedStatusException
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import FrameworkProcessor, Processor, ScriptProcessor
from sagemaker.core.resources import ProcessingJob
from sagemaker.core.s3 import S3Downloader, S3Uploader
from sagemaker.core.shapes import (
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)
from sagemaker.core.utils.exceptions import FailedStatusError

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
        base_job_name="v3-plain",
        max_runtime_in_seconds=600,
        **ONE,
    )
    with contextlib.redirect_stdout(printed):
        made.run(arguments=["--n", "two words"], wait=True, logs=True)
    assert "said green ['--n', 'two words']" in printed.getvalue(), printed.getvalue()
    job = made.latest_job.refresh()
    assert job.processing_job_status == "Completed"
    assert job.role_arn.endswith(":role/MyRole")
    assert job.stopping_condition.max_runtime_in_seconds == 600
    client = made.sagemaker_session.sagemaker_client
    assert client.list_tags(ResourceArn=job.processing_job_arn)["Tags"] == [{"Key": "team", "Value": "a"}]


def script_processor():
    """ScriptProcessor: local script and input, output to S3, wait without logs"""
    session = Session()
    base = f"s3://{session.default_bucket()}/v3"
    Path("run.py").write_text(
        "import shutil, sys\n"
        "shutil.copy('/opt/ml/processing/in/d.csv', '/opt/ml/processing/out/' + sys.argv[1])\n"
    )
    Path("d.csv").write_text("1,2\n")
    made = ScriptProcessor(role=ROLE, image_uri=IMAGE, command=["python3"], sagemaker_session=session, **ONE)
    made.run(
        code="run.py",
        inputs=[
            ProcessingInput(
                input_name="in",
                s3_input=ProcessingS3Input(
                    s3_uri="d.csv", local_path="/opt/ml/processing/in", s3_data_type="S3Prefix"
                ),
            )
        ],
        outputs=[
            ProcessingOutput(
                output_name="out",
                s3_output=ProcessingS3Output(
                    s3_uri=base + "/out", local_path="/opt/ml/processing/out", s3_upload_mode="EndOfJob"
                ),
            )
        ],
        arguments=["e.csv"],
        logs=False,
    )
    assert S3Downloader.read_file(base + "/out/e.csv") == "1,2\n"


def sklearn_image():
    """ScriptProcessor on image_uris.retrieve("sklearn"): the framework's image, no command given"""
    Path("run.py").write_text("import sklearn; print('sklearn is', sklearn.__version__)\n")
    image = image_uris.retrieve(framework="sklearn", region=os.environ["AWS_REGION"], version="1.2-1")
    printed = io.StringIO()
    made = ScriptProcessor(role=get_execution_role(), image_uri=image, **ONE)
    with contextlib.redirect_stdout(printed):
        made.run(code="run.py")
    assert "sklearn is 1.2" in printed.getvalue(), printed.getvalue()


def framework_processor():
    """FrameworkProcessor: source_dir and requirements.txt through the SDK's runproc.sh"""
    source = Path("source")
    source.mkdir()
    (source / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (source / "helper.py").write_text("import importlib.metadata as m\nversion = m.version('iniconfig')\n")
    (source / "train.py").write_text("import helper, sys\nprint('found', helper.version, sys.argv[1:])\n")
    image = image_uris.retrieve(framework="sklearn", region=os.environ["AWS_REGION"], version="1.2-1")
    printed = io.StringIO()
    made = FrameworkProcessor(role=ROLE, image_uri=image, command=["python3"], **ONE)
    with contextlib.redirect_stdout(printed):
        made.run(
            code="train.py",
            source_dir="source",
            requirements="requirements.txt",
            arguments=["--epochs", "2"],
        )
    assert "found 2.0.0 ['--epochs', '2']" in printed.getvalue(), printed.getvalue()


def network():
    """NetworkConfig(enable_network_isolation): the program has no network; get echoes it"""
    code = "import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.1', %s)) == 0)"
    made = Processor(
        role=ROLE,
        image_uri=IMAGE,
        entrypoint=["python3", "-c", code % os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]],
        network_config=NetworkConfig(enable_network_isolation=True),
        **ONE,
    )
    made.run(logs=False)
    assert made.latest_job.refresh().network_config.enable_network_isolation is True


def resource():
    """ProcessingJob resource: get, get_all, stop, wait"""
    made = Processor(
        role=ROLE,
        image_uri=IMAGE,
        entrypoint=["sleep", "600"],
        base_job_name="v3-stop",
        **ONE,
    )
    made.run(wait=False, logs=False)
    name = made.latest_job.processing_job_name
    job = ProcessingJob.get(name)
    listed = [one.processing_job_name for one in ProcessingJob.get_all(name_contains="v3-stop")]
    assert listed == [name]
    job.stop()
    job.wait(poll=1)
    assert job.processing_job_status == "Stopped"


def failure():
    """A failing job: run(wait, logs) and ProcessingJob.wait raise; its exit message"""
    code = "open('/opt/ml/output/message', 'w').write('no such column: x'); raise SystemExit(5)"
    made = Processor(role=ROLE, image_uri=IMAGE, entrypoint=["python3", "-c", code], **ONE)
    error = _raised((UnexpectedStatusException, AttributeError), made.run)
    if isinstance(error, AttributeError):  # its code looks for the class in botocore.exceptions
        sys.stdout.write(
            f"DIFFERS run raises {error!r} where it means UnexpectedStatusException, as on AWS\n"
        )
    else:
        assert "exit code: 5" in str(error), error
    error = _raised(FailedStatusError, lambda: made.latest_job.wait(poll=1, logs=True))
    assert "exit code: 5" in str(error), error
    assert made.latest_job.exit_message == "no such column: x"


def s3_helpers():
    """S3Uploader, S3Downloader, Session.upload_data, download_data, list_s3_files; a KMS key"""
    session = Session()
    bucket = session.default_bucket()
    base = f"s3://{bucket}/v3s3"
    Path("folder/deep").mkdir(parents=True)
    Path("folder/a.txt").write_text("a")
    Path("folder/deep/b.txt").write_text("b")
    assert S3Uploader.upload("folder", base + "/up") == base + "/up"
    assert sorted(S3Downloader.list(base + "/up")) == [base + "/up/a.txt", base + "/up/deep/b.txt"]
    S3Downloader.download(base + "/up", "down")
    assert Path("down/deep/b.txt").read_text() == "b"
    S3Uploader.upload_string_as_file_body("text", base + "/text", kms_key="alias/mine")
    S3Uploader.upload_bytes(b"bytes", base + "/bytes")
    assert S3Downloader.read_file(base + "/text") == "text"
    assert S3Downloader.read_bytes(base + "/bytes") == b"bytes"
    assert session.upload_data("folder/a.txt", key_prefix="v3s3/data") == base + "/data/a.txt"
    assert session.list_s3_files(bucket, "v3s3/data") == ["v3s3/data/a.txt"]
    session.download_data("got", bucket, "v3s3/data/a.txt")
    assert Path("got/a.txt").read_text() == "a"


def identity():
    """get_execution_role, account_id, default_bucket without a configured one (STS)"""
    os.environ.pop("SAGEMAKER_USER_CONFIG_OVERRIDE")
    session = Session()
    assert session.account_id() == "000000000000"
    assert session.default_bucket() == f"sagemaker-{os.environ['AWS_REGION']}-000000000000"
    assert get_execution_role(session) == "arn:aws:iam::000000000000:role/penstock"
    assert session.upload_data(__file__, key_prefix="owned").endswith("/owned/sagemaker_v3.py")


def _raised(kind, call):
    """The exception of `kind` that `call` must raise."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
