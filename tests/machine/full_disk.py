"""Runs jobs of a server whose home lies on a small disk, within a mount namespace of its own; prints what became of them.

Run as `python full_disk.py PORT HOME WORK`, both folders empty, as root. A disk is a tmpfs: it is gone with the
namespace. The last line printed is JSON: name of a case -> what was seen.
"""

import contextlib
import ctypes
import json
import os
import sqlite3
import sys
import time
import traceback
from contextlib import ExitStack, closing
from pathlib import Path

from machine_home import ENVIRONMENTS, stop_server

MIB = 1 << 20
CLONE_NEWNS, MS_PRIVATE, MS_REC = 0x00020000, 1 << 18, 0x4000
OUT = "/opt/ml/processing/out"


def mount(target, size, *, kind=b"tmpfs", flags=0):
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={size}".encode() if size else None
    if libc.mount(b"none", os.fsencode(target), kind, ctypes.c_ulong(flags), options):
        raise OSError(ctypes.get_errno(), f"mount {target}")


class Disk:
    """The server's disk, and a file that takes of it what a case wants to be gone."""

    def __init__(self, home):
        self.home, self.ballast = home, home / "ballast"

    def free(self):
        found = os.statvfs(self.home)
        return found.f_bavail * found.f_frsize

    def leave(self, size):
        """Take all but `size` bytes."""
        self.release()
        with self.ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, self.free() - size))
            file.seek(0, os.SEEK_END)
            while size == 0:
                file.write(bytes(4096))

    def exhaust(self):
        """Take all of it, and what the database could still write without any: in its files, where it has been before.

        Returns when not even one page can be written down any more.
        """
        self.leave(0)
        with closing(
            sqlite3.connect(self.home / "penstock.db", timeout=60, isolation_level=None)
        ) as database:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        database.execute("CREATE TABLE IF NOT EXISTS ballast (taken BLOB)")
                        database.execute("INSERT INTO ballast VALUES (zeroblob(?))", [size])
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                        raise

    def release(self):
        self.ballast.unlink(missing_ok=True)


class Jobs:
    """Submits programs and waits for them."""

    def __init__(self, folder):
        from penstock.session import Session

        self.session = Session()
        self.client = self.session.sagemaker_client
        self.folder = folder

    def submit(self, program, inputs=(), **changes):
        from penstock.processing import ProcessingOutput, ScriptProcessor

        script = self.folder / "program.py"
        script.write_text(program)
        processor = ScriptProcessor(
            image_uri="python:3.11",
            command=["python3"],
            instance_count=1,
            instance_type="ml.m5.xlarge",
            sagemaker_session=self.session,
            **changes,
        )
        outputs = [ProcessingOutput(source=OUT, output_name="out")]
        processor.run(code=str(script), inputs=list(inputs), outputs=outputs, wait=False)
        return processor.latest_job.job_name

    def wait(self, name, seconds=250):
        deadline = time.monotonic() + seconds
        while True:
            told = self.client.describe_processing_job(ProcessingJobName=name)
            if told["ProcessingJobStatus"] not in {"InProgress", "Stopping"}:
                return {"status": told["ProcessingJobStatus"], "reason": told.get("FailureReason", "")}
            assert time.monotonic() < deadline, f"{name} does not end"
            time.sleep(0.1)

    def log(self, name):
        client = self.session.boto_session.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )
        return [event["message"] for page in pages for event in page["events"]]


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.05)


