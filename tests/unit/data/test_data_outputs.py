import errno
import hashlib
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.data import outputs as outputs_module
from penstock.data.answers import NoSuchBucket, StoreFailing, StoreFull, StoreUnreachable
from penstock.data.outputs import check_buckets, prepare, upload
from penstock.errors import ClientFailure, InternalFailure
from penstock.job.run import S3Access


def wanted(uri="s3://b/o", name="x", local="/opt/ml/processing/out"):
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": local, "S3UploadMode": "EndOfJob"}}


@pytest.fixture
def out(tmp_path):
    prepare({"Outputs": [wanted()]}, tmp_path)
    return tmp_path / "processing/out"


@pytest.fixture
def send(store, access, tmp_path):
    def call(*outputs, kms_key=None, lines=None, access=access, **more):
        return upload(
            outputs or [wanted()],
            kms_key=kms_key,
            root=tmp_path,
            access=access,
            progress=[].append if lines is None else lines.append,
            opener=store.open,
            **more,
        )

    return call


def test_a_bucket_that_is_not_there_is_found_before_the_program_runs(store, access, tmp_path):
    def check(*uris, known=()):
        config = {"Outputs": [wanted(uri, f"o{n}") for n, uri in enumerate(uris)]}
        check_buckets(config, tmp_path, access, known, store.open)

    check("s3://b/o", "s3://elsewhere/o", known={"elsewhere"})
    with pytest.raises(
        NoSuchBucket, match=r"Output 'o1': s3://elsewhere/o: the bucket 'elsewhere' does not exist"
    ):
        check("s3://b/o", "s3://elsewhere/o")
    store.broken = lambda _: ClientFailure("you may not")  # list, but perhaps write
    store.buckets["b"]["penstock/no-object-has-this-prefix"] = b""
    check("s3://b/o")


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_prepare_makes_the_folders(tmp_path):
    config = {
        "Outputs": [
            wanted(local="/opt/ml/processing/a/b"),
            wanted(name="y", local="/opt/ml/processing/a/"),
            {"OutputName": "z", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "f"}},
        ],
    }
    prepare(config, tmp_path)
    prepare(config, tmp_path)
    assert (tmp_path / "processing/a/b").is_dir()


@pytest.mark.parametrize("config", [None, {}, {"Outputs": []}])
def test_prepare_without_outputs(tmp_path, config):
    prepare(config, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (wanted("file:///tmp/x"), "not an S3 URI"),
        (wanted(local="/tmp/x"), "does not lie below"),
        (wanted(local="/opt/ml/processing/../../etc"), "can't become"),
        ({"OutputName": "x", "S3Output": {"S3Uri": "s3://b/o"}}, "LocalPath ''"),
    ],
)
def test_prepare_refuses_what_could_not_be_uploaded(tmp_path, output, cause):
    with pytest.raises(ClientFailure, match=f"Output 'x': .*{cause}"):
        prepare({"Outputs": [output]}, tmp_path)


@pytest.mark.parametrize(
    ("uri", "base"),
    [("s3://b/o", "o/"), ("s3://b/o/", "o/"), ("s3://b", ""), ("s3://b/", ""), ("s3://b/p//o//", "p/o/")],
)
def test_keys_follow_the_uri_and_the_relative_path(store, send, out, uri, base):
    fill(out, "a.csv", "s/ünï ç", "s/t/.hidden")
    result = send(wanted(uri))[0]
    assert store.buckets["b"] == {
        f"{base}a.csv": b"a.csv",
        f"{base}s/ünï ç": "s/ünï ç".encode(),
        f"{base}s/t/.hidden": b"s/t/.hidden",
    }
    assert (result.name, result.files, result.skipped) == ("x", 3, [])
    assert result.bytes == sum(map(len, store.buckets["b"].values()))


def test_continuous_outputs_are_uploaded_at_the_end_and_nothing_is_deleted(store, send, out):
    store.buckets["b"] = {"o/before": b"kept"}
    fill(out, "a.csv")
    continuous = wanted()
    continuous["S3Output"]["S3UploadMode"] = "Continuous"
    assert send(continuous)[0].files == 1
    assert store.buckets["b"] == {"o/before": b"kept", "o/a.csv": b"a.csv"}


def test_an_output_without_anything_is_said_to_be_so(send, out):
    assert list(out.iterdir()) == []
    lines: list[str] = []
    result = send(lines=lines)[0]
    assert (result.files, result.skipped) == (0, [])
    assert lines == ["Output 'x': nothing was written to /opt/ml/processing/out."]


