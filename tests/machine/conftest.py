"""One real server for all end-to-end tests of a run, with a home of its own and environments that are kept."""

import os
import textwrap

import pytest
import ray_nodes
from machine_home import ENVIRONMENTS, stop_server
from postgres_server import PostgresServer

from penstock.client import local_server, record
from penstock.config import Settings


def pytest_collection_modifyitems(items):
    """Where PENSTOCK_TESTS_AGAIN is set, a test of real processes that fails is tried once more, and told as rerun.

    On a machine that others use too any process may be held up for longer than a test believes. What is told as
    rerun is a fault all the same, of the test or of what it tests.
    """
    if os.environ.get("PENSTOCK_TESTS_AGAIN"):
        for item in items:
            if item.get_closest_marker("machine"):
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A fresh home that the environment points to, and no AWS settings of whoever runs the tests."""
    path = tmp_path_factory.mktemp("home")
    kept = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("AWS_", "SAGEMAKER_", "PENSTOCK_")):
            del os.environ[name]
    os.environ.update(
        PENSTOCK_HOME=str(path),
        PENSTOCK_ENVIRONMENTS=str(ENVIRONMENTS),
        PENSTOCK_STOP_GRACE="5",
        # Jobs are to run side by side on however small a machine.
        PENSTOCK_CPUS="256",
        PENSTOCK_MEMORY="4T",
        PENSTOCK_GPUS="64",
        PENSTOCK_PORT="11550",
        PENSTOCK_RUNTIME="sandbox",  # whatever container engine the machine has
    )
    yield path
    stop_server(path)
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL; fsync is left out, since nothing but the loss of power shows the difference."""
    server = PostgresServer(fsync=False)
    yield server
    server.close()


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory):
    """Four simulated machines with Ray; for a test that breaks something, `cluster` is the better one."""
    problem = ray_nodes.lacking()
    if problem:
        pytest.skip(problem)
    settings = {"PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS), "PENSTOCK_CACHE_BYTES": "0"}
    with ray_nodes.ray_nodes(tmp_path_factory.mktemp("nodes"), settings=settings) as nodes:
        yield nodes


@pytest.fixture
def cluster(ray_cluster):
    """The same, whole again whatever the test before has done to it."""
    ray_cluster.mend()
    return ray_cluster


@pytest.fixture
def address(home):
    """The server's address; started when it does not run."""
    return local_server.ensure()


@pytest.fixture
def session(address):
    from penstock.session import Session

    return Session()


@pytest.fixture
def s3(session):
    return session.boto_session.client("s3")


@pytest.fixture
def told(address):
    """Penstock's own record of a job."""
    return lambda name: record.fetch(address, name)


@pytest.fixture
def script(tmp_path):
    """Writes a script and returns its path."""

    def write(text, name="script.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


@pytest.fixture
def settings(home):
    return Settings.read()


@pytest.fixture
def processor(session):
    """Makes a ScriptProcessor in the plain Python environment."""
    from penstock.processing import ScriptProcessor

    def make(**changes):
        return ScriptProcessor(
            **{
                "image_uri": "python:3.11",
                "command": ["python3"],
                "instance_count": 1,
                "instance_type": "ml.m5.xlarge",
                "sagemaker_session": session,
                **changes,
            }
        )

    return make


@pytest.fixture
def objects(s3):
    """The objects below an S3 URI: relative key -> bytes."""

    def read(uri):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [o["Key"] for page in pages for o in page.get("Contents", [])]
        return {
            k.removeprefix(prefix).lstrip("/"): s3.get_object(Bucket=bucket, Key=k)["Body"].read()
            for k in keys
        }

    return read
