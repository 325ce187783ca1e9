"""Runs the combinations with one SDK, and prints as JSON what it asked for.

    python record_requests.py sagemaker|penstock

Nothing leaves the process: botocore's requests are answered here, and no other connection can be made. The
current folder is the one that the combinations' paths mean.
"""

from __future__ import annotations

import importlib
import io
import json
import logging
import re
import socket
import sys
import tarfile
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import botocore.httpsession
from botocore.awsrequest import AWSResponse
from combinations import COMBINATIONS, Call, Here, Made, Named

ACCOUNT = "111122223333"

#: Headers that say how an object is stored; the others belong to the connection, or to boto3's version.
_STORED = re.compile(
    r"x-amz-(server-side-.*|expected-.*|acl|tagging|storage-class|meta-.*)|content-(type|encoding)"
)

_IDENTITY = f"""\
<GetCallerIdentityResponse><GetCallerIdentityResult><UserId>u</UserId><Account>{ACCOUNT}</Account>
<Arn>arn:aws:sts::{ACCOUNT}:assumed-role/runner/session</Arn>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""
_ROLE = f"""\
<GetRoleResponse><GetRoleResult><Role><Path>/team/</Path><RoleName>runner</RoleName><RoleId>r</RoleId>
<Arn>arn:aws:iam::{ACCOUNT}:role/team/runner</Arn><CreateDate>2020-01-01T00:00:00Z</CreateDate>
</Role></GetRoleResult></GetRoleResponse>"""

_BUCKETS = "".join(
    f"<Bucket><Name>{name}</Name><CreationDate>2020-01-01T00:00:00Z</CreationDate></Bucket>"
    for name in (f"sagemaker-us-east-1-{ACCOUNT}", f"sagemaker-eu-central-1-{ACCOUNT}", "mine")
)


class Record:
    """What was asked for since the last `clear`."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.uploads: dict[str, Any] = {}

    def clear(self) -> None:
        self.requests, self.uploads = [], {}


RECORD = Record()


def main(sdk: str) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    botocore.httpsession.URLLib3Session.send = _answer
    socket.socket.connect = _refuse
    socket.getaddrinfo = _refuse
    {"sagemaker": _stub_local_mode, "penstock": _stub_local_server}[sdk]()
    json.dump({name: _record(sdk, call) for name, call in COMBINATIONS.items()}, sys.stdout)


def _record(sdk: str, call: Call) -> dict[str, Any]:
    RECORD.clear()
    found: dict[str, Any] = {}
    try:
        processor = _resolve(sdk, call.processor)
        for _ in range(call.times):
            answer = getattr(processor, call.method)(**_resolve(sdk, call.arguments))
        if answer is not None:
            found["answer"] = _plain(answer)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other SDK must raise it too
        return {"error": f"{type(error).__name__}: {_text(error)}", "uploaded": sorted(RECORD.uploads)}
    found["requests"], found["uploads"] = RECORD.requests, RECORD.uploads
    found["processor"] = _chosen(processor, "image_uri", "base_job_name", "entrypoint", "arguments")
    found["job"] = _chosen(processor.latest_job, "job_name", "output_kms_key", "inputs", "outputs")
    return json.loads(_same_each_time(json.dumps(found)))


def _chosen(value: Any, *names: str) -> dict[str, Any]:
    return {name: _plain(getattr(value, name, None)) for name in names}


def _same_each_time(text: str) -> str:
    """`text` without the time (in names), and without the folders that this run has made."""
    text = re.sub(r"\d{4}(-\d\d){5}-\d{3}", "<time>", text).replace(str(Path.cwd()), "<here>")
    return re.sub(r"/[^' ]*/tmp\w+", "<folder>", text)


def _resolve(sdk: str, value: Any) -> Any:
    """`value` with every `Made`, `Named` and `Here` in it replaced by what it stands for."""
    if isinstance(value, Made):
        arguments = _resolve(sdk, dict(value.kwargs))
        return _find(sdk, value.path)(*_resolve(sdk, list(value.args)), **arguments)
    if isinstance(value, Named):
        return _find(sdk, value.path)
    if isinstance(value, Here):
        return value.text.format(here=Path.cwd())
    if isinstance(value, dict):
        return {name: _resolve(sdk, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_resolve(sdk, item) for item in value]
    return value


def _find(sdk: str, path: str) -> Any:
    if path == "boto3:Session":  # of neither SDK
        return _boto_session
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(f"{sdk}.{module}"), name)


