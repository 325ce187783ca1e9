"""Jobs in the environments of others, of projects, and by the start script of SageMaker's own SDK."""

import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
from machine_home import ENVIRONMENTS

from penstock.environments.inventory import listing
from penstock.environments.uv import find_uv
from penstock.exceptions import UnexpectedStatusException
from penstock.job.lock import VARIABLE
from penstock.processing import FrameworkProcessor, ProcessingInput, Processor
from penstock.s3 import S3Uploader
from penstock.sklearn import SKLearn

pytestmark = pytest.mark.machine

WHERE = (
    "import iniconfig, importlib.metadata as m; print('has', m.version('iniconfig'), iniconfig.__file__)\n"
)


@pytest.fixture
def logged(session):
    """The lines of a job's log."""

    def read(name):
        client = session.boto_session.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )
        return [e["message"] for page in pages for e in page["events"]]

    return read


@pytest.fixture
def run(session, tmp_path):
    """Runs `main.py` of a source folder with these files; returns the job's name."""

    def run(files, **more):
        source = tmp_path / "src"
        for name, text in {"main.py": WHERE, **files}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        made = FrameworkProcessor(
            SKLearn,
            framework_version="1.2-1",
            image_uri="python:3.11",
            instance_count=1,
            instance_type="ml.m5.large",
            command=["python3"],
            sagemaker_session=session,
            env=more.pop("env", None),
        )
        made.run(code="main.py", source_dir=str(source), logs=False, **more)
        return made.latest_job.job_name

    return run


def has(lines):
    """The version of iniconfig that the script has found, and whether it lay in the environment built beforehand."""
    [line] = [line for line in lines if line.startswith("has ")]
    _, version, path = line.split()
    return version, path.startswith("/opt/penstock/env/")


