"""Session: which server it talks to, its buckets and roles, and what it moves to and from S3."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from sdk_fakes import FakeBoto

import penstock
from penstock.client import boto as boto_module
from penstock.client import local_server
from penstock.client.connection import Connection
from penstock.errors import ConfigurationError
from penstock.home import Home, ServerRecord
from penstock.local import LocalSession
from penstock.s3 import S3Downloader, S3Uploader, is_s3_url, s3_path_join
from penstock.session import Session, get_execution_role
from penstock.session_settings import SessionSettings


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "Op")


# Which server


def test_without_anything_it_is_the_local_server(local: FakeBoto) -> None:
    session = Session()
    assert session.is_local
    assert session.boto_region_name == "eu-west-1"
    assert session.account_id() == "000000000000"
    assert session.default_bucket() == "sagemaker-eu-west-1-000000000000"
    assert session.expand_role("me") == "arn:aws:iam::000000000000:role/me"
    assert get_execution_role(session) == get_execution_role() == "arn:aws:iam::000000000000:role/penstock"
    assert local.calls == []


def test_making_a_session_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ensure(start: bool = True) -> None:
        raise AssertionError("started")

    monkeypatch.setattr(local_server, "ensure", ensure)
    for session in (Session(), LocalSession(), LocalSession(boto_session=FakeBoto())):
        assert session.is_local


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER"])
def test_an_endpoint_in_the_environment_is_the_user_s_choice(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for session in (Session(), LocalSession()):
        assert not session.is_local
        assert session.boto_region_name == "us-west-2"
        assert session.sagemaker_client.meta.endpoint_url == "http://127.0.0.1:9"


def served_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerRecord:
    """A home with a server that runs, as far as its files tell."""
    monkeypatch.setenv("PENSTOCK_HOME", str(path))
    return ServerRecord(
        pid=1, endpoint="http://127.0.0.1:9", s3_endpoint="http://127.0.0.1:8", version="0", home=str(path),
        region="eu-west-1", account="000000000000", bucket="b", started_at=0, s3_region="eu-west-1", own_s3=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER"])
def test_the_endpoint_of_this_home_s_server_is_local(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    record = served_home(tmp_path, monkeypatch)
    monkeypatch.setenv(name, record.endpoint + "/")
    assert not Session().is_local
    with Home(tmp_path).hold():
        Home(tmp_path).announce(record)
        assert Session().is_local
        assert LocalSession().is_local
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:99")
        assert not Session().is_local
    monkeypatch.setenv("PENSTOCK_HOME", __file__)
    assert not Session().is_local


def test_a_home_that_is_a_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    home = Home(path)
    for use in (home.make, home.held, home.keys, home.hold().__enter__):
        with pytest.raises(ConfigurationError, match=rf"{path} can't be used: .* Set PENSTOCK_HOME"):
            use()


def test_a_connection_may_take_no_notice_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:99")
    assert Connection(environment=False).is_local
    assert not Connection().is_local


def test_what_is_given_is_used_as_it_is(boto: FakeBoto) -> None:
    session = Session(boto_session=boto)
    assert session.boto_session is boto
    assert not session.is_local
    client = boto.client("sagemaker")
    session = Session(boto_session=boto, sagemaker_client=client)
    assert session.sagemaker_client is client
    session.describe_processing_job("j")
    assert boto.requests("describe_processing_job") == [{"ProcessingJobName": "j"}]


def test_local_mode_never_leaves_for_the_session_given(local: FakeBoto, boto: FakeBoto) -> None:
    session = LocalSession(boto_session=boto)
    assert session.local_mode
    session.config = {"local": {"local_code": True}}
    assert session.config == {"local": {"local_code": True}}
    session.describe_processing_job("j")
    assert boto.calls == []
    assert local.requests("describe_processing_job") == [{"ProcessingJobName": "j"}]


def test_local_mode_at_an_endpoint_takes_session_and_s3_endpoint(
    monkeypatch: pytest.MonkeyPatch, boto: FakeBoto
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    session = LocalSession(boto_session=boto, s3_endpoint_url="http://127.0.0.1:7")
    assert session.boto_session is boto
    assert session.s3_client is session.s3_client
    assert boto.made == [("s3", {"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:7"})]


def test_settings_of_local_mode_are_kept_and_those_of_containers_said_to_do_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = LocalSession()
    assert session.config is None
    session.config = {"local": {"local_code": True}}
    assert session.config == {"local": {"local_code": True}}
    assert caplog.text == ""
    session.config = {"local": {"container_config": {"shm_size": "1g"}, "container_root": "/tmp/c"}}
    assert "local.container_config does nothing here: jobs are not started by Docker Compose" in caplog.text
    assert "local.container_root does nothing here: the folders of jobs lie in PENSTOCK_HOME" in caplog.text


def test_a_session_without_a_region_is_refused() -> None:
    session = Session(boto_session=FakeBoto(region=None))
    with pytest.raises(
        ValueError, match="Must setup local AWS configuration with a region supported by SageMaker"
    ):
        _ = session.boto_region_name


def test_our_own_calls_use_the_client_that_the_user_has_touched(local: FakeBoto) -> None:
    session = Session()
    session.describe_processing_job("j")
    assert session.sagemaker_client is session.sagemaker_client
    other = FakeBoto()
    session.sagemaker_client = other.client("sagemaker")
    session.stop_processing_job("j")
    assert other.requests("stop_processing_job") == [{"ProcessingJobName": "j"}]
    assert local.requests("stop_processing_job") == []


def test_the_local_boto_session_knows_no_aws_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: local_server.Address
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile other]\nregion = ap-south-1\nendpoint_url = http://127.0.0.1:1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:3")
    session = boto_module.LocalBotoSession(address)
    s3, sagemaker = session.client("s3"), session.client("sagemaker")
    assert (s3.meta.endpoint_url, s3.meta.region_name) == ("http://127.0.0.1:8", "eu-west-1")
    assert (sagemaker.meta.endpoint_url, sagemaker.meta.region_name) == ("http://127.0.0.1:9", "eu-west-1")
    assert session.get_credentials().access_key == "key"
    assert s3.meta.config.s3 == {"addressing_style": "path"}
    assert sagemaker.meta.config.proxies == {}
    assert session.resource("s3").meta.client.meta.endpoint_url == "http://127.0.0.1:8"
    assert session.client("sts", endpoint_url="http://127.0.0.1:4").meta.endpoint_url == "http://127.0.0.1:4"


def test_trimmed_models_have_our_operations_and_full_ones_all(address: local_server.Address) -> None:
    trimmed = boto_module.LocalBotoSession(address, trimmed=True).client("sagemaker")
    full = boto_module.LocalBotoSession(address).client("sagemaker")
    for operation in ("create_processing_job", "describe_processing_job", "stop_processing_job"):
        assert callable(getattr(trimmed, operation))
    assert not hasattr(trimmed, "create_training_job")
    assert hasattr(full, "create_training_job")
    assert trimmed.meta.endpoint_url == full.meta.endpoint_url


@pytest.mark.parametrize(
    ("changes", "endpoint", "has_kms"),
    [
        ({}, "http://127.0.0.1:8", False),
        ({"s3_buckets": {"there": "http://127.0.0.1:7"}}, "http://127.0.0.1:9", False),
        ({"own_s3": False}, "http://127.0.0.1:9", False),
        ({"own_s3": False, "s3_endpoint": None}, "http://127.0.0.1:9", True),
    ],
)
def test_objects_are_sought_at_the_embedded_store_or_else_through_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], endpoint: str, has_kms: bool
) -> None:
    record = replace(served_home(tmp_path, monkeypatch), **changes)
    found = local_server.address(Home(tmp_path), record)
    assert (found.s3_endpoint, found.has_kms) == (endpoint, has_kms)
    assert boto_module.LocalBotoSession(found).client("s3").meta.endpoint_url == endpoint


# Buckets


def test_the_default_bucket_is_made_when_missing(boto: FakeBoto) -> None:
    boto.answers["head_bucket"] = client_error("404")
    assert Session(boto_session=boto).default_bucket() == "sagemaker-us-east-1-111122223333"
    assert boto.requests("create_bucket") == [{"Bucket": "sagemaker-us-east-1-111122223333"}]
    boto.calls.clear()
    boto.region_name = "eu-central-1"
    session = Session(boto_session=boto, default_bucket="mine")
    assert session.default_bucket() == session.default_bucket() == "mine"
    assert boto.requests("head_bucket") == [{"Bucket": "mine"}]
    assert boto.requests("create_bucket") == [
        {"Bucket": "mine", "CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    ]


def test_a_bucket_made_by_somebody_else_meanwhile_is_fine(boto: FakeBoto) -> None:
    boto.answers |= {"head_bucket": client_error("404"), "create_bucket": client_error("OperationAborted")}
    assert Session(boto_session=boto, default_bucket="mine").default_bucket() == "mine"


@pytest.mark.parametrize("operation", ["head_bucket", "create_bucket"])
def test_a_bucket_that_can_t_be_used_is_an_error(boto: FakeBoto, operation: str) -> None:
    boto.answers |= {"head_bucket": client_error("404"), operation: client_error("403")}
    with pytest.raises(ClientError):
        Session(boto_session=boto, default_bucket="mine").default_bucket()


def test_the_bucket_named_after_the_account_must_be_the_account_s(boto: FakeBoto) -> None:
    session = Session(boto_session=boto)
    session.upload_string_as_file_body("x", session.default_bucket(), "k")
    session.upload_string_as_file_body("x", "another", "k")
    assert [each.get("ExpectedBucketOwner") for each in boto.requests("put_object")] == ["111122223333", None]


# Roles


def test_the_role_of_who_calls(boto: FakeBoto, caplog: pytest.LogCaptureFixture) -> None:
    session = Session(boto_session=boto)
    assert get_execution_role(session) == "arn:aws:iam::111122223333:role/path/me"
    boto.answers["get_role"] = client_error("AccessDenied")
    assert get_execution_role(session) == "arn:aws:iam::111122223333:role/me"
    assert "Couldn't call 'get_role'" in caplog.text
    name = "AmazonSageMaker-ExecutionRole-1"
    arn = f"arn:aws:sts::111122223333:assumed-role/{name}/s"
    boto.answers["get_caller_identity"] = {"Account": "111122223333", "Arn": arn}
    assert get_execution_role(session) == f"arn:aws:iam::111122223333:role/service-role/{name}"


def test_a_user_is_no_role(boto: FakeBoto) -> None:
    arn = "arn:aws:iam::111122223333:user/somebody"
    boto.answers["get_caller_identity"] = {"Account": "111122223333", "Arn": arn}
    session = Session(boto_session=boto)
    with pytest.raises(ValueError, match=f"The current AWS identity is not a role: {arn}, therefore"):
        get_execution_role(session)
    role = get_execution_role(session, use_default=True)
    assert role == "arn:aws:iam::111122223333:role/path/AmazonSageMaker-DefaultRole"
    (attached,) = boto.requests("attach_role_policy")
    assert attached["RoleName"] == "AmazonSageMaker-DefaultRole"


# To and from S3


def test_upload_data(boto: FakeBoto, tree: Path) -> None:
    session = Session(boto_session=boto, default_bucket="bucket", default_bucket_prefix="pre")
    assert session.upload_data("data/a.csv") == "s3://bucket/pre/data/a.csv"
    assert session.upload_data("data", "other", "x", extra_args={"ACL": "private"}) == "s3://other/x"
    assert boto.uploads == {
        "s3://bucket/pre/data/a.csv": {"Body": b"1,2\n"},
        "s3://other/x/a.csv": {"Body": b"1,2\n", "ACL": "private"},
        "s3://other/x/inner/b.csv": {"Body": b"3,4\n", "ACL": "private"},
    }
    with pytest.raises(
        FileNotFoundError, match=r"nowhere can't be uploaded to s3://other/x: it does not exist"
    ):
        session.upload_data("nowhere", "other", "x")


def test_a_linked_file_is_uploaded_and_a_linked_folder_left(boto: FakeBoto, tree: Path) -> None:
    (tree / "data/link.csv").symlink_to(tree / "script.py")
    (tree / "data/folder").symlink_to(tree / "src")
    (tree / "data/loop").symlink_to(tree / "data")
    Session(boto_session=boto).upload_data("data", "b", "x")
    assert set(boto.uploads) == {"s3://b/x/a.csv", "s3://b/x/inner/b.csv", "s3://b/x/link.csv"}


def test_a_failed_upload_is_not_lost_among_many(
    boto: FakeBoto, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(50):
        (tree / "data" / f"{n}.csv").write_text("x")

    def upload(self: Any, path: str, *_: Any, **__: Any) -> None:
        if path.endswith("7.csv"):
            raise OSError("disk")

    monkeypatch.setattr("sdk_fakes.FakeClient.upload_file", upload)
    with pytest.raises(OSError, match="disk"):
        Session(boto_session=boto).upload_data("data", "b", "x")


class Store:
    """list_objects_v2 (two keys a page), get_object and download_file of a bucket."""

    def __init__(self, boto: FakeBoto, objects: dict[str, bytes]) -> None:
        self.objects = objects
        boto.answers |= {
            "list_objects_v2": self.page,
            "download_file": self.download,
            "get_object": lambda **request: {"Body": io.BytesIO(objects[request["Key"]])},
        }

    def page(self, Bucket: str, Prefix: str, ContinuationToken: str = "0") -> dict[str, Any]:  # noqa: N803
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        start = int(ContinuationToken)
        page: dict[str, Any] = {
            "Contents": [{"Key": key, "Size": len(self.objects[key])} for key in keys[start : start + 2]]
        }
        return page | ({"NextContinuationToken": str(start + 2)} if len(keys) > start + 2 else {})

    def download(self, Bucket: str, Key: str, Filename: str, ExtraArgs: Any) -> None:  # noqa: N803
        Path(Filename).write_bytes(self.objects[Key])


OBJECTS = {
    "train/a.csv": b"a",
    "train/deep/b.csv": b"b",
    "train/empty/": b"",
    "train-old/c.csv": b"c",
    "model": b"m",
}


@pytest.mark.parametrize(
    ("prefix", "files"),
    [
        ("train", ["a.csv", "deep/b.csv"]),
        ("train/", ["a.csv", "deep/b.csv"]),
        ("train/a.csv", ["a.csv"]),
        ("model", ["model"]),
        ("", ["model", "train-old/c.csv", "train/a.csv", "train/deep/b.csv"]),
        ("nothing", []),
    ],
)
def test_download(boto: FakeBoto, tmp_path: Path, prefix: str, files: list[str]) -> None:
    Store(boto, OBJECTS)
    session = Session(boto_session=boto)
    found = S3Downloader.download(f"s3://b/{prefix}", str(tmp_path / "out"), sagemaker_session=session)
    assert found == [str(tmp_path / "out" / file) for file in files]
    assert all(Path(file).is_file() for file in found)


@pytest.mark.parametrize("key", ["x/../../evil", "x//etc/evil"])
def test_no_key_leaves_the_folder(boto: FakeBoto, tmp_path: Path, key: str) -> None:
    Store(boto, {key: b"!"})
    with pytest.raises(ValueError, match=r"is outside of"):
        Session(boto_session=boto).download_data(str(tmp_path / "out"), "b", "x")
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize("key", ["x/link", "x/folder/file"])
def test_no_link_in_the_folder_leads_out_of_it(boto: FakeBoto, tmp_path: Path, key: str) -> None:
    Store(boto, {key: b"!"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere" / "file")
    (tmp_path / "out" / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"is outside of"):
        Session(boto_session=boto).download_data(str(tmp_path / "out"), "b", "x")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_reading_and_listing(boto: FakeBoto) -> None:
    Store(boto, OBJECTS)
    session = Session(boto_session=boto)
    assert session.read_s3_file("b", "model") == S3Downloader.read_file("s3://b/model", session) == "m"
    assert S3Downloader.read_bytes("s3://b/model", session) == b"m"
    assert S3Downloader.list("s3://b/train", session) == [
        "s3://b/train-old/c.csv",
        "s3://b/train/a.csv",
        "s3://b/train/deep/b.csv",
        "s3://b/train/empty/",
    ]


def test_uploading_bytes_and_text(boto: FakeBoto) -> None:
    session = Session(boto_session=boto)
    assert S3Uploader.upload_bytes(b"x", "s3://b/k", sagemaker_session=session) == "s3://b/k"
    assert S3Uploader.upload_bytes(io.BytesIO(b"y"), "s3://b/l", "key", session) == "s3://b/l"
    assert S3Uploader.upload_string_as_file_body("z", "s3://b/m", None, session) == "s3://b/m"
    assert boto.uploads == {
        "s3://b/k": {"Body": b"x"},
        "s3://b/l": {"Body": b"y", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"},
        "s3://b/m": {"Body": "z"},
    }


def test_the_local_store_says_that_it_does_not_encrypt(
    local: FakeBoto, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        S3Uploader.upload_bytes(b"x", "s3://b/k", "key")
    assert local.uploads == {"s3://b/k": {"Body": b"x"}}
    assert "not encrypted" in caplog.text


@pytest.mark.parametrize(
    ("parts", "joined", "with_slash"),
    [
        (("s3://", "b", "x"), "s3://b/x", "s3://b/x/"),
        (("s3://", "//b/", "/x///y"), "s3://b/x/y", "s3://b/x/y/"),
        (("a", None, "", "b/"), "a/b", "a/b/"),
        (("/foo", "bar/"), "foo/bar", "foo/bar/"),
        (("s3://",), "s3://", "s3://"),
        (("",), "", ""),
        ((), "", ""),
    ],
)
def test_s3_path_join(parts: tuple[str | None, ...], joined: str, with_slash: str) -> None:
    assert s3_path_join(*parts) == joined
    assert s3_path_join(*parts, with_end_slash=True) == with_slash


def test_small_things() -> None:
    assert is_s3_url("s3://b")
    assert not is_s3_url("b")
    assert SessionSettings().encrypt_repacked_artifacts
    assert penstock.Session is Session
    assert penstock.__version__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = penstock.Nothing
