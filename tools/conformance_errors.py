"""Refused requests, and what the application answers to them: sent to it as a client sends them, signed and all."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from penstock.api import logs
from penstock.api.admission import Admission
from penstock.api.app import Application
from penstock.api.body import LARGEST_BODY
from penstock.api.callers import Callers, Lender
from penstock.api.context import Context
from penstock.job.life import Started, Succeeded, advance
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.wire import signature

REGION, ACCOUNT = "us-east-1", "000000000000"
NOW = 1_700_000_000_000
KEY = signature.Key("AKIAEXAMPLE", "secret", None)
#: A text is cut here.
_SHOWN = 220

_CLUSTER = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
_JOB = {
    "ProcessingJobName": "new",
    "ProcessingResources": {"ClusterConfig": _CLUSTER},
    "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["true"]},
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/any",
}
_ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job"


@dataclass(frozen=True)
class Refused:
    """A request that is refused, and what AWS is known to answer.

    Attributes:
        what: The request, in words.
        target: Service and operation, with a dot between.
        body: Members, or bytes as they are.
        aws: What the answer is held against.
        key: What it is signed with; None: not at all.
        late: Milliseconds between signing and arriving.
    """

    what: str
    target: str
    body: Any
    aws: str
    key: signature.Key | None = KEY
    late: int = 0


def _create(what: str, aws: str, **changes: Any) -> Refused:
    return Refused(what, "sagemaker.CreateProcessingJob", {**_JOB, **changes}, aws)


def _of_job(operation: str, what: str, name: str, aws: str) -> Refused:
    return Refused(f"{operation} of {what}", f"sagemaker.{operation}", {"ProcessingJobName": name}, aws)


def _input(name: str = "in", path: str = "/opt/ml/processing/in") -> dict[str, Any]:
    s3 = {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix", "S3InputMode": "File", "LocalPath": path}
    return {"InputName": name, "S3Input": s3}


_FORMAT = "code and format as seen"
_OWN = "code as seen; the text is ours"
_MODEL = "code and status as documented"
_JSON = "not documented; as of AWS's other JSON services"
_SIGNED = "code and text as of AWS's other services; the status is not documented"

REFUSED = (
    _of_job("DescribeProcessingJob", "a job that is not there", "no", "code and text as seen"),
    _of_job("StopProcessingJob", "a job that is not there", "no", "as of Describe"),
    _of_job("DeleteProcessingJob", "a job that is not there", "no", "as of Describe"),
    _of_job("StopProcessingJob", "an ended job", "ended", _OWN),
    _of_job("DeleteProcessingJob", "a running job", "running", _MODEL + "; the text is ours"),
    _create(
        "Create with a name that is taken",
        _MODEL + "; text as of training jobs, where it was seen",
        ProcessingJobName="running",
    ),
    _create("Create with a wrong name", _FORMAT, ProcessingJobName="a_b"),
    _create("Create with two violations", _FORMAT, ProcessingJobName="a_b", ProcessingInputs=[_input()] * 11),
    _create(
        "Create with an unknown instance type",
        _FORMAT,
        ProcessingResources={"ClusterConfig": {**_CLUSTER, "InstanceType": "local"}},
    ),
    Refused("Create without members", "sagemaker.CreateProcessingJob", {}, _FORMAT),
    _create(
        "Create with an image that can't be had",
        "code and first sentence as seen",
        AppSpecification={"ImageUri": "nginx", "ContainerEntrypoint": ["true"]},
    ),
    _create(
        "Create with two inputs in one folder",
        "code as seen, there without a text",
        ProcessingInputs=[_input(), _input("other")],
    ),
    _create("Create with a folder outside", _OWN, ProcessingInputs=[_input(path="/data")]),
    Refused(
        "ListProcessingJobs with a wrong NextToken", "sagemaker.ListProcessingJobs", {"NextToken": "x"}, _OWN
    ),
    Refused(
        "ListProcessingJobs with MaxResults 101", "sagemaker.ListProcessingJobs", {"MaxResults": 101}, _FORMAT
    ),
    Refused(
        "ListTags of a job that is not there",
        "sagemaker.ListTags",
        {"ResourceArn": f"{_ARN}/no"},
        "not documented",
    ),
    Refused("Members of a wrong type", "sagemaker.ListProcessingJobs", {"MaxResults": "ten"}, _JSON),
    Refused("A body that is no JSON", "sagemaker.ListProcessingJobs", b"nope", _JSON),
    Refused(
        "A body that is too large",
        "sagemaker.ListProcessingJobs",
        b" " * (LARGEST_BODY + 1),
        "not documented",
    ),
    Refused("An operation that is not there", "sagemaker.CreateTrainingJob", {}, _JSON),
    Refused("No signature", "sagemaker.ListProcessingJobs", {}, _SIGNED, key=None),
    Refused(
        "An unknown access key",
        "sagemaker.ListProcessingJobs",
        {},
        _SIGNED,
        key=signature.Key("AKIAOTHER", "secret", None),
    ),
    Refused(
        "A wrong secret key",
        "sagemaker.ListProcessingJobs",
        {},
        _SIGNED,
        key=signature.Key(KEY.access_key_id, "wrong", None),
    ),
    Refused("A clock that is an hour late", "sagemaker.ListProcessingJobs", {}, _SIGNED, late=3_600_000),
    Refused(
        "GetLogEvents of a group that is not there",
        "logs.GetLogEvents",
        {"logGroupName": "/x", "logStreamName": "y"},
        "code and text as documented",
    ),
    Refused(
        "GetLogEvents of a stream that is not there",
        "logs.GetLogEvents",
        {"logGroupName": logs.GROUP, "logStreamName": "y"},
        "code and text as documented",
    ),
    Refused(
        "DescribeLogStreams with limit 51",
        "logs.DescribeLogStreams",
        {"logGroupName": logs.GROUP, "limit": 51},
        "code as documented",
    ),
    Refused(
        "STS with a wrong secret key",
        "sts.GetCallerIdentity",
        b"Action=GetCallerIdentity&Version=2011-06-15",
        _SIGNED,
        key=signature.Key(KEY.access_key_id, "wrong", None),
    ),
    Refused(
        "STS, another operation",
        "sts.AssumeRole",
        b"Action=AssumeRole&Version=2011-06-15",
        "code as documented",
    ),
)


def answers() -> Iterator[tuple[str, str, str, str, str]]:
    """For each request: what it is, HTTP status, code, text, what it is held against."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        store = open_sqlite(Path(folder) / "penstock.db")
        at = [NOW]
        context = Context(
            store,
            FileLogbook(Path(folder) / "logs"),
            REGION,
            ACCOUNT,
            lambda: at[0],
            lambda **_: None,
            Admission(store.add_jobs),
        )
        callers = Callers(KEY, Lender(KEY.secret), store.job_of_uid, context.clock)
        application = Application(context, callers, _no_store, dict, lambda: None)  # type: ignore[arg-type]
        try:
            for name in ("running", "ended"):
                made = Refused("", "sagemaker.CreateProcessingJob", {**_JOB, "ProcessingJobName": name}, "")
                status, body = runner.run(_send(application, made))
                assert status == 200, body
            job = advance(store.job("ended"), Started(), NOW)
            store.save_job(job)
            store.save_job(advance(job, Succeeded(), NOW))
            for one in REFUSED:
                at[0] = NOW + one.late
                status, body = runner.run(_send(application, one))
                code, text = _error(body)
                short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
                yield one.what, str(status), f"`{code}`", f"`{short}`", one.aws
        finally:
            store.close()


