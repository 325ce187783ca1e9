import os
import queue
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from inotify_simple import Event, flags

from penstock.data import continuous, folder
from penstock.data.continuous import uploading
from penstock.data.folder import stamp
from penstock.data.outputs import prepare, upload
from penstock.errors import ClientFailure
from penstock.job.run import S3Access

LONG = 30  # seconds; nobody waits so long unless something is broken


def wanted(mode="Continuous", name="x", uri="s3://b/o", local="/opt/ml/processing/out"):
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": local, "S3UploadMode": mode}}


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch):
    """Only what the kernel tells counts: a scan would come too late for any test."""
    monkeypatch.setattr(continuous, "_PAUSE", 0.06)
    monkeypatch.setattr(continuous, "_SCAN_EVERY", 10_000)


@pytest.fixture
def scanning(monkeypatch):
    monkeypatch.setattr(continuous, "_SCAN_EVERY", 0.05)
    monkeypatch.setattr(continuous, "_SCAN_SHARE", 0)
    monkeypatch.setattr(continuous, "_QUIET", 0.1)


@pytest.fixture
def out(tmp_path):
    prepare({"Outputs": [wanted()]}, tmp_path)
    return tmp_path / "processing/out"


@pytest.fixture
def watched(store, access, tmp_path):
    """Runs a block while its outputs are uploaded; gives the keys as they arrive, and what was sent."""

    @contextmanager
    def run(*outputs, lines=None):
        arrivals = Arrivals(store)
        arguments = {
            "outputs": outputs or [wanted()],
            "kms_key": None,
            "root": tmp_path,
            "access": access,
            "progress": [].append if lines is None else lines.append,
            "opener": store.open,
        }
        with uploading(**arguments) as sent:
            yield arrivals
        arrivals.early = dict(store.buckets["b"])
        arrivals.sent = sent
        arrivals.stop()
        try:
            arrivals.uploaded = upload(**arguments, sent=sent)
        finally:
            arrivals.late = arrivals.keys()

    return run


class Arrivals:
    """Keys in the order in which they are stored."""

    def __init__(self, store):
        self.queue = queue.SimpleQueue()
        self.inner, store.broken = store.broken, self.note
        self.early, self.sent, self.uploaded, self.late = {}, {}, [], []
        self.lock = threading.Lock()

    def note(self, key):
        problem = self.inner(key)
        self.queue.put(key)
        return problem

    def next(self):
        return self.queue.get(timeout=LONG)

    def stop(self):
        self.keys()

    def keys(self):
        found = []
        while not self.queue.empty():
            found.append(self.queue.get())
        return found


def test_a_file_is_uploaded_when_it_is_closed_and_not_again_at_the_end(store, watched, out):
    with watched() as arrivals:
        (out / "a").write_bytes(b"1")
        assert arrivals.next() == "o/a"
    assert arrivals.early == {"o/a": b"1"}
    assert arrivals.sent == {("x", "a"): stamp((out / "a").stat())}
    assert arrivals.late == []
    assert (arrivals.uploaded[0].files, arrivals.uploaded[0].early, arrivals.uploaded[0].bytes) == (1, 1, 1)


def test_of_outputs_in_one_another_each_is_told_what_is_written(store, watched, out, tmp_path):
    inner = wanted(name="y", uri="s3://b/p", local="/opt/ml/processing/out/in")
    prepare({"Outputs": [inner]}, tmp_path)
    with watched(wanted(), inner) as arrivals:
        (out / "in/a").write_bytes(b"1")
        assert {arrivals.next(), arrivals.next()} == {"o/in/a", "p/a"}
    assert arrivals.late == []


def test_an_open_file_is_not_uploaded_before_the_end(store, watched, out):
    with watched() as arrivals, (out / "open").open("wb", buffering=0) as file:
        file.write(b"half")
        (out / "other").write_bytes(b"1")
        assert arrivals.next() == "o/other"
        file.write(b" and half")
    assert "o/open" not in arrivals.early
    assert store.buckets["b"]["o/open"] == b"half and half"


def test_the_last_content_of_a_file_that_is_rewritten(store, watched, out):
    with watched() as arrivals:
        (out / "a").write_bytes(b"first")
        assert arrivals.next() == "o/a"
        (out / "a").write_bytes(b"again")
        assert arrivals.next() == "o/a"
    assert arrivals.early == {"o/a": b"again"}
    assert arrivals.late == []


def test_what_was_written_last_is_taken_at_the_end(store, watched, out):
    with watched() as arrivals:
        (out / "a").write_bytes(b"first")
        assert arrivals.next() == "o/a"
        (out / "a").write_bytes(b"again")
        (out / "new").write_bytes(b"2")
    assert store.buckets["b"] == {"o/a": b"again", "o/new": b"2"}


