"""Code written for SageMaker's local mode, and what that mode can't do: docs/local-mode.md names these tests."""

import logging
import os
import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from machine_home import ENVIRONMENTS, stop_server
from patience import until

from penstock.exceptions import UnexpectedStatusException
from penstock.local import LocalSession
from penstock.processing import (
    FrameworkProcessor,
    ProcessingInput,
    ProcessingJob,
    ProcessingOutput,
    Processor,
    ScriptProcessor,
)
from penstock.sklearn import SKLearn

pytestmark = pytest.mark.machine

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
IMAGE = "python:3.11"
IN, OUT = "/opt/ml/processing/input", "/opt/ml/processing/output"


@pytest.fixture
def local(address):
    """The session as code for local mode makes it."""
    made = LocalSession()
    made.config = {"local": {"local_code": True}}
    return made


@pytest.fixture
def scripts(local):
    def make(**changes):
        usual = {"command": ["python3"], "image_uri": IMAGE, "instance_count": 1, "instance_type": "local"}
        return ScriptProcessor(**usual | {"sagemaker_session": local} | changes)

    return make


def file_output(folder, name="out"):
    return ProcessingOutput(source=f"{OUT}/{name}", destination=f"file://{folder}", output_name=name)


def lines(local, job):
    pages = (
        local.boto_session.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{job}/")
    )
    return [event["message"] for page in pages for event in page["events"]]


CODE_FOR_LOCAL_MODE = """
from pathlib import Path

import sagemaker
from sagemaker.local import LocalSession
from sagemaker.local.local_session import LocalSession as Same
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor

assert LocalSession is Same
session = LocalSession()
session.config = {"local": {"local_code": True}}
Path("data").mkdir()
Path("data/a.txt").write_text("some text")
Path("work.py").write_text('''
import pathlib
text = pathlib.Path("/opt/ml/processing/input/a.txt").read_text()
pathlib.Path("/opt/ml/processing/output/up/a.txt").write_text(text.upper())
''')
processor = ScriptProcessor(command=["python3"], image_uri="python:3.11", role="arn:aws:iam::111122223333:role/any",
                            instance_count=1, instance_type="local", sagemaker_session=session)
processor.run(
    code="work.py",
    inputs=[ProcessingInput(source=f"file://{Path.cwd()}/data", destination="/opt/ml/processing/input")],
    outputs=[ProcessingOutput(source="/opt/ml/processing/output/up", destination=f"file://{Path.cwd()}/results")],
)
print(Path("results/a.txt").read_text(), processor.latest_job.describe()["ProcessingJobStatus"])
"""