async def _no_store(*_: Any) -> None:
    raise AssertionError("No request here is for S3.")


async def _send(application: Application, one: Refused) -> tuple[int, bytes]:
    service, _, operation = one.target.partition(".")
    body = one.body if isinstance(one.body, bytes) else json.dumps(one.body).encode()
    headers = [(b"host", b"localhost")]
    if service in {"sts", "iam"}:
        headers.append((b"content-type", b"application/x-www-form-urlencoded"))
    else:
        prefix = {"sagemaker": "SageMaker", "logs": "Logs_20140328"}[service]
        headers.append((b"content-type", b"application/x-amz-json-1.1"))
        headers.append((b"x-amz-target", f"{prefix}.{operation}".encode()))
    if one.key is not None:
        payload = hashlib.sha256(body).hexdigest()
        headers = signature.sign(
            "POST", "http://localhost/", headers, payload, one.key, region=REGION, service=service, now_ms=NOW
        )
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [*headers, (b"content-length", str(len(body)).encode())],
        "http_version": "1.1",
        "scheme": "http",
    }
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def _error(body: bytes) -> tuple[str, str]:
    if body.startswith(b"{"):
        told = json.loads(body)
        return told["__type"].rpartition("#")[2], told.get("message") or told.get("Message") or ""
    found = {element.tag.rpartition("}")[2]: element.text or "" for element in ET.fromstring(body).iter()}
    return found["Code"], found["Message"]
