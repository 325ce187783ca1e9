"""Runs jobs of a server whose home is a small disk with a floor; prints what became of them.

Run as `python disk_floor.py HOME WORK`, HOME a disk of 400 MiB, with PENSTOCK_DISK_FLOOR=100M. The last line is JSON.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from machine_home import stop_server

MIB = 1 << 20
OUT = "/opt/ml/processing/out"


def free(home):
    found = os.statvfs(home)
    return found.f_bavail * found.f_frsize


def leave(home, size):
    """Take all of the disk but `size` bytes."""
    ballast = home / "ballast"
    ballast.unlink(missing_ok=True)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(home) - size)


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.1)
    return found


def main(home, work):
    from botocore.exceptions import ClientError

    from penstock.client import local_server
    from penstock.data import pruning
    from penstock.session import Session

    local_server.ensure()
    session, seen = Session(), {}
    client = session.sagemaker_client
    script = work / "script.py"
    script.write_text("print('well')")
    code = session.upload_data(str(script), key_prefix="code")

    def create(name, *uris, kind="ml.m5.large", program=("python3", "/opt/ml/processing/in0/script.py")):
        s3 = {"S3DataType": "S3Prefix", "S3InputMode": "File"}
        inputs = [
            {"InputName": f"in{n}", "S3Input": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/in{n}", **s3}}
            for n, uri in enumerate((code, *uris))
        ]
        client.create_processing_job(
            ProcessingJobName=name,
            ProcessingInputs=inputs,
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": kind, "VolumeSizeInGB": 1}
            },
            AppSpecification={"ImageUri": "python:3.11", "ContainerEntrypoint": list(program)},
            RoleArn="arn:aws:iam::000000000000:role/r",
        )

    def queue():
        """The phases of the jobs that run, and why the others wait."""
        command = [sys.executable, "-m", "penstock.cli.main", "queue", "--json"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        running = {one["name"]: one["phase"] for one in told["running"]}
        return running, {one["name"]: one["reason"] for one in told["waiting"]}

    def job(name, *uris):
        create(name, *uris)
        return session.wait_for_processing_job(name)["ProcessingJobStatus"]

    try:
        uris = []
        for number in range(2):
            data = work / f"data{number}"
            data.write_bytes(os.urandom(25 * MIB))
            uris.append(session.upload_data(str(data), key_prefix=f"data{number}"))
        with contextlib.redirect_stdout(sys.stderr):
            seen["with room"] = job("first", *uris)
            seen["kept before"] = len(pruning.listing(home / "cache"))
            leave(home, 90 * MIB)
            seen["made room"] = until(lambda: free(home) >= 100 * MIB)
            until(
                lambda: not pruning.listing(home / "cache")
            )  # both: one of them makes no quarter more than 100
            seen["after room was made"] = job("second")
            (home / "ballast").unlink()
            until(lambda: free(home) > 150 * MIB)
            create("all", kind="ml.c5.18xlarge", program=["sleep", "600"])
            until(lambda: queue()[0].get("all") == "running")
            create("waits")
            leave(home, 60 * MIB)
            client.stop_processing_job(ProcessingJobName="all")
            until(lambda: not queue()[0])
            seen["waits"] = queue()[1]
            try:
                seen["refused"] = job("third")
            except ClientError as error:
                seen["refused"] = str(error)
            seen["of the refused"] = len(
                client.list_processing_jobs(NameContains="third")["ProcessingJobSummaries"]
            )
            told = client.describe_processing_job(ProcessingJobName="first")
            seen["while full"] = told["ProcessingJobStatus"]
            (home / "ballast").unlink()
            seen["waited"] = session.wait_for_processing_job("waits")["ProcessingJobStatus"]
            seen["with room again"] = job("fourth")
            logs = until(lambda: [p for p in home.glob("*.log") if "has room again" in p.read_text()], 20)
            seen["log"] = logs[0].read_text()
    finally:
        stop_server(home)
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
