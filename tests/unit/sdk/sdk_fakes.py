"""Clients that record what they are asked, for tests of the SDK: no network, no boto3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

ROLE = "arn:aws:iam::111122223333:role/r"


class FakeClient:
    """A boto3 client of one service: records calls, and answers with what `answers` has for the operation."""

    def __init__(
        self, service: str, calls: list[tuple[str, dict[str, Any]]], answers: dict[str, Any]
    ) -> None:
        self._service, self._calls, self._answers = service, calls, answers
        if service == "s3":
            self.meta = SimpleNamespace(endpoint_url="https://s3.us-east-1.amazonaws.com")

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
        self._calls.append(
            ("upload_file", {"Uri": f"s3://{bucket}/{key}", "Body": Path(path).read_bytes(), **extra})
        )


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
            "get_role": lambda **request: {
                "Role": {"Arn": f"arn:aws:iam::111122223333:role/path/{request['RoleName']}"}
            },
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


class FakeNews:
    """The local server's news of a job whose log is silent: its status is what the fake client describes."""

    def __init__(self, boto: FakeBoto, name: str) -> None:
        self._boto, self._name = boto, name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def next(self, seconds: float, log: int | None = None) -> dict[str, Any]:
        """As `record.News` has it."""
        described = self._boto.client("sagemaker").describe_processing_job(ProcessingJobName=self._name)
        return {"status": described["ProcessingJobStatus"], "ended": True, "log": 0}
