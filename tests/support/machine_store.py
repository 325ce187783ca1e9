"""Embedded stores for the tests of transfers, each with a bucket and a port of its own, and clients for them."""

import contextlib

import boto3
from botocore.config import Config

from penstock.objectstore.weed import EmbeddedStore

KEYS = {"access_key_id": "STORETESTKEY", "secret_access_key": "store-test-secret"}


@contextlib.contextmanager
def embedded_store(folder, bucket, port):
    """How to reach a store that runs as long as the block lasts."""
    store = EmbeddedStore(folder, region="us-east-1", bucket=bucket, port=port, **KEYS)
    store.start()
    try:
        store.wait_ready(60)
        yield store.access
    finally:
        store.stop()


@contextlib.contextmanager
def client_of(service, endpoint, access_key_id, secret_access_key):
    client = boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        yield client
    finally:
        client.close()


def s3_client(access):
    return client_of("s3", access.endpoint, access.access_key_id, access.secret_access_key)
