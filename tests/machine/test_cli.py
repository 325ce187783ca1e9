"""The command line for jobs."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from penstock.cli import main
from penstock.experiments import Run
from penstock.processing import Processor

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
        "run", "--input", str(data), path, "!", "--output", f"up={out}", "--env", "TAIL=?"
    )  # fmt: skip
    assert (out / "a.txt").read_text() == "SOME TEXT!?"
    assert "shouting" in done.stdout
    assert "Completed" in done.stderr


def test_run_jobs_describe_logs_stop_as_json(penstock, script):
    path = script("print('hello')")
    told = json.loads(
        penstock("run", path, "--name", "cli-json", "--framework", "python==3.11", "--json").stdout
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


def test_outputs_tells_all_that_was_stored(penstock, script, tmp_path):
    path = script(
        """
        import pathlib
        for number in range(1005):
            pathlib.Path(f"/opt/ml/processing/output/up/{number:04}").write_text(str(number))
        """
    )
    out = tmp_path / "out"
    penstock("run", path, "--name", "cli-outputs", "--output", f"up={out}")
    told = [json.loads(line) for line in penstock("outputs", "cli-outputs", "--json").stdout.splitlines()]
    held = {
        one["uri"].rpartition("/")[2]: (one["size"], one["sha256"], one["output"], one["host"])
        for one in told
    }
    assert held == {
        one.name: (one.stat().st_size, hashlib.sha256(one.read_bytes()).hexdigest(), "up", "algo-1")
        for one in out.iterdir()
    }
    assert len(held) == 1005
    shown = penstock("outputs", "cli-outputs", "--limit", "2")
    assert shown.stdout.count("s3://") == 2
    assert "first 2" in shown.stderr
    sums = json.loads(penstock("describe", "cli-outputs", "--json").stdout)["uploads"]
    assert sums == [{"name": "up", "objects": 1005, "bytes": sum(size for size, *_ in held.values())}]
    penstock("run", script("pass"), "--name", "cli-no-outputs")
    assert "stored nothing" in penstock("outputs", "cli-no-outputs").stderr


def test_a_setting_that_can_not_be_used_keeps_nobody_from_the_server_that_runs(penstock, home):
    config = home / "config.toml"
    config.write_text("[s3]\nnonsense = 1\n")
    try:
        assert "running" in penstock("status").stdout
        penstock("jobs")
        assert "nonsense" in penstock("doctor", code=1).stderr
    finally:
        config.unlink()


def test_stop(penstock, script):
    penstock("run", "--no-wait", "--name", "cli-stop", script("import time; time.sleep(600)"))
    assert json.loads(penstock("stop", "cli-stop", "--json").stdout)["status"] in {"Stopping", "Stopped"}
    followed = penstock("logs", "-f", "cli-stop", code=4)
    assert json.loads(penstock("describe", "cli-stop", "--json").stdout)["status"] == "Stopped", followed


def test_a_failed_job_is_told_with_its_reason_and_exit_code(penstock, script):
    path = script("open('/opt/ml/output/message', 'w').write('so it is'); import no_such_module")
    done = penstock("run", "--name", "cli-fail", path, code=1)
    assert done.stderr.count("AlgorithmError: , exit code: 1") == 1
    assert "exit message: so it is" in done.stderr
    assert "--source-dir with a requirements.txt" in done.stderr
    assert "penstock logs" not in done.stderr
    followed = penstock("logs", "-f", "cli-fail", code=1)
    assert followed.stderr.count("AlgorithmError: , exit code: 1") == 1
    assert "AlgorithmError" in penstock("jobs", "--status", "Failed").stdout


def test_arguments_of_the_script(penstock, script):
    path = script("import sys; print(sys.argv[1:])")
    done = penstock("run", path, "word", "--framework", "python==3.11", "--", "--flag", "value", "--json")
    assert "['word', '--flag', 'value', '--json']" in done.stdout
    refused = penstock("run", path, "--flag", "value", code=2)
    # Rich breaks lines within a box.
    assert "script arguments go after --" in " ".join(refused.stderr.replace("│", " ").split())


def test_a_stopped_job_has_an_exit_code_of_its_own(penstock, script):
    done = penstock("run", "--max-runtime", "1", script("import time; time.sleep(600)"), code=4)
    assert "Stopped" in done.stderr
    penstock("run", "--max-runtime", "0", script("pass"), code=2)


def test_aws_variables_lead_the_commands_nowhere(penstock, script, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    penstock("run", "--name", "cli-aws", script("print('hello')"))
    assert "hello" in penstock("logs", "cli-aws").stdout
    assert "cli-aws" in penstock("jobs").stdout


def test_an_error_of_botocore_is_one_line(monkeypatch, capsys):
    def fails():
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")

    monkeypatch.setattr(main, "app", fails)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == ('error: Could not connect to the endpoint URL: "http://127.0.0.1:9"\n')


def test_jobs_in_a_pipe_are_a_line_each(penstock, script):
    name = "cli-line-" + "x" * 50
    penstock("run", "--name", name, script("raise SystemExit(3)"), code=1)
    (line,) = [one for one in penstock("jobs").stdout.splitlines() if name in one]
    assert "Failed" in line
    assert line.endswith("AlgorithmError: , exit code: 3")


def test_jobs_that_are_not_there(penstock):
    none = penstock("jobs", "--contains", "no-such-name")
    assert (none.stdout, none.stderr) == ("", "No job matches.\n")


def test_experiments_and_their_runs(penstock, session, monkeypatch):
    with Run("cli-experiment", "first", sagemaker_session=session) as run:
        run.log_parameter("depth", 3)
        run.log_metric("mse", 0.25)
    config = {"ExperimentName": "cli-experiment"}
    image = {"image_uri": "python:3.11", "instance_count": 1, "instance_type": "ml.t3.medium"}
    Processor(entrypoint=["true"], sagemaker_session=session, **image).run(
        job_name="cli-experiment-job", experiment_config=config
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    listed = [line.split() for line in penstock("experiments").stdout.splitlines()]
    assert listed[0] == ["NAME", "TRIALS", "RUNS", "CHANGED"]
    assert ["cli-experiment", "2", "2"] in [line[:3] for line in listed]
    heads, first, job = penstock("experiments", "cli-experiment", "--sort", "mse").stdout.splitlines()
    assert heads.split() == ["NAME", "STATUS", "CREATED", "mse", "depth"]
    assert first.split()[:2] + first.split()[-2:] == ["first", "Completed", "0.25", "3"]
    assert job.split()[:2] == ["cli-experiment-job", "Completed"]
    told = json.loads(penstock("experiments", "cli-experiment", "--json").stdout)
    assert [one["Status"]["PrimaryStatus"] for one in told] == ["Completed", "Completed"]
    done = penstock("experiments", "cli-experiments", code=1)
    assert done.stderr == "error: There is no experiment cli-experiments. Did you mean cli-experiment?\n"


def test_a_job_of_an_experiment_which_is_made_with_the_first(penstock, script):
    path = script("print('mse: 4.5')")
    for name in ("cli-tried-1", "cli-tried-2"):
        penstock("run", path, "--experiment", "cli-tried", "--metric", "mse=mse: ([0-9.]+)", "--name", name)
    runs = [line.split() for line in penstock("experiments", "cli-tried").stdout.splitlines()]
    assert [(one[0], one[1], one[-1]) for one in runs] == [
        ("NAME", "STATUS", "mse"),
        ("cli-tried-2", "Completed", "4.5"),
        ("cli-tried-1", "Completed", "4.5"),
    ]


def test_a_local_folder_without_waiting(penstock, script, tmp_path):
    path = script("open('/opt/ml/processing/output/o/x', 'w').write('there')")
    done = penstock("run", path, "--no-wait", "--name", "cli-later", "--output", f"o=file://{tmp_path}/out")
    penstock("logs", "-f", "cli-later")
    assert not (tmp_path / "out").exists()
    command = done.stderr.split("once the job has ended: ")[1].strip()
    subprocess.run(["bash", "-c", command], check=True)
    assert (tmp_path / "out" / "x").read_text() == "there"


def test_an_sdk_script_after_penstock_env_needs_no_role(address, script, tmp_path):
    work = script("open('/opt/ml/processing/output/o/x', 'w').write('there')", "work.py")
    path = script(
        f"""
        from penstock.processing import ProcessingOutput, ScriptProcessor
        processor = ScriptProcessor(image_uri="python:3.11", command=["python3"], instance_count=1,
                                    instance_type="ml.m5.xlarge")
        processor.run({work!r}, outputs=[ProcessingOutput("/opt/ml/processing/output/o", "file://{tmp_path}/out")])
        """
    )
    shell = f'eval "$({PENSTOCK} env)" && {sys.executable} {path}'
    subprocess.run(["bash", "-c", shell], check=True, timeout=120)
    assert (tmp_path / "out" / "x").read_text() == "there"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run", "no-such-script.py"), "no-such-script.py does not exist"),
        (("run", "--input", "no-such-data", "{script}"), "no-such-data does not exist"),
        (("run", "--framework", "sklearn==9.9", "{script}"), "sklearn"),
        (("run", "--framework", "nothing==1", "{script}"), "nothing"),
        (("run", "--image", "nginx:1", "{script}"), "nginx:1"),
        (("run", "--env", "X", "{script}"), "NAME=VALUE"),
        (("run", "{script}", "--output", "o=s3:/typo"), "s3://BUCKET/PREFIX"),
        (("run", "{script}", "--output", "o=S3://b/x"), "s3://BUCKET/PREFIX"),
        (("run", "{script}", "--output", "o=s3://"), "s3://BUCKET/PREFIX"),
        (("run", "{script}", "--output", "o=http://b/x"), "s3://BUCKET/PREFIX"),
        (("run", "{script}", "--output", "=out"), "NAME=DESTINATION, such as train=out"),
        (("run", "{script}", "--output", "s3://b/x"), "NAME=DESTINATION, such as train=s3://b/x"),
        (("run", "{script}", "--output", "/tmp/x"), "NAME=DESTINATION, such as train=/tmp/x"),
        (("run", "{script}", "--input", "s3://no-such-bucket/x"), "no bucket no-such-bucket"),
        (
            ("run", "{script}", "--source-dir", "no-such-folder"),
            "no-such-folder of --source-dir does not exist",
        ),
        (("run", "{script}", "--source-dir", "/usr/bin"), "lies outside of /usr/bin"),
        (("run", "{script}", "--experiment", "no_such name"), "no_such name"),
        (("jobs", "--status", "Lost"), "InProgress, Completed, Failed, Stopping, Stopped"),
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


def test_a_script_for_the_shell(penstock, tmp_path):
    script = tmp_path / "greet.sh"
    script.write_text('words=("$@"); echo "${#words[@]} for $BASH"\n')
    assert "2 for /" in penstock("run", str(script), "one", "two").stdout
    assert "1 for /" in penstock("run", "greet.sh", "one", "--source-dir", str(tmp_path)).stdout


def test_source_dir(penstock, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import helper; print(helper.word)")
    (source / "helper.py").write_text("word = 'from the folder'")
    done = penstock("run", "--source-dir", str(source), str(source / "main.py"))
    assert "from the folder" in done.stdout
    assert done.stderr.startswith("job main-2")
    inside = penstock("run", "main.py", "--source-dir", "src", cwd=str(tmp_path))
    assert "from the folder" in inside.stdout
    (tmp_path / "link").symlink_to(source)
    linked = penstock("run", str(source / "main.py"), "--source-dir", str(tmp_path / "link"))
    assert "from the folder" in linked.stdout


def test_a_script_for_sagemaker_runs_as_it_stands(penstock, script, tmp_path):
    work = script("print('in the job')", "work.py")
    path = script(
        f"""
        import boto3, sagemaker
        print("jobs", "ProcessingJobSummaries" in boto3.client("sagemaker").list_processing_jobs())
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
    assert "jobs True" in done.stdout
    assert os.path.exists(path)


def test_a_script_that_fails_is_shown_by_its_own_traceback(penstock, script):
    done = penstock("python", script("import sys\nraise ValueError('no way')"), code=1)
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert done.stderr.count('File "') == 1
    assert done.stderr.splitlines()[-1] == "ValueError: no way"
    penstock("python", script("import sys; sys.exit(9)"), code=9)