def test_a_file_with_its_size_and_time_of_before_is_taken_at_the_end(store, access, out, tmp_path):
    (out / "a").write_bytes(b"first")
    before = (out / "a").stat()
    (out / "a").write_bytes(b"again")
    os.utime(out / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    upload(
        [wanted()],
        kms_key=None,
        root=tmp_path,
        access=access,
        progress=[].append,
        sent={("x", "a"): stamp(before)},
        opener=store.open,
    )
    assert store.buckets["b"] == {"o/a": b"again"}


def test_new_folders_and_renames(store, watched, out):
    with watched() as arrivals:
        (out / "new/deep").mkdir(parents=True)
        (out / "beside").mkdir()
        (out / "beside/f").write_bytes(b"1")
        (out / "beside").rename(out / "new/deep/moved")
        (out / "sign").touch()
        while arrivals.next() != "o/sign":
            pass
        (out / "new/deep/moved/.tmp").write_bytes(b"whole")
        (out / "new/deep/moved/.tmp").rename(out / "new/deep/moved/g")
        while arrivals.next() != "o/new/deep/moved/g":
            pass
    assert store.buckets["b"] == {
        "o/sign": b"",
        "o/new/deep/moved/f": b"1",
        "o/new/deep/moved/g": b"whole",
    }


def test_a_file_that_was_closed_before_its_folder_was_watched(watched, out):
    with watched() as arrivals:
        for number in range(20):
            (out / f"d{number}/e").mkdir(parents=True)
            (out / f"d{number}/e/f").write_bytes(b"1")
        expected = {f"o/d{number}/e/f" for number in range(20)}
        assert {arrivals.next() for _ in range(20)} == expected
    assert arrivals.late == []
    assert arrivals.uploaded[0].early == 20


def test_an_open_file_in_a_new_folder_is_left_alone(store, watched, out):
    with watched() as arrivals:
        (out / "before").mkdir()
        with (out / "before/open").open("wb", buffering=0) as file:
            (out / "before").rename(out / "now")
            (out / "sign").touch()
            assert arrivals.next() == "o/sign"
            assert arrivals.keys() == []
            file.write(b"whole")
        assert arrivals.next() == "o/now/open"
    assert arrivals.early == {"o/sign": b"", "o/now/open": b"whole"}


def test_a_quiet_open_file_is_uploaded_and_once_more_at_the_end(store, watched, out, scanning):
    """Once more, as who holds it open may have written to it in a way that leaves no trace in its times."""
    with watched() as arrivals, (out / "log").open("wb", buffering=0) as file:
        file.write(b"line\n")
        assert arrivals.next() == "o/log"
    assert arrivals.late == ["o/log"]


def test_files_that_nobody_told_of_are_found(store, watched, out, scanning, monkeypatch):
    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(continuous, "INotify", none_left)
    lines = []
    with watched(lines=lines) as arrivals:
        (out / "d").mkdir()
        (out / "d/a").write_bytes(b"1")
        assert arrivals.next() == "o/d/a"
    assert "max_user_instances" in lines[0]
    assert arrivals.late == ["o/d/a"], "who knows whether it was opened again"


def test_folders_beyond_the_limit_of_watches_are_scanned(store, watched, out, scanning, monkeypatch):
    def full(self, path, mask):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(continuous.INotify, "add_watch", full)
    lines = []
    with watched(lines=lines) as arrivals:
        (out / "a").write_bytes(b"1")
        assert arrivals.next() == "o/a"
    assert "max_user_watches" in lines[0]
    assert sum("max_user_watches" in line for line in lines) == 1


def test_after_an_overflow_everything_is_taken_at_the_end(store, watched, out, monkeypatch):
    real = continuous.INotify.read
    with watched() as arrivals:
        (out / "a").write_bytes(b"1")
        assert arrivals.next() == "o/a"

        def overflow(self, timeout=None):
            return [Event(-1, flags.Q_OVERFLOW, 0, ""), *real(self, timeout)]

        monkeypatch.setattr(continuous.INotify, "read", overflow)
    assert arrivals.sent == {}
    assert arrivals.late == ["o/a"]


def test_links_and_specials_are_not_followed(store, watched, out, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"secret")
    with watched() as arrivals:
        (out / "file").symlink_to(secret / "key")
        (out / "folder").symlink_to(secret)
        os.mkfifo(out / "pipe")
        (out / "swapped").mkdir()
        (out / "sign").touch()
        assert arrivals.next() == "o/sign"
        (out / "swapped").rename(tmp_path / "away")
        (out / "swapped").symlink_to(secret)
        (tmp_path / "away/key").write_bytes(b"still watched, but no longer here")
        (secret / "other").write_bytes(b"not watched")
        (out / "sign2").touch()
        assert arrivals.next() == "o/sign2"
    assert arrivals.early == {"o/sign": b"", "o/sign2": b""}
    assert store.buckets["b"] == {"o/sign": b"", "o/sign2": b""}


def test_a_file_that_changes_while_it_is_read_is_not_stored(store, watched, out, monkeypatch):
    real = folder.stamp
    with watched() as arrivals:
        changed = threading.Event()

        def change(found):
            if not changed.is_set() and threading.current_thread().name.startswith("continuous_"):
                changed.set()
                with (out / "a").open("ab") as file:
                    file.write(b"+")
            return real(found)

        monkeypatch.setattr(folder, "stamp", change)
        (out / "a").write_bytes(b"1")
        assert changed.wait(LONG)
        assert arrivals.next() == "o/a"
    assert store.buckets["b"] == {"o/a": b"1+"}


def test_failures_do_no_harm_and_are_tried_again_at_the_end(store, watched, out):
    refused = {"o/a", "o/b"}
    store.broken = lambda key: ClientFailure(f"s3://b/{key}: refused.") if key in refused else None
    lines = []
    with watched(lines=lines) as arrivals:
        (out / "a").write_bytes(b"1")
        (out / "b").write_bytes(b"2")
        assert {arrivals.next(), arrivals.next()} == {"o/a", "o/b"}
        (out / "c").write_bytes(b"3")
        assert arrivals.next() == "o/c"
        refused.clear()
    assert arrivals.early == {"o/c": b"3"}
    assert store.buckets["b"] == {"o/a": b"1", "o/b": b"2", "o/c": b"3"}
    assert sum("could not be uploaded while the program runs" in line for line in lines) == 1


def test_large_files_go_in_parts(store, watched, out, monkeypatch):
    monkeypatch.setattr(continuous, "PART", 10)
    with watched() as arrivals:
        (out / "big").write_bytes(b"x" * 11)
        assert arrivals.next() == "o/big"
    assert arrivals.early == {"o/big": b"x" * 11}


def test_an_error_of_ours_loses_nothing(store, watched, out, monkeypatch, capsys):
    monkeypatch.setattr(continuous._Watch, "_begin", lambda self: 1 / 0)
    lines = []
    with watched(lines=lines):
        (out / "a").write_bytes(b"1")
    assert store.buckets["b"] == {"o/a": b"1"}
    assert "all is uploaded when the job ends" in lines[0]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_only_outputs_that_ask_for_it(store, watched, out, tmp_path):
    other = wanted("EndOfJob", "y", "s3://b/p", "/opt/ml/processing/two")
    managed = {**wanted(name="z"), "AppManaged": True}
    prepare({"Outputs": [other]}, tmp_path)
    with watched(wanted(), other, managed) as arrivals:
        (tmp_path / "processing/two/f").write_bytes(b"1")
        (out / "a").write_bytes(b"1")
        assert arrivals.next() == "o/a"
    assert arrivals.early == {"o/a": b"1"}
    assert set(store.buckets["b"]) == {"o/a", "p/f"}


def test_only_a_store_elsewhere_is_asked_for_the_kms_key(store, access, tmp_path):
    both = S3Access(None, "us-east-1", buckets=(("b", access),))
    work = [wanted(), wanted(name="y", uri="s3://far/o", local="/opt/ml/processing/other")]
    prepare({"Outputs": work}, tmp_path)
    asked: dict[str, str | None] = {}

    def opener(access, bucket, kms_key=None):
        asked[bucket] = kms_key
        return store.open(access, bucket, kms_key)

    with uploading(
        work, kms_key="alias/mine", root=tmp_path, access=both, progress=pytest.fail, opener=opener
    ):
        assert asked == {"b": None, "far": "alias/mine"}


def test_nothing_is_started_without_such_an_output(store, access, tmp_path):
    before = threading.active_count()
    with uploading(
        [wanted("EndOfJob")],
        kms_key=None,
        root=tmp_path,
        access=access,
        progress=pytest.fail,
        opener=store.open,
    ):
        assert threading.active_count() == before


def test_no_descriptor_is_left_open(watched, out):
    with watched() as arrivals:  # the C library is looked for once
        pass
    before = len(list(Path("/proc/self/fd").iterdir()))
    with watched() as arrivals:
        (out / "d").mkdir()
        (out / "a").write_bytes(b"1")
        assert arrivals.next() == "o/a"
    assert len(list(Path("/proc/self/fd").iterdir())) == before