class _BotoSession(boto3.Session):
    """Makes each client once: reading botocore's models would take most of the time here."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.client = lru_cache(self.client)
        self.resource = lru_cache(self.resource)


@lru_cache
def _boto_session(region_name: str) -> boto3.Session:
    return _BotoSession(region_name=region_name)


def _plain(value: Any) -> Any:
    """`value` as JSON can say it: an object by its attributes."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "__dict__"):
        # Ours know the job that they are of, and can so be read.
        return {name: _plain(item) for name, item in vars(value).items() if name != "_job"}
    return value


def _text(error: Exception) -> str:
    """The error's text, with white space made even."""
    return _same_each_time(re.sub(r"\s+", " ", str(error)).strip())


# The network


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise OSError("There is no network here.")


class _Body(io.BytesIO):
    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        yield self.read()


def _answer(session: Any, request: Any) -> AWSResponse:
    del session
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
    }
    body = request.body.read() if hasattr(request.body, "read") else request.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    return AWSResponse(request.url, 200, {"ETag": '"x"'}, _Body(_respond(request, headers, body)))


def _respond(request: Any, headers: dict[str, str], body: bytes) -> bytes:
    if target := headers.get("x-amz-target"):
        operation = target.rpartition(".")[2]
        RECORD.requests.append({operation: json.loads(body)})
        return f'{{"ProcessingJobArn": "arn:aws:sagemaker:us-east-1:{ACCOUNT}:processing-job/job"}}'.encode()
    if body.startswith(b"Action=GetCallerIdentity"):
        return _IDENTITY.encode()
    if body.startswith(b"Action=GetRole"):
        return _ROLE.encode()
    if request.method == "PUT":
        stored = {name: value for name, value in sorted(headers.items()) if _STORED.fullmatch(name)}
        RECORD.uploads[_uri(request.url)] = {**stored, "body": _content(request.url, body)}
        return b""
    if request.method == "HEAD":  # the bucket is there
        return b""
    if urlsplit(request.url).path == "/":
        return f"<ListAllMyBucketsResult><Buckets>{_BUCKETS}</Buckets></ListAllMyBucketsResult>".encode()
    raise OSError(f"{request.method} {request.url} is not answered here.")


def _uri(url: str) -> str:
    parts = urlsplit(url)
    bucket = re.fullmatch(r"(.+)\.s3[.-].*", parts.netloc)
    path = unquote(parts.path).removeprefix("/")
    return f"s3://{bucket[1]}/{path}" if bucket else f"s3://{path}"


def _content(url: str, body: bytes) -> Any:
    if url.endswith(".tar.gz"):
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            files = {
                member.name.removeprefix("./"): tar.extractfile(member) for member in tar if member.isfile()
            }
            return {name: file.read().decode() for name, file in sorted(files.items()) if file}
    if url.endswith("runproc.sh"):  # of the start script, what it starts
        return body.decode().rstrip().rpartition("\n")[2].removeprefix("exec ")
    return body.decode()


# Local mode


def _stub_local_mode() -> None:
    """The official SDK's local mode starts Docker; what it is asked for is all that matters here."""
    import sagemaker.utils
    from sagemaker.local import local_session

    # It reads botocore's list of endpoints each time, which would take most of the time here.
    sagemaker.utils._botocore_resolver = lru_cache(sagemaker.utils._botocore_resolver)

    def create(client: Any, **request: Any) -> None:
        RECORD.requests.append({"CreateProcessingJob": request})

    local_session.LocalSagemakerClient.create_processing_job = create


def _stub_local_server() -> None:
    """Penstock without a session of the user's talks to the local server: one with an account like AWS's."""
    from penstock.client import local_server

    address = local_server.Address(
        endpoint="http://127.0.0.1:9",
        s3_endpoint="http://127.0.0.1:8",
        region="us-east-1",
        s3_region="us-east-1",
        account=ACCOUNT,
        bucket=f"sagemaker-us-east-1-{ACCOUNT}",
        access_key_id="key",
        secret_access_key="secret",
    )
    local_server.ensure = lambda start=True: address


if __name__ == "__main__":
    main(sys.argv[1])
