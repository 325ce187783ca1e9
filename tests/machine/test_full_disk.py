"""A machine whose disk is full, in whatever a job does: what is said, that nothing hangs, and that the server lives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from failure_table import assert_told

pytestmark = pytest.mark.machine

DRIVER = Path(__file__).with_name("full_disk.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What became of each case."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")

    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
    keep |= {k: v for k, v in os.environ.items() if k == "PENSTOCK_ENVIRONMENTS"}
    command = [sys.executable, DRIVER, "14550", home, work]
    done = subprocess.run(command, env=keep, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


REASONS = {
    "the disk is full for the program": "program_fills_the_disk",
    "the disk is too small for the inputs": "inputs_larger_than_the_disk",
    "the disk is full for the log": "log_larger_than_the_disk",
    "the disk is full for the outputs": "outputs_larger_than_the_disk",
    "the disk is full for an environment": "environment_larger_than_its_disk",
}


@pytest.mark.parametrize("case", REASONS)
def test_a_full_disk_is_named_with_what_is_left_and_what_to_do(seen, case):
    assert_told(case, seen[REASONS[case]].get("reason", str(seen[REASONS[case]])))


def test_an_end_that_can_not_be_written_down_is_told_when_there_is_room(seen):
    told = seen["disk_full_while_the_program_runs"]
    assert told["meanwhile"] == "InProgress"
    assert told["status"] == "Completed", told


def test_a_job_that_can_not_be_put_on_record_is_refused(seen):
    said = seen["job_submitted_to_a_full_disk"]["said"]
    assert "InternalFailure" in said
    assert "disk that Penstock's home lies on is full" in said


def test_the_server_lives_and_nothing_is_left(seen):
    for case, told in seen.items():
        if case != "environment_larger_than_its_disk":
            assert told["next"] == "Completed", (case, told)
            assert told["runs"] == [], case
    assert seen["environment_larger_than_its_disk"]["left"] == []
