"""The conformance suite of object stores against real servers: the embedded SeaweedFS, and moto's S3."""

import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from machine_store import embedded_store, s3_client

from penstock.data.storage import open_bucket
from penstock.job.run import S3Access
from penstock.testing.buckets import BucketSuite

pytestmark = pytest.mark.machine

BUCKET = "store-tests"
#: moto in an environment of its own, made once: its fifty packages are nothing that Penstock should be locked to.
MOTO = Path(__file__).parents[2] / ".cache" / "moto"
MOTO_VERSION = "5.1.*"
PORT = 19850


class Real(BucketSuite):
    """A store behind an address."""

    @pytest.fixture
    def bucket(self, access):
        return open_bucket(access, BUCKET, patience=5.0)

    @pytest.fixture
    def missing(self, access):
        return open_bucket(access, "no-such-bucket", patience=5.0)

    @pytest.fixture
    def marker(self, access):
        def store(key):
            with s3_client(access) as client:
                client.put_object(Bucket=BUCKET, Key=key, Body=b"")

        return store


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    with embedded_store(tmp_path_factory.mktemp("store"), BUCKET, 19750) as access:
        yield replace(access, own=False)  # as a store like any other


@pytest.fixture(scope="module")
def moto():
    program = MOTO / "bin" / "moto_server"
    if not program.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, "--clear", str(MOTO)], check=True)
        packages = [f"moto[server]=={MOTO_VERSION}"]
        python = str(MOTO / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "--python", python, *packages], check=True)
    access = S3Access(f"http://127.0.0.1:{PORT}", "us-east-1", "id", "secret")
    server = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(PORT)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"{access.endpoint}/moto-api/")
        with s3_client(access) as client:
            client.create_bucket(Bucket=BUCKET)
        yield access
    finally:
        server.terminate()
        server.wait()


class TestEmbedded(Real):
    @pytest.fixture
    def access(self, embedded):
        return embedded


class TestMoto(Real):
    @pytest.fixture
    def access(self, moto):
        return moto


def wait_for(url):
    """Until the server answers; it has no other way to tell that it is ready."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, "moto does not answer"
            time.sleep(0.05)
        else:
            return
