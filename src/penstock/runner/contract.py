"""What SageMaker promises a program: the files below `/opt/ml/config` and the variables it finds set.

Source: "Build your own processing container" and "How Amazon SageMaker Processing configures your processing
container" in the AWS developer guide. What AWS leaves open is decided here, beside the place where it matters.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from penstock import machine
from penstock.errors import ClientFailure
from penstock.job.run import Run
from penstock.runtimes.base import Closed
from penstock.runtimes.guard import METADATA
from penstock.small import write_small

_MESSAGE_BYTES = 1024

#: A program may be told more than this by its environment and its own request, never less.
BASE_ENVIRONMENT: Mapping[str, str] = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    # Lines reach the log as they are printed, as in AWS's own images.
    "PYTHONUNBUFFERED": "1",
    # The walls map a single user, named root; tar as root would try to give files to others.
    "TAR_OPTIONS": "--no-same-owner",
}

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


#: Who gives a job one of these has AWS clients of their own in mind, and ours would get in their way.
_CHOSEN = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)


def write_config(run: Run, ml: Path) -> None:
    """Write `processingjobconfig.json` and `resourceconfig.json`, and the folder for the exit message."""
    for folder in ("", "/config", "/output", "/processing"):
        with suppress(FileExistsError):
            os.mkdir(f"{ml}{folder}")  # noqa: PTH102 - for speed, with each run
    # In one line each: what makes them easy on the eye is ten times slower.
    write_small(f"{ml}/config/processingjobconfig.json", json.dumps(job_config(run)).encode())
    write_small(f"{ml}/config/resourceconfig.json", json.dumps(resource_config(run)).encode())


def job_config(run: Run) -> dict[str, Any]:
    """The job's description as the program reads it: AWS's casing, unset values as null."""
    request = run.request
    application = request["AppSpecification"]
    cluster = request["ProcessingResources"]["ClusterConfig"]
    outputs = request.get("ProcessingOutputConfig")
    return {
        "ProcessingJobArn": run.job_arn,
        "ProcessingJobName": run.job_name,
        "AppSpecification": {
            "ImageUri": application["ImageUri"],
            "ContainerEntrypoint": application.get("ContainerEntrypoint"),
            "ContainerArguments": application.get("ContainerArguments"),
        },
        "Environment": request.get("Environment"),
        "ProcessingInputs": [_input(i) for i in request.get("ProcessingInputs") or []] or None,
        "ProcessingOutputConfig": None
        if outputs is None
        else {"Outputs": outputs["Outputs"], "KmsKeyId": outputs.get("KmsKeyId")},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": cluster.get("InstanceCount", 1),
                "InstanceType": cluster.get("InstanceType"),
                "VolumeSizeInGB": cluster["VolumeSizeInGB"],
                "VolumeKmsKeyId": cluster.get("VolumeKmsKeyId"),
            }
        },
        "NetworkConfig": request.get("NetworkConfig"),
        "RoleArn": request["RoleArn"],
        "StoppingCondition": request["StoppingCondition"],
    }


def resource_config(run: Run) -> dict[str, Any]:
    """The cluster as one host sees it. `hosts` is sorted as text, as AWS documents it."""
    return {
        "current_host": run.host,
        "hosts": sorted(run.hosts),
        "network_interface_name": _interface(run),
        "current_instance_type": run.request["ProcessingResources"]["ClusterConfig"].get("InstanceType"),
    }


def _interface(run: Run) -> str:
    # Without addresses of their own all hosts have some of this machine's loopback.
    return (machine.interface_of(run.addresses[run.host]) if run.addresses else None) or "lo"


def environment(run: Run, path: Sequence[str], extra: Mapping[str, str]) -> dict[str, str]:
    """All variables of the program: the base, the environment's own (`extra`), then the request's, which win."""
    return {
        **BASE_ENVIRONMENT,
        "PATH": ":".join((*path, *SYSTEM_PATH)),
        **own_variables(run, extra),
    }


def own_variables(run: Run, extra: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """What tells a program of its job and leads it to the server, `extra`, then the request's own, which win."""
    given = run.request.get("Environment") or {}
    return {
        # AWS's clients ask there for the machine's own credentials when they find no others.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": run.region,
        "AWS_DEFAULT_REGION": run.region,
        "PROCESSING_JOB_NAME": run.job_name,
        "PROCESSING_JOB_ARN": run.job_arn,
        **extra,
        **({} if isolated(run) or any(name in given for name in _CHOSEN) else run.aws),
        **given,
    }


def isolated(run: Run) -> bool:
    """Whether the program has no network."""
    return bool((run.request.get("NetworkConfig") or {}).get("EnableNetworkIsolation", False))


def closed(run: Run) -> Closed:
    """What of the machine's network the program must not reach."""
    return Closed() if isolated(run) else Closed(METADATA, (*run.s3.inner_ports, *run.closed_ports))


def addresses(run: Run) -> dict[str, str]:
    """Where the hosts of the job are.

    On one machine each has a loopback address, so that two may listen on the same port.
    """
    if run.addresses:
        return dict(run.addresses)
    digest = hashlib.sha256(run.job_uid.encode()).digest()
    network = f"127.{64 + digest[0] % 128}.{digest[1]}"
    return {host: f"{network}.{int(host.rpartition('-')[2])}" for host in run.hosts}


def exit_message(ml: Path) -> str | None:
    """The first KB of `/opt/ml/output/message`; no link on the way to it is followed.

    Raises:
        ClientFailure: It is not UTF-8 (AWS fails the job, too).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        output = os.open(ml / "output", flags | os.O_DIRECTORY)
        try:
            descriptor = os.open("message", flags, dir_fd=output)
        finally:
            os.close(output)
    except OSError:
        return None  # none was written, or a link stands in its place
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = os.read(descriptor, _MESSAGE_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        return data[:_MESSAGE_BYTES].decode("utf-8") or None
    except UnicodeDecodeError as error:
        if len(data) > _MESSAGE_BYTES and error.start > _MESSAGE_BYTES - 4:
            return data[: error.start].decode("utf-8")  # a character cut in two at the limit
        raise ClientFailure(
            "The exit message /opt/ml/output/message is not UTF-8 text. Write it with encoding='utf-8'."
        ) from error


def _input(given: Mapping[str, Any]) -> dict[str, Any]:
    """An input as AWS writes it: with the member `S3DownloadMode`, which its API does not have."""
    shown = dict(given)
    if "S3Input" in given:
        shown["S3Input"] = {
            "S3DataDistributionType": "FullyReplicated",
            "S3InputMode": "File",
            "S3CompressionType": "None",
            **given["S3Input"],
            "S3DownloadMode": "StartOfJob",
        }
    return shown
