"""SageMaker's SDK v2, and Penstock's own, which has the same names: processors."""

import contextlib
import io
import os
from pathlib import Path

from case import main, unique
from sagemaker import get_execution_role
from sagemaker.network import NetworkConfig
from sagemaker.processing import (
    FrameworkProcessor,
    ProcessingInput,
    ProcessingOutput,
    Processor,
    ScriptProcessor,
)
from sagemaker.s3 import S3Downloader
from sagemaker.sklearn.estimator import SKLearn
from sagemaker.sklearn.processing import SKLearnProcessor

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
    told = made.latest_job.describe()
    assert told["ProcessingJobStatus"] == "Completed"
    assert told["RoleArn"].endswith(":role/MyRole")
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    tags = made.sagemaker_session.sagemaker_client.list_tags(ResourceArn=told["ProcessingJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}]


def script():
    """ScriptProcessor: local script and input, output to the default bucket, wait without logs"""
    Path("run.py").write_text(
        "import shutil, sys\n"
        "shutil.copy('/opt/ml/processing/in/d.csv', '/opt/ml/processing/out/' + sys.argv[1])\n"
    )
    Path("d.csv").write_text("1,2\n")
    made = ScriptProcessor(
        role=ROLE, image_uri=IMAGE, command=["python3"], base_job_name=unique("job"), **ONE
    )
    made.run(
        code="run.py",
        inputs=[ProcessingInput(source="d.csv", destination="/opt/ml/processing/in")],
        outputs=[ProcessingOutput(source="/opt/ml/processing/out", output_name="out")],
        arguments=["e.csv"],
        logs=False,
    )
    assert S3Downloader.read_file(made.latest_job.outputs[0].destination + "/e.csv") == "1,2\n"


def framework_image():
    """SKLearnProcessor: the framework's image, run(wait, logs)"""
    Path("run.py").write_text("import sklearn; print('sklearn is', sklearn.__version__)\n")
    made = SKLearnProcessor("1.2-1", role=get_execution_role(), base_job_name=unique("job"), **ONE)
    printed = _printed(made.run, code="run.py")
    assert "sklearn is 1.2" in printed, printed


def source_folder():
    """FrameworkProcessor: source_dir and requirements.txt through the SDK's runproc.sh (SSE-KMS upload)"""
    source = Path("source")
    source.mkdir()
    (source / "requirements.txt").write_text("iniconfig==2.0.0\n")
    (source / "helper.py").write_text("import importlib.metadata as m\nversion = m.version('iniconfig')\n")
    (source / "train.py").write_text("import helper, sys\nprint('found', helper.version, sys.argv[1:])\n")
    made = FrameworkProcessor(
        estimator_cls=SKLearn, framework_version="1.2-1", role=ROLE, base_job_name=unique("job"), **ONE
    )
    printed = _printed(made.run, code="train.py", source_dir="source", arguments=["--epochs", "2"])
    assert "found 2.0.0 ['--epochs', '2']" in printed, printed
    entrypoint = made.latest_job.describe()["AppSpecification"]["ContainerEntrypoint"]
    assert entrypoint == ["/bin/bash", "/opt/ml/processing/input/entrypoint/runproc.sh"], entrypoint
    (start,) = [one for one in made.latest_job.inputs if one.input_name == "entrypoint"]
    assert "pip install -r requirements.txt" in S3Downloader.read_file(start.source)


def network():
    """NetworkConfig(enable_network_isolation): the program has no network; describe shows it"""
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
    told = made.latest_job.describe()["NetworkConfig"]
    assert told["EnableNetworkIsolation"] is True
    assert told["VpcConfig"] == {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}


def _printed(run, **arguments):
    """What `run` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(**arguments)
    return printed.getvalue()


if __name__ == "__main__":
    main(globals())