#: Brings up the loopback of a new network namespace, and becomes the command that follows.
ALONE = """
import fcntl, os, socket, sys
with socket.socket() as end:
    fcntl.ioctl(end, 0x8914, b"lo".ljust(16, b"\\0") + (1).to_bytes(2, sys.byteorder) + bytes(22))  # SIOCSIFFLAGS
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_code_for_local_mode_runs_unchanged_with_no_engine_no_account_and_no_network(tmp_path):
    """Nobody's keys, nothing set, engines that only fail, and a network of loopback alone."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("docker", "docker-compose", "podman", "nerdctl"):
        (tools / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/called\nexit 1\n")
        (tools / name).chmod(0o755)
    home = tmp_path / "home"
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notebook.py").write_text(CODE_FOR_LOCAL_MODE)
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_", "SSL_"))}
    environ = {
        **kept,
        "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(tmp_path),
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_PORT": "11650",
        "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
    }
    # The environment of the image is there from now on, as whoever has these settings makes it.
    built = [PENSTOCK, "envs", "build", IMAGE]
    subprocess.run(built, env=environ, check=True, capture_output=True, timeout=200)
    unshare = ["unshare", "--net", *(["--map-root-user"] if os.getuid() else [])]
    try:
        done = subprocess.run(
            [*unshare, sys.executable, "-c", ALONE, PENSTOCK, "python", "--own-sdk", "notebook.py"],
            cwd=tmp_path / "work", env=environ, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
    finally:
        stop_server(home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "SOME TEXT Completed"
    assert not (tmp_path / "called").exists()


def test_local_code_and_a_framework_processor_go_together(local, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "helper.py").write_text("text = 'from the folder'\n")
    (source / "main.py").write_text(
        f"import helper, pathlib\npathlib.Path('{OUT}/out/told').write_text(helper.text)\n"
    )
    job = FrameworkProcessor(
        SKLearn, "1.2-1", image_uri=IMAGE, instance_count=1, instance_type="local", sagemaker_session=local,
        base_job_name="framework",
    )  # fmt: skip
    job.run(code="main.py", source_dir=str(source), outputs=[file_output(tmp_path / "results")], logs=False)
    assert (tmp_path / "results" / "told").read_text() == "from the folder"


def test_wait_false_returns_at_once_and_several_jobs_take_their_turns(
    scripts, local, script, tmp_path, caplog
):
    code = script(
        f"""
        import pathlib, sys, time
        print("ready", flush=True)
        while not pathlib.Path("{OUT}/out/go").exists() and not pathlib.Path("/tmp/never").exists():
            time.sleep(0.02)
        """
    )
    jobs = []
    for n in range(2):
        processor = scripts()
        with caplog.at_level(logging.WARNING, "penstock"):
            processor.run(code=code, outputs=[file_output(tmp_path / f"results{n}")], wait=False, logs=False)
        jobs.append(processor.latest_job)
        assert f"`wait()` of the job {processor.latest_job.job_name} brings it to the folder" in caplog.text
    client = local.sagemaker_client
    under_way = client.list_processing_jobs(StatusEquals="InProgress", MaxResults=100)[
        "ProcessingJobSummaries"
    ]
    assert {job.job_name for job in jobs} <= {one["ProcessingJobName"] for one in under_way}
    for job in jobs:  # each has the whole machine, so the second begins when the first has ended
        until(lambda job=job: "ready" in lines(local, job.job_name))
        job.stop()
        job.wait(logs=False)
        assert job.describe()["ProcessingJobStatus"] == "Stopped"


def test_describe_stop_list_tags_logs_and_delete_are_there(scripts, local, script, capsys):
    processor = scripts(tags=[{"Key": "team", "Value": "a"}])
    processor.run(
        code=script("print('ready', flush=True); import time; time.sleep(600)"), wait=False, logs=False
    )
    job, client = processor.latest_job, local.sagemaker_client
    until(lambda: "ready" in lines(local, job.job_name))
    capsys.readouterr()
    local.logs_for_processing_job(job.job_name)  # shows what there is, and does not wait
    assert "ready" in capsys.readouterr().out
    arn = job.describe()["ProcessingJobArn"]
    assert re.fullmatch(rf"arn:aws:sagemaker:[\w-]+:\d{{12}}:processing-job/{job.job_name}", arn)
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": "b"}])
    assert {t["Key"] for t in client.list_tags(ResourceArn=arn)["Tags"]} == {"team", "more"}
    of_job = {"Name": "TrialComponentName", "Operator": "Contains", "Value": job.job_name}
    found = client.search(Resource="ExperimentTrialComponent", SearchExpression={"Filters": [of_job]})
    assert found["Results"] == []  # other tests' jobs may have theirs
    job.stop()
    job.wait(logs=False)
    assert job.describe()["ProcessingJobStatus"] == "Stopped"
    client.delete_processing_job(ProcessingJobName=job.job_name)
    with pytest.raises(ClientError, match="Could not find requested job"):
        job.describe()


def test_a_failed_job_is_on_record_in_every_process_and_keeps_its_outputs(scripts, script, tmp_path):
    processor = scripts()
    before = datetime.now(UTC)
    code = script(
        f"""
        import pathlib
        pathlib.Path("{OUT}/out/partial").write_text("kept")
        pathlib.Path("/opt/ml/output/message").write_text("the last words")
        raise SystemExit(3)
        """
    )
    with pytest.raises(UnexpectedStatusException, match="exit code: 3"):
        processor.run(code=code, outputs=[file_output(tmp_path / "results")], logs=False)
    assert (tmp_path / "results" / "partial").read_text() == "kept"
    told = processor.latest_job.describe()
    assert told["ProcessingJobStatus"] == "Failed"
    assert told["FailureReason"] == "AlgorithmError: , exit code: 3"
    assert told["ExitMessage"] == "the last words"
    assert (
        told["CreationTime"]
        <= told["ProcessingStartTime"]
        <= told["ProcessingEndTime"]
        <= told["LastModifiedTime"]
    )
    assert (told["CreationTime"] - before).total_seconds() > -1  # a time with its zone
    look = (
        "import sys; from penstock.local import LocalSession; from penstock.processing import ProcessingJob\n"
        "job = ProcessingJob.from_processing_name(LocalSession(), sys.argv[1])\n"
        "print(job.describe()['FailureReason'], '|', job.outputs[0].output_name)"
    )
    told = subprocess.run(
        [sys.executable, "-c", look, processor.latest_job.job_name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "AlgorithmError: , exit code: 3 | out\n"


def test_logs_are_shown_when_asked_for_and_not_otherwise(scripts, local, script, capsys):
    processor = scripts()
    processor.run(code=script("print('a line of the program')"), logs=False)
    assert "a line" not in capsys.readouterr().out
    local.logs_for_processing_job(processor.latest_job.job_name, wait=True)
    assert "a line of the program" in capsys.readouterr().out
    processor.run(code=script("print('a line of the program')"))
    assert "a line of the program" in capsys.readouterr().out


def test_arguments_without_an_entrypoint_are_the_program(local, capsys):
    processor = Processor(image_uri=IMAGE, instance_count=1, instance_type="local", sagemaker_session=local)
    processor.run(arguments=["python3", "-c", "import sys; print('said', sys.argv[1:])", "a b"])
    assert "said ['a b']" in capsys.readouterr().out


def test_an_instance_that_has_ended_ends_no_other_and_each_has_folders_of_its_own(scripts, script, tmp_path):
    code = script(
        f"""
        import json, os, pathlib, socket, time
        told = json.load(open("/opt/ml/config/resourceconfig.json"))
        me = told["current_host"]
        assert socket.gethostname() == me, socket.gethostname()
        assert told["hosts"] == ["algo-1", "algo-2"]
        pathlib.Path("{OUT}/out", me).write_text(repr(os.listdir("{OUT}/out")))
        if me == "algo-2":
            time.sleep(2)  # by then the other one has long ended
            pathlib.Path("{OUT}/out/late").write_text("still there")
        """
    )
    scripts(instance_count=2).run(code=code, outputs=[file_output(tmp_path / "results")], logs=False)
    found = {path.name: path.read_text() for path in (tmp_path / "results").iterdir()}
    assert found == {"algo-1": "[]", "algo-2": "[]", "late": "still there"}


def test_what_the_api_refuses_is_refused_here_too(scripts, script):
    code = script("pass")
    twice = [ProcessingOutput(source=f"{OUT}/{name}", output_name="same") for name in "ab"]
    with pytest.raises(ClientError, match="the OutputName 'same' is used twice"):
        scripts().run(code=code, outputs=twice)
    many = [ProcessingInput(source=code, destination=f"{IN}/{n}") for n in range(10)]  # and the code itself
    with pytest.raises(ClientError, match="Member must have length less than or equal to 10"):
        scripts().run(code=code, inputs=many)
    with pytest.raises(ClientError, match="less than or equal to 63"):
        scripts().run(code=code, job_name="a" * 64)


def test_a_program_can_not_change_the_data_of_its_user(scripts, script, tmp_path):
    data = tmp_path / ".config" / "data"
    data.mkdir(parents=True)
    (data / "a").write_text("mine")
    code = script(
        f"""
        import os, pathlib
        assert os.listdir("{IN}/data") == ["a"]
        pathlib.Path("{IN}/data/a").write_text("changed")
        """
    )
    for source in (f"file://{data}", str(data / "a")):
        given = ProcessingInput(source=source, destination=f"{IN}/data")
        scripts().run(code=code, inputs=[given], logs=False)
    assert (data / "a").read_text() == "mine"


def test_prefixes_mean_what_they_mean_on_aws(scripts, script, local, s3, tmp_path):
    bucket = local.default_bucket()
    for key in (
        "lm/part-a.csv",
        "lm/part-b.csv",
        "lm/same",
        "lm/same/inner",
        "lm/folder/",
        "lm/folder/inner/",
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"x")
    code = script(
        f"""
        import pathlib
        data = pathlib.Path("{IN}/data")
        found = sorted(str(path.relative_to(data)) for path in data.rglob("*"))
        pathlib.Path("{OUT}/out/found").write_text(" ".join(found))
        """
    )

    def seen(prefix):
        source = ProcessingInput(source=f"s3://{bucket}/lm/{prefix}", destination=f"{IN}/data")
        scripts().run(code=code, inputs=[source], outputs=[file_output(tmp_path / "results")], logs=False)
        return (tmp_path / "results" / "found").read_text().split()

    assert seen("part") == ["part-a.csv", "part-b.csv"]
    assert seen("same/") == ["inner"]  # the object of the same name hides nothing
    assert seen("folder/") == ["inner"]  # an empty folder, as consoles make them
    with pytest.raises(UnexpectedStatusException, match=f"s3://{bucket}/lm/nothing"):
        seen("nothing")


def test_local_gpu_needs_no_runtime_of_a_vendor(scripts, script, told):
    processor = scripts(instance_type="local_gpu")
    processor.run(code=script("print('ran')"), logs=False)
    assert processor.latest_job.describe()["ProcessingJobStatus"] == "Completed"


def test_the_command_line_knows_local_too_and_says_what_was_meant(address, script, tmp_path):
    code = script("print('ran')")

    def run(kind):
        command = [PENSTOCK, "run", code, "--instance-type", kind]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run("local")
    assert (done.returncode, done.stdout.count("ran")) == (0, 1), done.stderr
    done = run("ml.m5.xlage")
    assert done.returncode == 1
    assert "instanceType: did you mean ml.m5.xlarge or " in " ".join(done.stderr.split())


def test_a_bucket_s_root_takes_an_output_under_its_own_names(scripts, script, s3):
    s3.create_bucket(Bucket="root-of-local-mode")
    code = script(f"import pathlib; pathlib.Path('{OUT}/out/a').write_text('x')")
    out = ProcessingOutput(source=f"{OUT}/out", destination="s3://root-of-local-mode", output_name="out")
    scripts().run(code=code, outputs=[out], logs=False)
    listed = s3.list_objects_v2(Bucket="root-of-local-mode")["Contents"]
    assert [one["Key"] for one in listed] == ["a"]


def test_a_session_with_an_s3_endpoint_and_no_boto_session_works(address):
    made = LocalSession(s3_endpoint_url="http://nowhere.invalid:9000")
    assert made.list_s3_files(made.default_bucket(), "nothing/below/") == []


def test_a_job_is_found_again_by_its_arn(scripts, local, script):
    processor = scripts()
    processor.run(code=script("pass"), logs=False)
    arn = processor.latest_job.describe()["ProcessingJobArn"]
    found = ProcessingJob.from_processing_arn(local, arn)
    assert found.job_name == processor.latest_job.job_name
    assert [item.input_name for item in found.inputs] == ["code"]


def test_a_module_runs_by_penstock_python_as_a_script_does(address, tmp_path):
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        textwrap.dedent(
            """
            import sys
            import sagemaker
            from sagemaker.local import LocalSession
            print(sys.argv[1:], LocalSession().default_bucket())
            """
        )
    )
    command = [PENSTOCK, "python", "--own-sdk", "-m", "pipeline", "--help", "-m", "x", "--", "y"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{['--help', '-m', 'x', '--', 'y']} {address.bucket}\n", done.stderr
    assert subprocess.run([PENSTOCK, "python"], capture_output=True, timeout=60).returncode == 2
