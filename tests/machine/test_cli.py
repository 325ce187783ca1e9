"""The command line for jobs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.machine

PENSTOCK = str(Path(sys.executable).with_name("penstock"))


@pytest.fixture
def penstock(address):
    def call(*args, code=0, cwd=None):
        done = subprocess.run([PENSTOCK, *args], capture_output=True, text=True, cwd=cwd, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return call


def test_run_with_local_data_in_and_out(penstock, script, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_text("some text")
    path = script(
        """
        import os, pathlib, sys
        text = pathlib.Path("/opt/ml/processing/input/a.txt").read_text()
        pathlib.Path("/opt/ml/processing/output/up/a.txt").write_text(text.upper() + sys.argv[1] + os.environ["TAIL"])
        print("shouting")
        """
    )
    out = tmp_path / "out"
    done = penstock(
        "run", "--input", str(data), "--output", f"up={out}", "--env", "TAIL=?", path, "!"
    )  # fmt: skip
    assert (out / "a.txt").read_text() == "SOME TEXT!?"
    assert "shouting" in done.stdout
    assert "Completed" in done.stderr


def test_run_jobs_describe_logs_stop_as_json(penstock, script):
    path = script("print('hello')")
    told = json.loads(
        penstock("run", "--json", "--name", "cli-json", "--framework", "python==3.11", path).stdout
    )
    assert (told["name"], told["status"]) == ("cli-json", "Completed")
    listed = json.loads(penstock("jobs", "--json", "--contains", "cli-json").stdout)
    assert [j["ProcessingJobStatus"] for j in listed] == ["Completed"]
    assert json.loads(penstock("describe", "cli-json", "--json").stdout)["phases"]["running"]
    assert "hello" in [e["message"] for e in json.loads(penstock("logs", "cli-json", "--json").stdout)]
    assert "hello" in penstock("logs", "cli-json").stdout
    assert "cli-json" in penstock("jobs").stdout
    shown = penstock("describe", "cli-json").stdout
    assert "running" in shown
    assert "Completed" in shown


def test_stop(penstock, script):
    penstock("run", "--no-wait", "--name", "cli-stop", script("import time; time.sleep(600)"))
    assert json.loads(penstock("stop", "cli-stop", "--json").stdout)["status"] in {"Stopping", "Stopped"}
    followed = penstock("logs", "-f", "cli-stop")
    assert json.loads(penstock("describe", "cli-stop", "--json").stdout)["status"] == "Stopped", followed


def test_a_failed_job_is_told_with_its_reason_and_exit_code(penstock, script):
    done = penstock("run", "--name", "cli-fail", script("raise SystemExit(4)"), code=1)
    assert "AlgorithmError: , exit code: 4" in done.stderr
    assert "AlgorithmError" in penstock("jobs", "--status", "Failed").stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "no-such-script.py"), "no-such-script.py does not exist"),
        (("run", "--input", "no-such-data", "{script}"), "no-such-data does not exist"),
        (("run", "--framework", "sklearn==9.9", "{script}"), "sklearn"),
        (("run", "--framework", "nothing==1", "{script}"), "nothing"),
        (("run", "--image", "nginx:1", "{script}"), "nginx:1"),
        (("run", "--env", "X", "{script}"), "NAME=VALUE"),
        (("describe", "no-such-job"), "no-such-job"),
        (("logs", "no-such-job"), "no-such-job"),
        (("stop", "no-such-job"), "no-such-job"),
        (("python", "no-such-script.py"), "no-such-script.py"),
    ],
)
def test_bad_input_is_one_clear_line(penstock, script, args, words):
    path = script("pass")
    done = penstock(*(a.format(script=path) for a in args), code=1)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_is_quick_and_loads_no_server_code():
    program = (
        "import sys; sys.argv = ['penstock', '--help']\n"
        "from penstock.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('boto3', 'botocore', 'starlette', 'uvicorn', 'sqlalchemy', 'obstore') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(penstock):
    assert penstock("--version").stdout.strip()[0].isdigit()


def test_source_dir(penstock, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import helper; print(helper.word)")
    (source / "helper.py").write_text("word = 'from the folder'")
    done = penstock("run", "--source-dir", str(source), str(source / "main.py"))
    assert "from the folder" in done.stdout


def test_a_script_for_sagemaker_runs_as_it_stands(penstock, script, tmp_path):
    work = script("print('in the job')", "work.py")
    path = script(
        f"""
        import sagemaker
        from sagemaker.processing import ScriptProcessor
        from sagemaker.sklearn.processing import SKLearnProcessor
        print(sagemaker.get_execution_role(), sagemaker.Session().default_bucket())
        processor = ScriptProcessor(image_uri="python:3.11", command=["python3"], role=sagemaker.get_execution_role(),
                                    instance_count=1, instance_type="ml.m5.xlarge")
        processor.run(code={work!r})
        """,
        "notebook.py",
    )
    done = penstock("python", path, cwd=str(tmp_path))
    assert "arn:aws:iam::000000000000:role/" in done.stdout
    assert "in the job" in done.stdout
    assert os.path.exists(path)
