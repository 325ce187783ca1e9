import gzip
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from penstock.data import ahead
from penstock.data.answers import StoreUnreachable
from penstock.data.meter import Meter
from penstock.data.pipe import Feed, find_streams
from penstock.errors import ClientFailure, InternalFailure
from penstock.testing.fake_bucket import FakeBucket

LONG = 30


def wanted(uri, name="x", local="/opt/ml/processing/in", **more):
    return {"InputName": name, "S3Input": {"S3Uri": uri, "LocalPath": local, "S3InputMode": "Pipe", **more}}


class Program:
    """A program that reads: a process of its own, as whoever holds a FIFO open has to die with it."""

    def __init__(self, code, cwd):
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE)
        self.killed = False

    def wait(self, timeout=None):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        self.killed = True
        self.process.kill()

    def output(self):
        output = self.process.stdout.read()
        self.process.stdout.close()
        self.process.wait(LONG)
        return output


@pytest.fixture
def run(store, access, tmp_path):
    """Runs Python code beside the FIFOs while they are fed; gives its output, the feed and the program."""

    def call(code, *inputs, index=0, count=1, lines=None, meter=None):
        found = find_streams(
            inputs, index=index, count=count, access=access, progress=(lines or []).append, opener=store.open
        )
        with Feed(found, root=tmp_path, meter=meter or Meter()) as feed:
            program = Program(code, tmp_path / "processing")
            feed.start(program)
            output = program.output()
        assert threading.active_count() == 1 or not [t for t in threading.enumerate() if t.name == "pipe"]
        return output, feed, program

    return call


def cat(name="in_0"):
    return f"import sys, shutil; shutil.copyfileobj(open({name!r}, 'rb'), sys.stdout.buffer)"


def streamed(feed):
    lines = []
    return feed.streamed(lines.append), lines


def test_objects_follow_each_other_in_the_order_of_their_keys(store, run):
    store.put("d/b", "d/a/z", "d/c", "d/m/", "d/\uffff", "d/\U00010000")
    store.buckets["b"]["d/zero"] = b""
    output, feed, _ = run(cat(), wanted("s3://b/d/"))
    assert output.decode() == "d/a/zd/bd/cd/\uffffd/\U00010000"
    (told,), lines = streamed(feed)
    assert (told.name, told.uri, told.objects, told.epochs, told.bytes) == (
        "x",
        "s3://b/d/",
        6,
        1,
        len(output),
    )
    assert lines[0].startswith("Input 'x': 1 epoch, ")


def test_large_objects_come_in_parts_in_their_order(store, run, monkeypatch):
    monkeypatch.setattr(ahead, "PART", 1000)
    monkeypatch.setattr(ahead, "_BYTES", 5000)
    content = {f"d/{n:02}": os.urandom(size) for n, size in enumerate((1, 999, 1000, 1001, 300_000, 2000))}
    store.buckets["b"] |= content
    output, _, _ = run(cat(), wanted("s3://b/d/"))
    assert output == b"".join(content.values())


def test_every_epoch_begins_anew_in_a_fifo_of_its_own(store, run, tmp_path):
    store.put("d/a", "d/b")
    code = """
for epoch in range(50):
    assert open(f"in_{epoch}").read() == "d/ad/b", epoch
import os
print(sorted(os.listdir(".")))
"""
    output, feed, program = run(code, wanted("s3://b/d/"))
    assert program.wait() == 0
    assert output == b"['in_50']\n"
    assert streamed(feed)[0][0].epochs == 50


def test_a_program_that_opens_nothing(store, run):
    store.put("d/a")
    output, feed, program = run(
        "print('done')", wanted("s3://b/d/"), wanted("s3://b/d/", "y", "/opt/ml/processing/y")
    )
    assert (output, program.wait(), feed.failure) == (b"done\n", 0, None)
    assert streamed(feed)[1][1] == "Input 'y': the program did not open /opt/ml/processing/y_0."


@pytest.mark.parametrize("end", ["", "file.close(); print(open('in_1', 'rb').read(3))"])
def test_a_program_that_stops_reading_early(store, run, end):
    store.buckets["b"]["d/big"] = b"0123456789" * 1_000_000
    output, feed, program = run(
        f"file = open('in_0', 'rb', 0); print(file.read(3)); {end}", wanted("s3://b/d/")
    )
    assert output == b"b'012'\n" * (2 if end else 1)
    assert (program.wait(), feed.failure) == (0, None)


def test_shards_are_disjoint_and_complete(store, run):
    store.put(*(f"d/{n}" for n in range(5)))
    for index, expected in enumerate([b"d/0d/3", b"d/1d/4", b"d/2"]):
        local = f"/opt/ml/processing/{index}"
        given = wanted("s3://b/d/", local=local, S3DataDistributionType="ShardedByS3Key")
        assert run(cat(f"{index}_0"), given, index=index, count=3)[0] == expected


def test_a_shard_of_nothing_is_an_empty_stream(store, run):
    store.put("d/a")
    given = wanted("s3://b/d/", S3DataDistributionType="ShardedByS3Key")
    assert run(cat(), given, index=1, count=2)[0] == b""


