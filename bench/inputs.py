"""Inputs that need no download: from the node's cache, and `file://` from where they lie.

What counts is the time beyond the listing until the script could start: to find what is to be mounted, then to build
the walls with it, to the program's first byte. "added" is what the input adds to walls without any; its bar is 50 ms.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.table import machine, median, show
from penstock.data import crew, local
from penstock.data.cache import Cache
from penstock.data.inputs import fetch
from penstock.data.listing import Entry
from penstock.data.storage import open_bucket
from penstock.job.run import S3Access
from penstock.objectstore.weed import EmbeddedStore
from penstock.runner.folder import RunFolder
from penstock.runner.mounts import input_mounts
from penstock.runtimes.base import Mount, Program
from penstock.runtimes.choose import choose

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
MANY = 10_000
SMALL = 4 << 10
#: The large input's bytes are made, not kept by the store: only their listing and their place on the disk matter.
LARGE = int(os.environ.get("BENCH_BYTES", str(4 << 30)))
BAR = 50
IN = "/opt/ml/processing/in"


def main():
    folder = Path(__file__).parents[1] / ".cache"  # on disk, where jobs' folders lie: /tmp may be memory
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        show(
            f"Inputs without a download (medians of {ROUNDS}; the bar is {BAR} ms; {machine()})",
            ("", "listing ms", "found ms", "walls ms", "walls without ms", "added ms", "to the start ms"),
            list(rows(Path(temporary))),
        )


def rows(folder):
    store = EmbeddedStore(
        folder / "store",
        region="us-east-1",
        access_key_id="BENCHKEY",
        secret_access_key="bench-secret",
        bucket="bench",
        port=17970,
    )
    store.start()
    try:
        store.wait_ready(60)
        bucket, data = open_bucket(store.access, "bench"), bytes(SMALL)
        crew.work(partial(bucket.write, f"many/{number % 100}/{number}", data) for number in range(MANY))
        cached = partial(from_cache, folder, store.access, open_bucket)
        yield row(f"{MANY:,} files of {SMALL >> 10} KiB, cached", folder, partial(cached, "s3://bench/many/"))
    finally:
        store.stop()
    made = partial(from_cache, folder, S3Access("http://127.0.0.1:1", "us-east-1"), lambda *_: Made())
    yield row(f"{LARGE / (1 << 30):g} GiB, cached", folder, partial(made, "s3://bench/large"))
    source = folder / "local"
    make_local(source)
    for name, what in (("many", f"{MANY:,} files"), ("large", f"{LARGE / (1 << 30):g} GiB")):
        yield row(f"{what}, file://", folder, partial(from_disk, source, source / name))


class Made:
    """A bucket with one object of zeros."""

    sealed = True

    def list(self, prefix):
        yield Entry(prefix, LARGE, '"zeros"')

    def copy_part(self, _entry, _start, length, sink):
        sink.restart()
        sink.take(memoryview(bytes(length)))

    def prove(self, *_):
        return True


@dataclass
class Timed:
    """A bucket that tells how long its listing took."""

    inner: object
    listing: float = 0.0

    def list(self, prefix):
        began = time.perf_counter()
        found = list(self.inner.list(prefix))
        self.listing = time.perf_counter() - began
        return iter(found)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def row(name, folder, find):
    folder = Path(tempfile.mkdtemp(dir=folder))
    find(folder / "first", walls)  # fills the cache
    figures = [
        (*find(folder / f"run{turn}", walls), walls(folder / f"bare{turn}", [])) for turn in range(ROUNDS)
    ]
    listing, found, within, without = (1000 * median(column) for column in zip(*figures, strict=True))
    figures = (listing, found, within, without, found + within - without, found + within)
    return name, *(f"{figure:.1f}" for figure in figures)


def from_cache(folder, access, opener, uri, run, start):
    """Seconds of the listing, of all else until the mounts are known, and of `start`."""
    run.mkdir()
    bucket = Timed(opener(access, "bench"))
    with Cache(folder / "cache", 64 << 30) as cache:
        began = time.perf_counter()
        fetched = fetch(
            [wanted(uri)],
            index=0,
            count=1,
            root=run,
            access=access,
            progress=lambda _: None,
            opener=lambda *_: bucket,
            cache=cache,
        )
        took = time.perf_counter() - began - bucket.listing
        seconds = start(run, fetched)
        cache.settle()
    return bucket.listing, took, seconds


def from_disk(allowed, path, run, start):
    run.mkdir()
    began = time.perf_counter()
    fetched = local.find([wanted(path.as_uri())], [str(allowed)], [])
    took = time.perf_counter() - began
    return 0.0, took, start(run, fetched)


def walls(run, fetched):
    """Seconds from the start of the walls with these inputs to the program's first byte."""
    folder = RunFolder(run)
    folder.ml.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    above = input_mounts(fetched, folder, overlays=True)
    program = Program(
        argv=("/bin/sh", "-c", f"test -z '{''.join(one.name for one in fetched)}' || test -e {IN}; echo $?"),
        environment={"PATH": "/usr/bin:/bin"},
        mounts=(Mount(folder.ml, "/opt/ml", writable=True), *above),
    )
    reading, writing = os.pipe()
    running = choose("auto", overlays=bool(above)).start(program, writing)
    os.close(writing)
    assert os.read(reading, 1) == b"0"
    seconds = time.perf_counter() - began
    running.wait()
    os.close(reading)
    return seconds


def wanted(uri):
    return {"InputName": "x", "S3Input": {"S3Uri": uri, "LocalPath": IN, "S3InputMode": "File"}}


def make_local(folder):
    (folder / "many").mkdir(parents=True)
    for number in range(MANY):
        (folder / "many" / str(number)).write_bytes(bytes(SMALL))
    (folder / "large").mkdir()
    with (folder / "large" / "zeros").open("wb") as file:
        file.truncate(LARGE)  # sparse: nobody reads it