def test_empty_and_hard_linked_files_are_plain_files(store, send, out):
    fill(out, "a")
    (out / "zero").touch()
    (out / "same").hardlink_to(out / "a")
    send()
    assert store.buckets["b"] == {"o/a": b"a", "o/zero": b"", "o/same": b"a"}


def test_what_is_no_file_is_skipped_with_a_line(store, send, out, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    fill(secret, "key")
    fill(out, "good")
    (out / "to-file").symlink_to(secret / "key")
    (out / "to-folder").symlink_to(secret)
    (out / "to-good").symlink_to("good")
    (out / "dangling").symlink_to("nowhere")
    os.mkfifo(out / "pipe")
    (out / "empty").mkdir()
    monkeypatch.chdir(out)  # the path of a Unix socket is limited to 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
    lines: list[str] = []
    result = send(lines=lines)[0]
    assert store.buckets["b"] == {"o/good": b"good"}
    link, special = "a symbolic link, and those are not followed", "a socket, FIFO or device"
    assert sorted(result.skipped) == sorted(
        [
            *(f"'{name}': {link}" for name in ("to-file", "to-folder", "to-good", "dangling")),
            *(f"'{name}': {special}" for name in ("pipe", "sock")),
            "'empty': an empty folder",
        ],
    )
    for text in result.skipped:
        assert f"Output 'x': not uploaded: {text}." in lines


def test_a_link_in_the_place_of_the_folder_or_above_it_is_not_followed(store, send, out, tmp_path):
    fill(tmp_path / "secret/out", "key")
    out.rmdir()
    out.symlink_to(tmp_path / "secret/out")
    assert "symbolic link" in send()[0].skipped[0]
    out.unlink()
    (tmp_path / "processing").rmdir()
    (tmp_path / "processing").symlink_to(tmp_path / "secret")
    assert "symbolic link" in send()[0].skipped[0]
    assert store.buckets["b"] == {}


def test_a_folder_swapped_for_a_link_during_the_walk_is_not_followed(store, send, out, tmp_path, monkeypatch):
    fill(tmp_path / "secret", "key")
    fill(out, "d/key", "f")
    real = os.open

    def swap(path, flags, *args, **keywords):
        if path in {"d", "f"}:
            target = tmp_path / ("secret" if path == "d" else "secret/key")
            (out / path).rename(tmp_path / f"moved-{path}")
            (out / path).symlink_to(target)
        return real(path, flags, *args, **keywords)

    monkeypatch.setattr(outputs_module.os, "open", swap)
    with pytest.raises(InternalFailure, match="can't be read"):
        send()
    assert store.buckets["b"] == {}


def test_a_file_swapped_for_a_fifo_is_skipped_without_waiting(store, send, out, monkeypatch):
    fill(out, "f")
    real = os.open

    def swap(path, flags, *args, **keywords):
        if path == "f":
            (out / path).unlink()
            os.mkfifo(out / path)
        return real(path, flags, *args, **keywords)

    monkeypatch.setattr(outputs_module.os, "open", swap)
    assert send()[0].skipped == ["'f': a socket, FIFO or device"]


def test_a_folder_that_the_program_removed(store, send, out):
    out.rmdir()
    assert send()[0].skipped == ["'.': the folder no longer exists"]


def test_a_file_in_the_place_of_the_folder_is_a_failure(send, out):
    out.rmdir()
    out.write_text("the result")
    with pytest.raises(InternalFailure, match="'/opt/ml/processing/out' can't be read: Not a directory"):
        send()


def test_a_name_that_is_not_utf8_fails_by_name_after_the_others(store, send, out):
    fill(out, "a", "z")
    Path(os.fsdecode(os.fsencode(out) + b"/b\xff")).touch()
    with pytest.raises(
        ClientFailure, match=r"Failed to upload data. Output 'x': 'b.*xff' can't be .* not UTF-8"
    ):
        send()
    assert set(store.buckets["b"]) == {"o/a", "o/z"}


def test_a_key_longer_than_s3_allows_fails_by_name(store, send, out):
    fill(out, "/".join(["d" * 200] * 6), "a")
    with pytest.raises(ClientFailure, match="longer than 1024 bytes"):
        send()
    assert set(store.buckets["b"]) == {"o/a"}


@pytest.mark.parametrize("depth", [510, 1500])
def test_the_deepest_nesting_keeps_no_file_from_s3(store, send, out, depth):
    fill(out, "a")
    folder = os.open(out, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("f", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    deepest = "o/" + "d/" * depth + "f"
    if len(deepest) > 1024:
        with pytest.raises(ClientFailure, match="longer than 1024 bytes"):
            send()
    else:
        send()
    assert set(store.buckets["b"]) == {"o/a"} | ({deepest} if len(deepest) <= 1024 else set())
    subprocess.run(["rm", "-r", str(out)], check=True)  # deeper than Python goes


def test_a_file_that_can_not_be_read_fails_by_name(store, send, out, monkeypatch):
    fill(out, "a", "z")
    real = os.open

    def deny(path, flags, *args, **keywords):  # root would read a file of any mode
        if path == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *args, **keywords)

    monkeypatch.setattr(outputs_module.os, "open", deny)
    with pytest.raises(InternalFailure, match="'a' can't be read: Permission denied"):
        send()
    assert set(store.buckets["b"]) == {"o/z"}


def test_what_the_own_store_has_no_room_for_fails_at_once_and_alone(store, access, send, out, tmp_path):
    fill(out, "a", "huge", "z")
    os.truncate(out / "huge", 1 << 43)  # with nothing in it; larger than the disk
    with pytest.raises(
        StoreFull, match=r"'huge' has 8192\.0 GiB, more than its store has room for\. The disk of .* has"
    ):
        send(access=replace(access, own=True))
    assert set(store.buckets["b"]) == {"o/a", "o/z"}


def test_one_failed_file_keeps_no_other_from_s3(store, send, out, tmp_path):
    fill(out, *(f"f{n}" for n in range(40)))
    fill(tmp_path / "processing/two", "g")
    store.broken = lambda key: ClientFailure(f"s3://b/{key}: refused") if key in {"o/f7", "o/f8"} else None
    lines: list[str] = []
    with pytest.raises(ClientFailure) as caught:
        send(wanted(), wanted("s3://b/p", "y", "/opt/ml/processing/two"), lines=lines)
    assert caught.value.reason.startswith("ClientError: Failed to upload data. Output 'x': s3://b/o/f")
    assert "1 more of its files failed." in str(caught.value)
    assert len(store.buckets["b"]) == 39
    assert "p/g" in store.buckets["b"]
    assert sum("FAILED" in line for line in lines) == 2


@pytest.mark.parametrize("kind", [StoreUnreachable, StoreFailing])
def test_a_silent_or_broken_store_is_not_asked_for_every_file(store, send, out, kind):
    fill(out, *(f"f{n:03}" for n in range(200)))
    store.broken = lambda key: kind(f"s3://b/{key}: no answer")
    with pytest.raises(kind, match=r"no answer.*The rest was not tried"):
        send()
    assert store.writes <= 17


def test_a_store_that_refuses_everything_is_left_after_a_while(store, send, out):
    fill(out, *(f"f{n:03}" for n in range(200)))
    store.broken = lambda key: ClientFailure(f"s3://b/{key}: refused")
    with pytest.raises(ClientFailure, match=r"refused.*more of its files failed. The rest was not tried"):
        send()
    assert 64 <= store.writes <= 64 + 17


def test_names_that_no_object_can_have_keep_no_other_file_from_s3(
    server, scripted, out, tmp_path, monkeypatch
):
    odd = [f"odd\n{n}" for n in range(100)]
    fill(out, *odd, "z")
    real = os.scandir
    monkeypatch.setattr("penstock.data.folder.os.scandir", lambda folder: _InOrder(real(folder)))
    server.answers = [(200, b"", ("ETag", hashlib.md5(b"z", usedforsecurity=False).hexdigest()))]
    with pytest.raises(ClientFailure, match=r"can't be addressed.* 99 more of its files failed\.$"):
        upload([wanted()], kms_key=None, root=tmp_path, access=scripted, progress=[].append)
    assert [asked.path for asked in server.asked] == ["/b/o/z"]


class _InOrder:
    """A listing of a folder in the order of the names."""

    def __init__(self, entries):
        self.entries = entries

    def __enter__(self):
        return iter(sorted(self.entries, key=lambda entry: entry.name))

    def __exit__(self, *_):
        self.entries.close()


def test_large_files_go_in_parts(store, send, out, monkeypatch):
    monkeypatch.setattr(outputs_module, "PART", 10)
    (out / "big").write_bytes(b"x" * 11)
    (out / "small").write_bytes(b"x" * 10)
    assert send()[0].bytes == 21
    assert store.buckets["b"] == {"o/big": b"x" * 11, "o/small": b"x" * 10}


def test_the_kms_key_is_handed_on_to_a_store_elsewhere(store, out, tmp_path):
    elsewhere = S3Access(None, "us-east-1")
    upload(
        [wanted()],
        kms_key="alias/mine",
        root=tmp_path,
        access=elsewhere,
        progress=lambda line: pytest.fail(line) if "KmsKeyId" in line else None,
        opener=store.open,
    )
    assert store.kms_keys == {"alias/mine"}


def test_the_store_of_this_machine_is_not_asked_for_a_kms_key_and_the_log_says_so(store, send, out):
    lines: list[str] = []
    send(kms_key="alias/mine", lines=lines)
    assert store.kms_keys == {None}
    assert lines[0].startswith("KmsKeyId is not applied")


def test_a_bucket_on_this_machine_is_not_asked_for_the_kms_key_of_a_store_elsewhere(store, access, tmp_path):
    both = S3Access(None, "us-east-1", buckets=(("b", access),))
    work = [wanted(), wanted("s3://far/o", "y", "/opt/ml/processing/other")]
    prepare({"Outputs": work}, tmp_path)
    asked: dict[str, str | None] = {}

    def opener(access, bucket, kms_key=None):
        asked[bucket] = kms_key
        return store.open(access, bucket, kms_key)

    lines: list[str] = []
    upload(work, kms_key="alias/mine", root=tmp_path, access=both, progress=lines.append, opener=opener)
    assert asked == {"b": None, "far": "alias/mine"}
    assert lines[0].startswith("KmsKeyId is not applied")


def test_no_descriptor_is_left_open(store, send, out):
    fill(out, "a", "d/e/f", "d/g")
    (out / "link").symlink_to("a")
    before = len(list(Path("/proc/self/fd").iterdir()))
    send()
    store.broken = lambda key: StoreUnreachable("silent")
    with pytest.raises(StoreUnreachable):
        send()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_of_several_instances_all_names_are_kept_and_of_equal_ones_the_last(store, access, tmp_path):
    for host in ("algo-1", "algo-2"):
        prepare({"Outputs": [wanted()]}, tmp_path / host)
        fill(tmp_path / host / "processing/out", host, "both")
        (tmp_path / host / "processing/out/both").write_text(f"of {host}")
        upload(
            [wanted()], kms_key=None, root=tmp_path / host, access=access, progress=print, opener=store.open
        )
    assert store.buckets["b"] == {"o/algo-1": b"algo-1", "o/algo-2": b"algo-2", "o/both": b"of algo-2"}


def test_each_stored_object_is_recorded_and_no_other(store, send, out, monkeypatch):
    monkeypatch.setattr(outputs_module, "PART", 10)
    fill(out, "small", "larger than ten bytes", "bad")
    store.broken = lambda key: ClientFailure("refused") if key == "o/bad" else None
    recorded = []
    with pytest.raises(ClientFailure, match="refused"):
        send(record=lambda *told: recorded.append(told))
    assert sorted(recorded) == [
        ("x", f"s3://b/o/{name}", len(name), hashlib.sha256(name.encode()).hexdigest())
        for name in ("larger than ten bytes", "small")
    ]


def test_a_file_that_is_written_while_it_is_read_is_not_stored(store, send, out, monkeypatch):
    fill(out, "growing")
    os.utime(out / "growing", ns=(0, 0))
    unchanged = outputs_module.unchanged

    def meddle(before, after):
        (out / "growing").write_text("gnikorg")
        return unchanged(before, os.stat(out / "growing"))

    monkeypatch.setattr(outputs_module, "unchanged", meddle)
    with pytest.raises(ClientFailure, match="'growing' changed while it was uploaded"):
        send()
    assert store.buckets["b"] == {}


def test_a_long_list_of_what_is_left_out_is_cut_on_record_and_whole_in_the_log(send, out):
    for number in range(150):
        (out / f"link{number}").symlink_to("nowhere")
    lines: list[str] = []
    assert len(send(lines=lines)[0].skipped) == 100
    assert sum("a symbolic link" in line for line in lines) == 150


def test_app_managed_outputs_are_left_alone(send):
    assert send({"OutputName": "x", "AppManaged": True}) == []