def test_a_manifest(store, run):
    store.buckets["other"] = {"p/a": b"1", "p/s/b": b"22", "p/c": b"no"}
    store.buckets["b"]["m.json"] = json.dumps([{"prefix": "s3://other/p/"}, "s/b", "a"]).encode()
    assert run(cat(), wanted("s3://b/m.json", S3DataType="ManifestFile"))[0] == b"122"


def test_what_can_not_be_found_is_said_before_the_program_runs(store, access):
    with pytest.raises(ClientFailure, match=r"Failed to download data. Input 'x': s3://b/none: no object"):
        find_streams(
            [wanted("s3://b/none")], index=0, count=1, access=access, progress=print, opener=store.open
        )


READS_ALL = """
import signal, sys
total = 0
with open("in_0", "rb", 0) as file:
    while data := file.read(1 << 16):
        total += len(data)
print("took the end of the FIFO for the end of the data")
"""


@pytest.mark.parametrize("kind", [StoreUnreachable, ClientFailure])
def test_a_failure_amid_the_stream_ends_the_program_before_it_sees_an_end(store, run, monkeypatch, kind):
    monkeypatch.setattr(ahead, "PART", 1000)
    store.buckets["b"] |= {"d/a": bytes(2000), "d/b": bytes(5000)}
    asked = []

    def fail(key):
        asked.append(key)
        return kind(f"s3://b/{key}: no answer") if key == "d/b" and asked.count(key) > 4 else None

    store.broken = fail
    output, feed, program = run(READS_ALL, wanted("s3://b/d/"))
    assert (output, program.wait(), program.killed) == (b"", -9, True)
    assert type(feed.failure) is kind
    assert str(feed.failure) == "Failed to download data. Input 'x': s3://b/d/b: no answer"


def test_an_object_that_changes_between_two_epochs_is_a_failure(store, run):
    store.put("d/a")

    def change(key):
        store.broken = lambda key: None
        store.buckets["b"]["d/a"] = b"another"

    code = f"print(open('in_0').read(), flush=True)\n{READS_ALL.replace('in_0', 'in_1')}"
    real = Feed._pour

    def pour(self, outlet, writer):
        if outlet.fifos.epochs == 2:
            change("d/a")
        real(self, outlet, writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "_pour", pour)
        output, feed, program = run(code, wanted("s3://b/d/"))
    assert output == b"d/a\n"
    assert program.killed
    assert "s3://b/d/a: it changed" in str(feed.failure)


def test_an_error_of_ours_ends_the_program_as_well(store, run, monkeypatch, capsys):
    store.put("d/a")
    monkeypatch.setattr(Feed, "_counted", lambda self, outlet, parts: 1 / 0)
    output, feed, program = run(READS_ALL, wanted("s3://b/d/"))
    assert (output, program.killed) == (b"", True)
    assert isinstance(feed.failure, InternalFailure)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_failure_that_nobody_waits_for_is_none(store, run, tmp_path):
    """The reader has gone when the data can't be had: it did not need it."""
    store.put("d/a", "d/b")
    (tmp_path / "processing").mkdir()
    os.mkfifo(tmp_path / "processing/gone")

    failed = []

    def fail(key):
        if key == "d/b" and not failed:
            failed.append(key)
            with (tmp_path / "processing/gone").open() as told:
                told.read()
            return StoreUnreachable("silent")
        return None

    code = "file = open('in_0', 'rb', 0); print(file.read(3)); file.close(); open('gone', 'w').close(); open('in_1')"
    with pytest.MonkeyPatch.context() as patch:
        real = store.open
        patch.setattr(store, "open", lambda *args: Broken(real(*args), fail))
        output, feed, program = run(code, wanted("s3://b/d/"))
    assert (output, feed.failure, program.killed, failed) == (b"b'd/a'\n", None, False, ["d/b"])


@pytest.mark.parametrize("second", [b"d/a", b"d/b"])
def test_bytes_that_nothing_vouches_for_are_read_twice(store, run, monkeypatch, second):
    """An ETag that is no MD5 sum, without TLS."""
    store.put("d/a")
    answers = [b"d/a", second]
    monkeypatch.setattr(FakeBucket, "prove", lambda *_: False)
    monkeypatch.setattr(FakeBucket, "read_part", lambda *_: memoryview(answers.pop(0)))
    output, feed, _ = run(cat(), wanted("s3://b/d/"))
    if second == b"d/a":
        assert (output, feed.failure) == (b"d/a", None)
    else:
        assert output == b""
        assert "s3://b/d/a: a second reading of it gave other bytes" in str(feed.failure)


class Broken:
    """A bucket that fails only when parts are read."""

    def __init__(self, bucket, fail):
        self.bucket, self.fail, self.list, self.prove = bucket, fail, bucket.list, bucket.prove
        self.sealed = bucket.sealed

    def read_part(self, entry, start, length):
        if problem := self.fail(entry.key):
            raise problem
        return self.bucket.read_part(entry, start, length)


