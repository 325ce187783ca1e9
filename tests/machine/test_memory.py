"""The runner's memory: it depends neither on how large files are nor on how many an output has."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.machine

LIMIT = 300 << 10  # KiB

#: Transfers without a store: objects are made up when they are read, and forgotten when they are written.
PROGRAM = """
import hashlib, itertools, sys
from pathlib import Path
from penstock.clock import now
from penstock.data import inputs, outputs
from penstock.data.integrity import Source, md5
from penstock.data.listing import Entry
from penstock.job.run import S3Access
from penstock.runner.manifest import Manifest

class Bucket:
    def list(self, prefix):
        if prefix == "many/":
            return (Entry(f"many/{n % 100}/a name as long as names are, {n}", 1, f'"{n:032}"') for n in range(COUNT))
        return iter([Entry("large", SIZE, None)])
    sealed = False
    def read(self, key, limit, etag=None):
        return memoryview(b"x")
    def copy_part(self, entry, start, length, sink):
        sink.restart()
        sink.take(self.read_part(entry, start, length))
    def read_part(self, entry, start, length):
        return memoryview(bytes(length))
    def prove(self, entry, digests, descriptor):
        return True
    def write(self, key, data):
        return hashlib.sha256(data).hexdigest()
    def write_file(self, key, file, size):
        source = Source(file, size, 8 << 20)
        while source.read(8 << 20):
            pass
        return source.sha256

what, count, size, root = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
COUNT, SIZE = count, size
access = S3Access("http://127.0.0.1:9", "us-east-1")
shape = {"S3Uri": f"s3://b/{what}", "LocalPath": "/opt/ml/processing/it"}
told = dict(root=root, access=access, progress=lambda _: None, opener=lambda *_: Bucket())
if what != "written":
    inputs.fetch([{"InputName": "x", "S3Input": shape}], index=0, count=1, **told)
else:
    folder = root / "processing/it"
    folder.mkdir(parents=True)
    for n in range(count):
        (folder / f"a name as long as names are, {n}").touch()
    with (folder / "sparse").open("wb") as file:
        file.truncate(size)
manifest = Manifest(root / "manifest", now, lambda: None)
outputs.upload([{"OutputName": "x", "S3Output": shape}], kms_key=None, record=manifest.add, **told)
manifest.check()
# Not ru_maxrss: that begins with what the parent had.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(tmp_path, what, count, size):
    """KiB at most in memory, and the lines of the upload manifest."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, what, str(count), str(size), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "manifest").open() as manifest:
        return int(done.stdout), sum(1 for _ in manifest)


def test_very_many_outputs_and_a_sparse_file_of_many_gib(tmp_path):
    """The file takes no room on the disk."""
    memory, lines = peak(tmp_path, "written", 120_000, 3 << 30)
    assert lines == 120_001
    assert memory < LIMIT


def test_very_many_inputs(tmp_path):
    memory, lines = peak(tmp_path, "many/", 100_000, 0)
    assert lines == 100_000
    assert memory < LIMIT


def test_a_large_input(tmp_path):
    memory, lines = peak(tmp_path, "large", 1, 1 << 30)
    assert lines == 1
    assert memory < LIMIT
