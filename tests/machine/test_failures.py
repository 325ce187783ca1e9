"""Jobs that must fail, and what docs/failures.md says of them: whole jobs on a real server."""

import io
import tarfile
import uuid

import pytest
from botocore.exceptions import ClientError
from failure_table import assert_told, rows

from penstock.exceptions import UnexpectedStatusException
from penstock.image_uris import retrieve
from penstock.processing import ProcessingInput, Processor

pytestmark = pytest.mark.machine

CODE = "/opt/ml/processing/input/code"


@pytest.fixture
def reason(session, s3):
    """Runs a job that fails, with other.sh (or other files) for its code; its FailureReason."""

    def run(*entrypoint, image="python:3.11", files=None, arguments=None, env=None):
        prefix = f"failures/{uuid.uuid4().hex}/"
        for name, data in (files or {"other.sh": b"exit 3\n"}).items():
            s3.put_object(Bucket=session.default_bucket(), Key=prefix + name, Body=data)
        processor = Processor(
            image_uri=image,
            role="any",
            entrypoint=list(entrypoint),
            instance_count=1,
            instance_type="ml.m5.large",
            env=env,
            sagemaker_session=session,
        )
        source = f"s3://{session.default_bucket()}/{prefix}"
        with pytest.raises(UnexpectedStatusException):
            processor.run(
                inputs=[ProcessingInput(source=source, destination=CODE)], arguments=arguments, logs=False
            )
        return processor.latest_job.describe()["FailureReason"]

    return run


PROGRAMS = {
    "the program is not on its PATH": ("pythn3", "x.py"),
    "the program lies where no input is": ("/opt/ml/processing/nowhere/run",),
    "the program is not there": (f"{CODE}/run.sh",),
    "the program is a folder": (CODE,),
    "the program is not executable": (f"{CODE}/other.sh",),
    "the script of python3 is not there": ("python3", f"{CODE}/x.py"),
    "the program ends with an error": ("/bin/sh", "-c", "exit 7"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_a_program_that_can_not_do_its_work(reason, case):
    assert_told(case, reason(*PROGRAMS[case]))


def packed(**files):
    """A sourcedir.tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("_txt", ".txt"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


SOURCES = {
    "a line of requirements.txt is no requirement": packed(requirements_txt=b"iniconfig\nnumpy=>1\n"),
    "requirements.txt is not UTF-8": packed(requirements_txt=b"\xff\xe9oo\n"),
    "requirements that can't be had together": packed(requirements_txt=b"iniconfig==0.0.0.1\n"),
    "the index of packages can't be reached": packed(
        requirements_txt=b"--index-url http://127.0.0.1:9/simple\niniconfig==2.0.0\n"
    ),
    "the archive of the source folder is broken": packed(requirements_txt=b"iniconfig\n")[:70],
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_folder_that_can_not_be_used(reason, case):
    files = {"runproc.sh": b"exit 9\n", "sourcedir.tar.gz": SOURCES[case]}
    assert_told(case, reason("/bin/bash", f"{CODE}/runproc.sh", files=files))


def test_a_version_that_nobody_has(reason):
    case = "the image has a version that the catalogue does not know, and no index either"
    assert_told(case, reason("true", image="sagemaker-scikit-learn:9.9-1-cpu-py3"))


REFUSED = {
    "the image is none that can be played": {"image": "nonsense:1"},
    "the image's framework has no environment": {"image": "sagemaker-spark-processing:3.3-cpu"},
    "a NUL character": {"env": {"A": "a\0b"}},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_at_once(reason, case):
    with pytest.raises(ClientError) as caught:
        reason("true", **REFUSED[case])
    assert_told(case, str(caught.value))


def test_a_version_that_the_sdk_does_not_know():
    with pytest.raises(ValueError, match="Unsupported") as caught:
        retrieve("sklearn", "us-east-1", "1.3-1", instance_type="ml.m5.large")
    assert_told("the SDK is asked for a version that nobody knows", str(caught.value))


def test_the_page_names_the_errors_of_whole_jobs():
    assert {*PROGRAMS, *SOURCES, *REFUSED} <= set(rows())
