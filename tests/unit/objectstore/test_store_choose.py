"""Which object store the settings lead to."""

import pytest

from penstock.config import Settings
from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.choose import choose
from penstock.objectstore.external import ExternalStore
from penstock.objectstore.weed import EmbeddedStore

KEYS = {"PENSTOCK_S3_ACCESS_KEY_ID": "id", "PENSTOCK_S3_SECRET_ACCESS_KEY": "secret"}


def chosen(tmp_path, **environ):
    settings = Settings.read({"PENSTOCK_HOME": str(tmp_path), **environ})
    return choose(settings, "own-id", "own-secret", 9700)


def test_the_embedded_one_by_default_and_nothing_is_written_yet(tmp_path):
    store = chosen(tmp_path, PENSTOCK_REGION="eu-west-1")
    assert isinstance(store, EmbeddedStore)
    assert store.access.endpoint.startswith("http://127.0.0.1:")
    assert (store.access.region, store.access.access_key_id) == ("eu-west-1", "own-id")
    assert store.access.secret_access_key == "own-secret"
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_with_keys_is_the_users_own(tmp_path):
    store = chosen(
        tmp_path,
        **KEYS,
        PENSTOCK_S3_ENDPOINT="http://minio:9000",
        PENSTOCK_S3_REGION="here",
        PENSTOCK_BUCKET="mine",
    )
    assert isinstance(store, ExternalStore)
    assert store.access == S3Access("http://minio:9000", "here", "id", "secret")
    assert store.bucket == "mine"


def test_keys_alone_are_aws_itself(tmp_path):
    store = chosen(tmp_path, **KEYS, PENSTOCK_S3_SESSION_TOKEN="token", PENSTOCK_REGION="eu-west-1")
    assert store.access == S3Access(None, "eu-west-1", "id", "secret", "token")
    assert store.access.url == "https://s3.eu-west-1.amazonaws.com"
    assert store.bucket == "sagemaker-eu-west-1-000000000000"


@pytest.mark.parametrize(
    "environ",
    [
        {"PENSTOCK_S3_ENDPOINT": "http://minio:9000"},
        {"PENSTOCK_S3_ACCESS_KEY_ID": "id"},
        {"PENSTOCK_S3_ENDPOINT": "http://minio:9000", "PENSTOCK_S3_SECRET_ACCESS_KEY": "secret"},
    ],
)
def test_half_of_the_keys_is_told(tmp_path, environ):
    with pytest.raises(
        ConfigurationError, match=r"PENSTOCK_S3_ACCESS_KEY_ID and PENSTOCK_S3_SECRET_ACCESS_KEY"
    ):
        chosen(tmp_path, **environ)
