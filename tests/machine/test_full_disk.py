"""A machine whose disk is full, in whatever a job does: what is said, that nothing hangs, and that the server lives."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

DRIVER = Path(__file__).with_name("full_disk.py")
#: The upload waits two minutes for its store, so it is tried on a disk of its own meanwhile.
GROUPS = {
    "14550": (
        "program_fills_the_disk",
        "inputs_larger_than_the_disk",
        "log_larger_than_the_disk",
        "disk_full_while_the_program_runs",
        "job_submitted_to_a_full_disk",
        "environment_larger_than_its_disk",
    ),
    "14650": ("outputs_larger_than_the_disk",),
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What became of each case."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")

    def run(port):
        home, work = (tmp_path_factory.mktemp(f"{name}-{port}") for name in ("home", "work"))
        command = [sys.executable, DRIVER, port, home, work, *GROUPS[port]]
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_"))}
        keep |= {k: v for k, v in os.environ.items() if k == "PENSTOCK_ENVIRONMENTS"}
        done = subprocess.run(command, env=keep, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        return {name: told for found in pool.map(run, GROUPS) for name, told in found.items()}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            "program_fills_the_disk",
            [
                "AlgorithmError: , exit code: 1. While it ran, the machine's own disk was full",
                "/runs/",
                "PENSTOCK_HOME",
            ],
        ),
        (
            "inputs_larger_than_the_disk",
            [
                "InternalServerError: Failed to download data. The inputs have 20.0 MiB, ",
                "MiB left",
                "PENSTOCK_HOME",
            ],
        ),
        (
            "log_larger_than_the_disk",
            ["InternalServerError: The log could not be kept on disk", "/runs/", " left", "PENSTOCK_HOME"],
        ),
        (
            "outputs_larger_than_the_disk",
            [
                "InternalServerError: Failed to upload data. Output 'out': s3://",
                "The store's disk is full",
                " left",
            ],
        ),
        (
            "environment_larger_than_its_disk",
            [
                "InternalServerError: The disk is full while the packages of an environment are installed",
                " left",
            ],
        ),
    ],
)
def test_a_full_disk_is_named_with_what_is_left_and_what_to_do(seen, case, words):
    for text in words:
        assert text in seen[case].get("reason", ""), seen[case]


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
