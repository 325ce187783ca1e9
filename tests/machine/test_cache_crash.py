"""Runners that are killed at any moment, several at once, on one small cache: it stays sound and of use."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.data import pruning
from penstock.data.cache import Cache

pytestmark = pytest.mark.machine

KILLED = 30
AT_ONCE = 3

#: One runner after another, each on an input of chance; a bucket whose content follows from the key.
_RUNNERS = """
import hashlib, os, random, shutil, sys, time
from pathlib import Path
from penstock.data.cache import Cache
from penstock.data.inputs import fetch
from penstock.data.listing import Entry
from penstock.job.run import S3Access

def data(key):
    return hashlib.sha256(key.encode()).digest() * 1000

KEYS = [f"all/{folder}/{n}" for folder in range(3) for n in range(64)]

class Bucket:
    def list(self, prefix):
        for key in KEYS:
            if key.startswith(prefix):
                yield Entry(key, 32000, hashlib.md5(key.encode()).hexdigest())
    sealed = False
    def read(self, key, limit, etag=None):
        return memoryview(data(key))
    def copy_part(self, entry, start, length, sink):
        sink.restart()
        sink.take(self.read_part(entry, start, length))
    def read_part(self, entry, start, length):
        return memoryview(data(entry.key))[start:start + length]

folder, work, seed, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
print("ready", flush=True)
for round in range(rounds):
    prefix = chance.choice(["all/", "all/0/", "all/1/", "all/2/"])
    root = work / f"{os.getpid()}-{round}"
    root.mkdir()
    source = {"S3Uri": f"s3://b/{prefix}", "LocalPath": "/opt/ml/processing/in"}
    with Cache(folder, 9_000_000) as cache:
        (one,) = fetch(
            [{"InputName": "x", "S3Input": source}], index=0, count=1, root=root, cache=cache,
            access=S3Access("http://127.0.0.1:1", "us-east-1"), progress=lambda line: None,
            opener=lambda *_: Bucket(),
        )
        if one.mount:
            files = [path for path in Path(one.mount).rglob("*") if path.is_file()]
            assert len(files) == (192 if prefix == "all/" else 64), len(files)
            for path in files:
                assert path.read_bytes() == data(prefix + str(path.relative_to(one.mount))), path
            cache.settle()
    shutil.rmtree(root)
print("done", flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_sound_cache(tmp_path):
    folder, work = tmp_path / "cache", tmp_path / "work"
    work.mkdir()
    chance = random.Random(os.urandom(8))
    looked_at = 0
    for _ in range(KILLED // AT_ONCE):
        running = [_start(folder, work, chance.randrange(1 << 30), 1000) for _ in range(AT_ONCE)]
        for process in running:
            assert process.stdout.readline() == b"ready\n", process.stderr.read()
        for process in running:
            # The moment is of chance, which is the point; nothing hangs on how long it is.
            try:
                process.wait(chance.uniform(0.005, 0.15))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            assert process.wait(30) == -signal.SIGKILL, process.stderr.read()
            process.stdout.close()
            process.stderr.close()
        verdict = pruning.verify(folder)
        assert (verdict.damaged, verdict.trees_removed, verdict.trees_in_use) == ((), 0, 0)
        looked_at += verdict.objects
    assert looked_at > 0
    with _start(folder, work, 1, 12) as last:
        assert last.communicate(timeout=60)[0] == b"ready\ndone\n"
    assert pruning.prune(folder, 0) == 0
    with Cache(folder, 1) as cache:
        assert list(pruning.objects(cache.folder)) == []
    assert [path for name in ("trees", "incoming", "trash") for path in (folder / name).iterdir()] == []


def _start(folder: Path, work: Path, seed: int, rounds: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", _RUNNERS, str(folder), str(work), str(seed), str(rounds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
