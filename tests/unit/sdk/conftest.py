"""Clients that record what they are asked, for tests of the SDK: no network, no boto3 where it can be helped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.client import local_server
from penstock.session import Session

ROLE = "arn:aws:iam::111122223333:role/r"


class FakeClient:
    """A boto3 client of one service: records calls, and answers with what `answers` has for the operation."""

    def __init__(self, service: str, calls: list[tuple[str, dict[str, Any]]], answers: dict[str, Any]) -> None:
        self._service, self._calls, self._answers = service, calls, answers

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_") or operation == "meta":
            raise AttributeError(operation)

        def call(**request: Any) -> Any:
            self._calls.append((operation, request))
            answer = self._answers.get(operation, {})
            if isinstance(answer, Exception):
                raise answer
            return answer(**request) if callable(answer) else answer

        return call

    def upload_file(self, path: str, bucket: str, key: str, **more: Any) -> None:
        extra = more.get("ExtraArgs") or {}
        self._calls.append(("upload_file", {"Uri": f"s3://{bucket}/{key}", "Body": Path(path).read_bytes(), **extra}))


class FakeBoto:
    """A boto3 session that makes fake clients."""

    def __init__(self, region: str | None = "us-east-1") -> None:
        self.region_name = region
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.made: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {
            "get_caller_identity": {
                "Account": "111122223333",
                "Arn": "arn:aws:sts::111122223333:assumed-role/me/session",
            },
            "get_role": lambda RoleName: {"Role": {"Arn": f"arn:aws:iam::111122223333:role/path/{RoleName}"}},
        }

    def client(self, service: str, **arguments: Any) -> FakeClient:
        self.made.append((service, arguments))
        return FakeClient(service, self.calls, self.answers)

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    @property
    def job(self) -> dict[str, Any]:
        """The one CreateProcessingJob request."""
        (request,) = self.requests("create_processing_job")
        return request

    @property
    def uploads(self) -> dict[str, dict[str, Any]]:
        """What was uploaded: by URI, the request's other members."""
        found = {r["Uri"]: {k: v for k, v in r.items() if k != "Uri"} for r in self.requests("upload_file")}
        for request in self.requests("put_object"):
            rest = dict(request)
            found[f"s3://{rest.pop('Bucket')}/{rest.pop('Key')}"] = rest
        return found


@pytest.fixture(autouse=True)
def _no_aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def boto() -> FakeBoto:
    """A boto3 session as a user would pass it."""
    return FakeBoto()


@pytest.fixture
def session(boto: FakeBoto) -> Session:
    """A session of a user's own, with a bucket of its own."""
    return Session(boto_session=boto, default_bucket="bucket")


@pytest.fixture
def address() -> local_server.Address:
    """The address of a local server that does not exist."""
    return local_server.Address(
        endpoint="http://127.0.0.1:9",
        s3_endpoint="http://127.0.0.1:8",
        region="eu-west-1",
        s3_region="eu-west-1",
        account="000000000000",
        bucket="sagemaker-eu-west-1-000000000000",
        access_key_id="key",
        secret_access_key="secret",
    )


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, address: local_server.Address) -> FakeBoto:
    """The local server is there, and its boto3 sessions are this fake."""
    from penstock.client import boto as module

    fake = FakeBoto(address.region)
    monkeypatch.setattr(local_server, "ensure", lambda start=True: address)
    monkeypatch.setattr(module, "local_session", lambda address, *, trimmed=False: fake)
    return fake


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with scripts and data."""
    for name, text in {
        "script.py": "print(1)\n",
        "src/eval.py": "print(2)\n",
        "src/sub/helper.py": "x = 1\n",
        "src/requirements.txt": "pandas\n",
        "dep/more.py": "y = 1\n",
        "data/a.csv": "1,2\n",
        "data/inner/b.csv": "3,4\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
