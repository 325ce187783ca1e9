"""Whole jobs that meet the limits of their instance type."""

import os

import pytest

from penstock import machine
from penstock.exceptions import UnexpectedStatusException
from penstock.processing import ProcessingOutput
from penstock.runtimes.groups import nests

pytestmark = pytest.mark.machine

#: The smallest type there is.
SMALL, GIB = "ml.t3.medium", 1 << 30

#: A child takes all it can get; the script outlives it, writes an output, and ends in its own way.
GREEDY_CHILD = """
import mmap, os, pathlib, sys
child = os.fork()
if not child:
    taken = []
    while True:
        taken.append(mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))
status = os.waitpid(child, 0)[1]
print("the child ended by signal", status)
pathlib.Path("/opt/ml/processing/out/kept.txt").write_text("kept")
sys.exit(3)
"""

#: They count as processes do. Where nothing counts for us, it takes a look now and then to see so many.
MANY_THREADS = """
import threading, time
threading.stack_size(32768)
done = threading.Event()
try:
    while True:
        threading.Thread(target=done.wait).start()
except RuntimeError:
    print("no more threads", flush=True)
time.sleep(1)
done.set()
"""


@pytest.fixture
def groups():
    """By them it is a process that is killed, and the program lives on."""
    if not nests():
        pytest.skip("no control group here can be used")


def log_of(session, name):
    client = session.boto_session.client("logs")
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
    )
    return "\n".join(event["message"] for page in pages for event in page["events"])


def test_a_job_that_runs_out_of_memory_says_so_and_loses_nothing(processor, script, groups, objects):
    job = processor(instance_type=SMALL)
    out = ProcessingOutput(source="/opt/ml/processing/out", output_name="out")
    with pytest.raises(UnexpectedStatusException):
        job.run(code=script(GREEDY_CHILD), outputs=[out], logs=False)
    description = job.latest_job.describe()
    reason = description["FailureReason"]
    assert reason.startswith("ClientError: Out of memory: the program used more than the ")
    assert SMALL in reason
    assert ("4 GiB" in reason) is (machine.look().memory_bytes >= 4 * GIB)
    assert reason.endswith("(Exit code: 3.)")
    uri = description["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert objects(uri) == {"kept.txt": b"kept"}


def test_a_program_that_is_refused_processes_and_goes_on_completes(processor, session, script):
    job = processor(instance_type=SMALL)
    job.run(code=script(MANY_THREADS), logs=False)
    log = log_of(session, job.latest_job.job_name)
    limit = min(4096, machine.look().processes // 2)
    assert "no more threads" in log
    assert (
        f"The program was refused further processes: it may have {limit} processes and threads at once on"
        in log
    )


def test_what_a_job_got_is_on_its_record_and_in_its_log(processor, session, script, told):
    there = machine.look()
    job = processor(instance_type="ml.m8i.96xlarge")
    job.run(
        code=script(
            """
            import os
            shm = os.statvfs("/dev/shm")
            print("sees", len(os.sched_getaffinity(0)), shm.f_blocks * shm.f_frsize)
            """
        ),
        logs=False,
    )
    name = job.latest_job.job_name
    (host,) = told(name)["hosts"]
    limits = host["limits"]
    assert limits["instance_type"] == "ml.m8i.96xlarge"
    assert limits["memory_bytes"] == min(there.memory_bytes, 1536 * GIB)
    log = log_of(session, name)
    assert f"sees {min(384, len(os.sched_getaffinity(0)))} {-(-limits['shm_bytes'] // 4096) * 4096}" in log
    if there.share < 384:
        assert "ml.m8i.96xlarge has 384 CPUs and 1536 GiB; this machine gives " in log
