"""Jobs that wait for each other on a real server, as the command line shows them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine_home import ENVIRONMENTS, stop_server
from patience import until

pytestmark = pytest.mark.machine

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def penstock(tmp_path):
    """The command line of a home whose machine has 4 CPUs to give, and what it prints."""
    home = tmp_path / "home"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
    env = {
        **kept,
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
        "PENSTOCK_PORT": "15850",
        "PENSTOCK_STOP_GRACE": "1",
        "PENSTOCK_CPUS": "4",
        "PENSTOCK_MEMORY": "64G",
    }

    def call(*args, code=0):
        done = subprocess.run([PENSTOCK, *args], capture_output=True, text=True, env=env, timeout=180)
        assert done.returncode == code, done.stderr
        return done.stdout

    yield call
    for one in json.loads(call("queue", "--json"))["running"]:
        call("stop", one["name"])
    stop_server(home)


@pytest.fixture
def submit(penstock, tmp_path):
    def run(name, program, kind, *more):
        script = tmp_path / f"{name}.py"
        script.write_text(program)
        penstock("run", str(script), "--name", name, "--instance-type", kind, "--no-wait", *more)

    return run


def queue(penstock):
    return json.loads(penstock("queue", "--json"))


def test_jobs_wait_for_what_they_claim_and_say_so(penstock, submit):
    submit("holder", SLEEP, "ml.c5.xlarge")  # all 4 CPUs
    until(lambda: queue(penstock)["running"])
    submit("small", "print('small')", "ml.m5.large")
    submit("urgent", "print('urgent')", "ml.m5.large", "--priority", "7")
    submit("huge", "print('huge')", "ml.m8i.96xlarge", "--priority", "-1")
    told = queue(penstock)
    assert [(one["position"], one["name"], one["priority"]) for one in told["waiting"]] == [
        (1, "urgent", 7),
        (2, "small", 0),
        (3, "huge", -1),
    ]
    assert told["free"]["cpus"] == 0
    words = "needs 2 CPUs, 0 of 4 are free; held by holder (4 CPUs)"
    assert f"2nd in the queue: {words}" in penstock("describe", "small")
    assert words in next(line for line in penstock("queue").splitlines() if " small " in line)
    lines = {line.split()[0]: line for line in penstock("jobs").splitlines()}
    assert "queued, 1st" in lines["urgent"]
    assert "queued, 3rd" in lines["huge"]
    penstock("stop", "holder")
    penstock("logs", "-f", "huge")
    ends = {name: json.loads(penstock("describe", name, "--json")) for name in ("urgent", "small", "huge")}
    assert {one["status"] for one in ends.values()} == {"Completed"}
    assert ends["huge"]["phases"]["preparing"] >= max(ends["urgent"]["ended_at"], ends["small"]["ended_at"])
    log = penstock("logs", "huge")
    assert "The job asks for 384 CPUs" in log
    assert "this machine has 4 CPUs, 64 GiB of memory" in log
    assert "It runs alone on all of it." in log
    assert "runs alone" not in penstock("logs", "small")
    assert queue(penstock)["waiting"] == []