def submitted(jobs, program, seconds=120):
    """Submit when the store takes something again: it looks once a minute whether its disk has room."""
    from boto3.exceptions import S3UploadFailedError

    deadline = time.monotonic() + seconds
    while True:
        try:
            return jobs.submit(program)
        except S3UploadFailedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def left(runs, seconds=60):
    """What is there of ended runs, whose folders are removed some time after the end is told."""
    deadline = time.monotonic() + seconds
    while (found := [str(path) for path in runs.glob("*/*/*")]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def program_fills_the_disk(jobs, disk):
    program = f"open('{OUT}/kept', 'w').write('kept')\nwith open('/tmp/fill', 'wb') as file:\n"
    program += "    while True: file.write(bytes(1 << 20))\n"
    name = jobs.submit(program)
    return jobs.wait(name)


def inputs_larger_than_the_disk(jobs, disk):
    from penstock.processing import ProcessingInput

    source = jobs.folder / "data"
    source.write_bytes(os.urandom(20 * MIB))
    uri = f"s3://{jobs.session.default_bucket()}/data"
    jobs.session.boto_session.client("s3").upload_file(str(source), jobs.session.default_bucket(), "data")
    source.unlink()
    disk.leave(10 * MIB)
    return jobs.wait(jobs.submit("", [ProcessingInput(source=uri, destination="/opt/ml/processing/in")]))


def log_larger_than_the_disk(jobs, disk):
    disk.leave(100 * MIB)
    return jobs.wait(jobs.submit("line = 'x' * 1000\nfor _ in range(200_000): print(line)"))


def disk_full_while_the_program_runs(jobs, disk):
    """The journal can't be written, nor the database; the program itself does well."""
    program = "import os; os.mkfifo('/tmp/gate'); print('ready', flush=True); open('/tmp/gate').read()"
    name = jobs.submit(program)
    until(lambda: "ready" in jobs.log(name))
    (gate,) = disk.home.glob("runs/*/*/**/gate")
    run = next(one for one in gate.parents if (one / "run.json").exists())
    with ExitStack() as held:
        # What a run gives back before its end has room for the record: it is held here, and so takes it still.
        for path in run.rglob("*"):
            if path.is_file():
                held.enter_context(path.open("rb"))
        disk.exhaust()
        gate.write_text("")  # the program ends
        until(lambda: not (run / "ml").exists())  # it is about to tell its end
        time.sleep(1)  # and tries to; were that late, it would be no other
        said = {
            "meanwhile": jobs.client.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"]
        }
        disk.exhaust()  # nothing has become free: that is why
    disk.release()
    return {**jobs.wait(name), **said}


def outputs_larger_than_the_disk(jobs, disk):
    disk.leave(150 * MIB)
    return jobs.wait(jobs.submit(f"import os; open('{OUT}/big', 'wb').write(os.urandom(90 << 20))"))


def job_submitted_to_a_full_disk(jobs, disk):
    from botocore.exceptions import ClientError

    name = jobs.submit("")
    jobs.wait(name)
    request = jobs.client.describe_processing_job(ProcessingJobName=name)
    members = ("ProcessingResources", "AppSpecification", "RoleArn", "StoppingCondition")
    disk.exhaust()
    try:
        jobs.client.create_processing_job(
            ProcessingJobName="full", **{member: request[member] for member in members}
        )
    except ClientError as error:
        said = str(error)
    else:
        said = "taken"
    return {"said": said}


CASES = (
    program_fills_the_disk,
    inputs_larger_than_the_disk,
    log_larger_than_the_disk,
    disk_full_while_the_program_runs,
    outputs_larger_than_the_disk,
    job_submitted_to_a_full_disk,
)


def environment_larger_than_its_disk(folder):
    from penstock.environments import prepare
    from penstock.errors import JobFailure

    folder.mkdir()
    mount(folder, 4 * MIB)
    try:
        prepare("python:3.11", folder, strict=False, progress=lambda _: None)
    except JobFailure as failure:
        return {"reason": failure.reason, "left": [path.name for path in (folder / "building").iterdir()]}
    return {"reason": "it was built"}


def main(port, home, folder):
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("/", None, kind=None, flags=MS_PRIVATE | MS_REC)
    mount(home, 400 * MIB)
    os.environ.update(
        PENSTOCK_HOME=str(home),
        PENSTOCK_ENVIRONMENTS=str(ENVIRONMENTS),
        PENSTOCK_PORT=port,
        PENSTOCK_CACHE_BYTES="0",
    )
    from penstock.client import local_server

    local_server.ensure()
    disk, jobs, seen = Disk(home), Jobs(folder), {}
    try:
        for case in CASES:
            began = time.monotonic()
            try:
                seen[case.__name__] = case(jobs, disk)
                disk.release()
                # Whatever it was: the server lives, and the next job has room.
                seen[case.__name__]["next"] = jobs.wait(submitted(jobs, "print('well')"))["status"]
                seen[case.__name__]["runs"] = left(home / "runs")
            except Exception:  # noqa: BLE001 - told to whoever asked
                seen[case.__name__] = {"error": traceback.format_exc()}
                disk.release()
            seen[case.__name__]["seconds"] = round(time.monotonic() - began, 1)
    finally:
        stop_server(home)
    seen["environment_larger_than_its_disk"] = environment_larger_than_its_disk(folder / "environments")
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
