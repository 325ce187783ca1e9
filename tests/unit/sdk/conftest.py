"""Sessions on fake clients, and a folder with scripts and data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sdk_fakes import FakeBoto, FakeNews
from wire_client import WireClient
from wired_boto import WiredBoto

from penstock.client import local_server, record
from penstock.session import Session


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
    monkeypatch.setattr(record, "News", lambda _, name: FakeNews(fake, name))
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
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[WireClient]:
    """The server's own code, over a store of its own."""
    made = WireClient(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def _wired_boto() -> WiredBoto:
    return WiredBoto()


@pytest.fixture
def wired(_wired_boto: WiredBoto, wire: WireClient) -> WiredBoto:
    """A boto3 session whose clients call that code."""
    _wired_boto.wire, _wired_boto.asked, _wired_boto.objects = wire, [], {}
    return _wired_boto


@pytest.fixture
def wired_session(wired: WiredBoto, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session with these clients; who names none has this one."""
    session = Session(boto_session=wired, default_bucket="bucket")

    def find(*given: Any, **named: Any) -> Session:
        return Session(*given, **named) if any(given) or named else session

    for place in ("penstock.session.Session", "penstock.experiments.tracker.Session"):
        monkeypatch.setattr(place, find)
    return session