def test_gzip_is_undone_object_by_object(store, run):
    parts = [os.urandom(1000) + bytes(3_000_000), b"second member", b"third"]
    store.buckets["b"] |= {
        "d/1.gz": gzip.compress(parts[0])
        + gzip.compress(parts[1])
        + bytes(100),  # zeros may fill up a tape's block
        "d/2": gzip.compress(parts[2]),
        "d/3": b"",
    }
    meter = Meter()
    output, feed, _ = run(cat(), wanted("s3://b/d/", S3CompressionType="Gzip"), meter=meter)
    assert output == b"".join(parts)
    assert streamed(feed)[0][0].bytes == sum(map(len, store.buckets["b"].values()))


@pytest.mark.parametrize(
    "broken",
    [b"plain text", gzip.compress(b"x" * 1000)[:-5], gzip.compress(b"x") + b"garbage", b"\x1f\x8b"],
    ids=["none", "cut short", "with more behind it", "its first bytes"],
)
def test_broken_gzip_is_named(store, run, broken):
    store.buckets["b"] |= {"d/1": gzip.compress(b"good"), "d/2.gz": broken}
    output, feed, program = run(READS_ALL, wanted("s3://b/d/", S3CompressionType="Gzip"))
    assert (output, program.killed) == (b"", True)
    assert "Input 'x': s3://b/d/2.gz: it is no sound gzip file (" in str(feed.failure)


def test_a_flipped_bit_in_gzip_is_found(store, run):
    data = bytearray(gzip.compress(os.urandom(5000)))
    data[2000] ^= 1
    store.buckets["b"]["d/1"] = bytes(data)
    assert "s3://b/d/1" in str(run(READS_ALL, wanted("s3://b/d/", S3CompressionType="Gzip"))[1].failure)


def test_memory_stays_bounded_however_much_comes_out(store, run):
    """256 MiB of zeros in a quarter of a MiB."""
    store.buckets["b"]["bomb"] = gzip.compress(bytes(1 << 28), 9)
    tracemalloc.start()
    try:
        output, _, _ = run(
            "n = 0\nwith open('in_0', 'rb', 0) as f:\n while d := f.read(1 << 20): n += len(d)\nprint(n)",
            wanted("s3://b/bomb", S3CompressionType="Gzip"),
        )
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert int(output) == 1 << 28


def test_a_slow_reader_bounds_what_is_read_ahead(store, run, monkeypatch):
    monkeypatch.setattr(ahead, "PART", 1 << 20)
    monkeypatch.setattr(ahead, "_BYTES", 4 << 20)
    store.buckets["b"]["d/big"] = bytes(64 << 20)
    asked = []
    store.broken = asked.append
    code = "f = open('in_0', 'rb', 0); f.read(1)"
    run(code, wanted("s3://b/d/"))
    assert len(asked) < 2 * 12


def test_the_meter_counts_while_a_fifo_is_open(store, run):
    store.put("d/a", "d/b")
    seen = []
    meter = Meter()
    real = meter.add
    meter.add = lambda *args, **more: (real(*args, **more), seen.append(meter.read()))
    run("open('in_0').read(); open('in_1').read()", wanted("s3://b/d/"), meter=meter)
    assert [(p.way, p.objects, p.bytes, p.total_objects, p.total_bytes) for p in seen] == 2 * [
        ("download", 1, 3, 2, 6),
        ("download", 2, 6, 2, 6),
    ]
    assert not meter.is_moving


def test_a_link_in_the_place_of_a_fifo_is_not_written_to(store, run, tmp_path):
    store.put("d/a")
    (tmp_path / "victim").write_text("untouched")
    code = """
import os
os.rename("in_0", "kept"); os.symlink("../victim", "in_0")
print(open("kept").read())
os.remove("in_1"); os.symlink("../victim", "in_1")
print(open("in_1").read())
"""
    output, feed, program = run(code, wanted("s3://b/d/"))
    assert (output, program.wait(), feed.failure) == (b"d/a\nuntouched\n", 0, None)
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_file_in_the_place_of_the_next_fifo_ends_the_epochs(store, run):
    store.put("d/a")
    output, feed, _ = run(
        "open('in_1', 'w').write('mine'); print(open('in_0').read(), open('in_1').read())",
        wanted("s3://b/d/"),
    )
    assert (output, feed.failure) == (b"d/a mine\n", None)


def test_another_input_in_the_place_of_a_fifo(store, access, tmp_path):
    store.put("d/a")
    (tmp_path / "processing/in_0").mkdir(parents=True)
    found = find_streams(
        [wanted("s3://b/d/")], index=0, count=1, access=access, progress=[].append, opener=store.open
    )
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(
        ClientFailure, match=r"Input 'x': another input has .* its FIFO /opt/ml/processing/in_0"
    ):
        Feed(found, root=tmp_path, meter=Meter()).__enter__()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_descriptor_is_left_open(store, run):
    store.put("d/a")
    before = len(list(Path("/proc/self/fd").iterdir()))
    run(
        "open('in_0').read(); open('in_1').close()",
        wanted("s3://b/d/"),
        wanted("s3://b/d/", "y", "/opt/ml/processing/y"),
    )
    assert len(list(Path("/proc/self/fd").iterdir())) == before