def test_a_job_runs_again_in_the_environment_of_an_earlier_one(run, told, logged, address, tmp_path):
    """By its name through the SDK, though its requirements would now be met by a newer version; and by its lock's file."""
    first = run({"requirements.txt": "iniconfig<2.1\n"})
    before = told(first)["hosts"][0]
    assert len(before["lock"]) == 64
    assert "lock" not in before["environment"]
    again = run({}, env={VARIABLE: first})
    after = told(again)["hosts"][0]
    assert (after["lock"], after["environment"]["digest"]) == (
        before["lock"],
        before["environment"]["digest"],
    )
    assert has(logged(again)) == has(logged(first)) == ("2.0.0", True)
    assert not any("pip" in line.lower() for line in logged(again))

    penstock = [os.path.join(os.path.dirname(sys.executable), "penstock")]
    printed = subprocess.run(
        [*penstock, "describe", first, "--lock"], capture_output=True, text=True, check=True
    ).stdout
    assert "# framework: python==3.11\n" in printed
    assert "iniconfig==2.0.0 \\\n    --hash=sha256:" in printed
    (tmp_path / "job.lock").write_text(printed)
    script = tmp_path / "where.py"
    script.write_text(WHERE)
    done = subprocess.run(
        [*penstock, "run", str(script), "--lock", str(tmp_path / "job.lock"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["hosts"][0]["lock"] == before["lock"]
    refused = subprocess.run(
        [*penstock, "run", str(script), "--lock", "nobody"], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "nobody" in refused.stderr


def test_requirements_that_are_not_the_locks_are_left_to_the_jobs_pip(run, logged):
    first = run({"main.py": "", "requirements.txt": "# nothing\n"})
    again = run({"main.py": WHERE, "requirements.txt": "iniconfig==2.1.0\n"}, env={VARIABLE: first})
    lines = logged(again)
    assert any("not the one that the lock was made with" in line for line in lines)
    assert has(lines) == ("2.1.0", False)


def test_a_project_in_the_source_folder_is_installed_as_its_lock_says(run, tmp_path, logged, told):
    project = "[project]\nname = 'mine'\nversion = '1'\nrequires-python = '>=3.9'\ndependencies = ['iniconfig<2.1']\n"
    (tmp_path / "src").mkdir()
    (tmp_path / "src/pyproject.toml").write_text(project)
    subprocess.run([find_uv(), "lock", "--quiet"], cwd=tmp_path / "src", check=True, timeout=120)
    locked = run({"pyproject.toml": project.replace("<2.1", ">=2.1")})
    assert has(logged(locked)) == ("2.0.0", True)
    (tmp_path / "src/uv.lock").unlink()
    first, second = run({}), run({})
    version, beforehand = has(logged(first))
    assert (version != "2.0.0", beforehand) == (True, True)
    assert len({told(one)["hosts"][0]["environment"]["digest"] for one in (first, second)}) == 1
    assert (
        sum(any("Installing pyproject.toml.txt" in line for line in logged(one)) for one in (first, second))
        <= 1
    )


def test_the_requirements_file_may_have_another_name(run, logged):
    files = {
        "requirements.txt": "nosuchpackage\n",
        "reqs/dev.txt": "-r base.txt\n",
        "reqs/base.txt": "iniconfig==2.0.0\n",
    }
    assert has(logged(run(files, requirements="reqs/dev.txt"))) == ("2.0.0", True)


def test_an_environment_is_in_use_while_a_job_runs_in_it(processor, script, told, session):
    job = processor()
    code = script("import time\nprint('here', flush=True)\ntime.sleep(600)\n")
    job.run(code=code, wait=False)
    name = job.latest_job.job_name
    while "running" not in (record := told(name))["phases"]:
        assert record["ended_at"] is None
    digest = record["hosts"][0]["environment"]["digest"]
    used = {one.environment.digest: one.in_use for one in listing(ENVIRONMENTS)}
    assert used[digest]
    job.latest_job.stop()
    job.latest_job.wait(logs=False)


# -- The start script of SageMaker's own SDK: its steps, in our words --------------------------------------------

START = """\
#!/bin/bash
cd /opt/ml/processing/input/code/
tar -xzf sourcedir.tar.gz
set -e
if [[ -f 'requirements.txt' ]]; then
    if hash aws 2>/dev/null; then
        echo 'CodeArtifact repository not specified. Skipping login.'
    else
        echo 'AWS CLI is not installed. Skipping CodeArtifact login.'
    fi
    pip uninstall --yes typing
    python -m pip install -r requirements.txt
fi
python main.py "$@"
"""


@pytest.fixture
def start(session, s3):
    """A job as SageMaker's SDK asks for it, with this archive; returns its description and name."""

    def start(archive, *arguments):
        made = Processor(
            image_uri="python:3.11",
            entrypoint=["/bin/bash", "/opt/ml/processing/input/entrypoint/runproc.sh"],
            instance_count=1,
            instance_type="ml.m5.large",
            sagemaker_session=session,
            base_job_name="runproc",
        )
        bucket = session.default_bucket()
        place = f"s3://{bucket}/{os.urandom(6).hex()}/source"
        S3Uploader.upload_bytes(archive, f"{place}/sourcedir.tar.gz", sagemaker_session=session)
        S3Uploader.upload_string_as_file_body(START, f"{place}/runproc.sh", sagemaker_session=session)
        failure = None
        try:
            made.run(
                inputs=[
                    ProcessingInput(f"{place}/sourcedir.tar.gz", "/opt/ml/processing/input/code/", "code"),
                    ProcessingInput(
                        f"{place}/runproc.sh", "/opt/ml/processing/input/entrypoint", "entrypoint"
                    ),
                ],
                arguments=list(arguments) or None,
                logs=False,
            )
        except UnexpectedStatusException as error:
            failure = error
        told = made.latest_job.describe()
        assert (failure is None) == (told["ProcessingJobStatus"] == "Completed")
        return told, made.latest_job.job_name

    return start


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            data = text if isinstance(text, bytes) else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_the_sdks_script_finds_its_requirements_met_and_its_exit_code_is_the_jobs(start, logged):
    main = WHERE + "import os, sys; print('in', os.getcwd(), sys.argv[1:]); sys.exit(7)\n"
    told, name = start(archive({"main.py": main, "requirements.txt": "iniconfig==2.0.0\n"}), "a b", "--c")
    lines = logged(name)
    assert told["FailureReason"] == "AlgorithmError: , exit code: 7"
    assert has(lines) == ("2.0.0", True)
    assert "in /opt/ml/processing/input/code ['a b', '--c']" in lines
    assert any(line.startswith("Requirement already satisfied: iniconfig==2.0.0") for line in lines)
    assert not any("Collecting" in line or "Installing collected" in line for line in lines)
    assert any("Skipping CodeArtifact login" in line or "Skipping login" in line for line in lines)
    assert any("Skipping typing as it is not installed" in line for line in lines)


def test_without_requirements_pip_is_not_called(start, logged):
    told, name = start(archive({"main.py": "print('ran')\n"}))
    assert told["ProcessingJobStatus"] == "Completed"
    lines = logged(name)
    assert "ran" in lines
    assert not any("pip" in line or "CodeArtifact" in line for line in lines)


def test_what_pip_refuses_ends_the_script_with_pips_code(start, logged):
    files = {"main.py": "print('ran')\n", "requirements.txt": "./not-there\n"}
    told, name = start(archive(files))
    assert told["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert "ran" not in logged(name)


def test_an_archive_that_is_none_fails_where_the_script_is_missing(start, logged):
    """The untar comes before the script minds failures, so it goes on to a program that is not there."""
    told, name = start(b"this is no archive")
    assert told["FailureReason"] == "AlgorithmError: , exit code: 2"
    lines = logged(name)
    assert any("tar: " in line for line in lines)
    assert any("main.py" in line and "No such file" in line for line in lines)


def test_of_an_archive_that_is_cut_off_the_script_runs_what_came_before(start, logged):
    filler = os.urandom(1 << 17)
    whole = archive({"main.py": WHERE, "requirements.txt": "iniconfig==2.0.0\n", "data.bin": filler})
    told, name = start(whole[: len(whole) // 2])
    assert told["ProcessingJobStatus"] == "Completed"
    lines = logged(name)
    assert any("tar: " in line for line in lines)
    assert has(lines) == ("2.0.0", True)
