"""SageMaker's SDK v3: processors."""

import contextlib
import io
import os
from pathlib import Path

from case import main, unique
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import FrameworkProcessor, Processor, ScriptProcessor
from sagemaker.core.s3 import S3Downloader
from sagemaker.core.shapes import (
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
)

IMAGE = "python:3.11"
ROLE = "arn:aws:iam::000000000000:role/any"
ONE = {"instance_count": 1, "instance_type": "ml.m5.xlarge"}


def arguments():
    """Processor: arguments, environment, tags, role by name, run(wait, logs)"""
    made = Processor(
        role="MyRole",
        image_uri=IMAGE,
        entrypoint=["python3", "-c", "import os, sys; print('said', os.environ['COLOUR'], sys.argv[1:])"],
        env={"COLOUR": "green"},
        tags=[{"Key": "team", "Value": "a"}],
        base_job_name=unique("job"),
        max_runtime_in_seconds=600,
        **ONE,
    )
    printed = _printed(made.run, arguments=["--n", "two words"], wait=True, logs=True)
    assert "said green ['--n', 'two words']" in printed, printed
    job = made.latest_job.refresh()
    assert job.processing_job_status == "Completed"
    assert job.role_arn.endswith(":role/MyRole")
    assert job.stopping_condition.max_runtime_in_seconds == 600
    client = made.sagemaker_session.sagemaker_client
    assert client.list_tags(ResourceArn=job.processing_job_arn)["Tags"] == [{"Key": "team", "Value": "a"}]


def script():
    """ScriptProcessor: local script and input, output to S3, wait without logs"""
    session = Session()
    base = f"s3://{session.default_bucket()}/{unique('script')}"
    Path("run.py").write_text(
        "import shutil, sys\n"
        "shutil.copy('/opt/ml/processing/in/d.csv', '/opt/ml/processing/out/' + sys.argv[1])\n"
    )
    Path("d.csv").write_text("1,2\n")
    made = ScriptProcessor(
        role=ROLE,
        image_uri=IMAGE,
        command=["python3"],
        sagemaker_session=session,
        base_job_name=unique("job"),
        **ONE,
    )
    given = ProcessingS3Input(s3_uri="d.csv", local_path="/opt/ml/processing/in", s3_data_type="S3Prefix")
    output = ProcessingS3Output(
        s3_uri=base + "/out", local_path="/opt/ml/processing/out", s3_upload_mode="EndOfJob"
    )
    made.run(
        code="run.py",
        inputs=[ProcessingInput(input_name="in", s3_input=given)],
        outputs=[ProcessingOutput(output_name="out", s3_output=output)],
        arguments=["e.csv"],
        logs=False,
    )
    assert S3Downloader.read_file(base + "/out/e.csv") == "1,2\n"


def framework_image():
    """ScriptProcessor on image_uris.retrieve("sklearn"): the framework's image, no command given"""
    Path("run.py").write_text("import sklearn; print('sklearn is', sklearn.__version__)\n")
    made = ScriptProcessor(
        role=get_execution_role(), image_uri=_sklearn(), base_job_name=unique("job"), **ONE
    )
    printed = _printed(made.run, code="run.py")
    assert "sklearn is 1.2" in printed, printed


def source_folder():
    """FrameworkProcessor: source_dir and requirements.txt through the SDK's runproc.sh"""
    source = Path("source")
    source.mkdir()
    (source / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (source / "helper.py").write_text("import importlib.metadata as m\nversion = m.version('iniconfig')\n")
    (source / "train.py").write_text("import helper, sys\nprint('found', helper.version, sys.argv[1:])\n")
    made = FrameworkProcessor(
        role=ROLE, image_uri=_sklearn(), command=["python3"], base_job_name=unique("job"), **ONE
    )
    printed = _printed(
        made.run,
        code="train.py",
        source_dir="source",
        requirements="requirements.txt",
        arguments=["--epochs", "2"],
    )
    assert "found 2.0.0 ['--epochs', '2']" in printed, printed
    job = made.latest_job.refresh()
    (start,) = [one for one in job.processing_inputs if one.input_name == "entrypoint"]
    assert "pip install" in S3Downloader.read_file(start.s3_input.s3_uri)


def network():
    """NetworkConfig(enable_network_isolation): the program has no network; refresh shows it"""
    code = "import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.1', %s)) == 0)"
    made = Processor(
        role=ROLE,
        image_uri=IMAGE,
        entrypoint=["python3", "-c", code % os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]],
        network_config=NetworkConfig(
            enable_network_isolation=True, security_group_ids=["sg-1"], subnets=["subnet-1"]
        ),
        base_job_name=unique("job"),
        **ONE,
    )
    made.run(logs=False)
    told = made.latest_job.refresh().network_config
    assert told.enable_network_isolation is True
    assert told.vpc_config.subnets == ["subnet-1"]


def _sklearn():
    return image_uris.retrieve(framework="sklearn", region=os.environ["AWS_REGION"], version="1.2-1")


def _printed(run, **arguments):
    """What `run` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(**arguments)
    return printed.getvalue()


if __name__ == "__main__":
    main(globals())
