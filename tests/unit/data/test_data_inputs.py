import errno
import json
import os
from pathlib import Path

import pytest
from failure_table import assert_told

from penstock.data import download as download_module
from penstock.data import inputs as inputs_module
from penstock.data.answers import StoreUnreachable
from penstock.data.inputs import fetch
from penstock.errors import ClientFailure, InternalFailure


def wanted(uri, name="x", local="/opt/ml/processing/in", **more):
    return {"InputName": name, "S3Input": {"S3Uri": uri, "LocalPath": local, "S3InputMode": "File", **more}}


@pytest.fixture
def bring(store, access, tmp_path):
    """fetch() into tmp_path; gives what was fetched and, as one dict, all files below /opt/ml."""

    def call(*inputs, index=0, count=1, lines=None, volume=None):
        fetched = fetch(
            inputs,
            index=index,
            count=count,
            root=tmp_path,
            access=access,
            progress=[].append if lines is None else lines.append,
            opener=store.open,
            volume=volume,
        )
        return fetched, tree(tmp_path)

    return call


def tree(root: Path) -> dict[str, bytes | None]:
    """Relative path -> content; None for an empty folder."""
    found: dict[str, bytes | None] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = None
    return found


def test_a_folder_and_a_file(store, bring):
    store.put("d/a", "d/s/b", "code/p.py", "d2/x")
    lines: list[str] = []
    fetched, files = bring(
        wanted("s3://b/d/"),
        wanted("s3://b/code/p.py", "code", "/opt/ml/processing/in/code"),
        lines=lines,
    )
    assert files == {
        "processing/in/a": b"d/a",
        "processing/in/s/b": b"d/s/b",
        "processing/in/code/p.py": b"code/p.py",
    }
    assert [(item.name, item.uri, item.objects, item.bytes) for item in fetched] == [
        ("x", "s3://b/d/", 2, 8),
        ("code", "s3://b/code/p.py", 1, 9),
    ]
    assert all(item.seconds > 0 for item in fetched)
    assert lines[0].startswith("Input 'x': s3://b/d/ -> /opt/ml/processing/in, 2 objects, 8 B, ")


def test_a_partial_prefix_takes_siblings_each_to_its_own_place(store, bring):
    store.put("d/tr/a", "d/tr2/b", "d/tr.csv", "d/x")
    _, files = bring(wanted("s3://b/d/tr"))
    assert files == {
        "processing/in/a": b"d/tr/a",
        "processing/in/tr2/b": b"d/tr2/b",
        "processing/in/tr.csv": b"d/tr.csv",
    }


def test_markers_become_folders_and_empty_objects_empty_files(store, bring):
    store.put("d/", "d/e/", "d/f/g/")
    store.buckets["b"]["d/zero"] = b""
    _, files = bring(wanted("s3://b/d/"))
    assert files == {"processing/in/e": None, "processing/in/f/g": None, "processing/in/zero": b""}


def test_a_folder_with_nothing_but_its_marker_is_an_empty_input(store, bring):
    store.put("d/")
    fetched, files = bring(wanted("s3://b/d/"))
    assert (fetched[0].objects, files) == (0, {"processing/in": None})


def test_unusual_names(store, bring):
    store.put("d/ünï ç", "d/a+b%20c", "d/-rf", "d/..x", "d/'\"*?#")
    _, files = bring(wanted("s3://b/d"))
    assert set(files) == {f"processing/in/{name}" for name in ("ünï ç", "a+b%20c", "-rf", "..x", "'\"*?#")}


@pytest.mark.parametrize("key", ["d/../../x", "d//etc/passwd", "d/./x", "d/" + "x" * 256, "d/a\0b"])
def test_keys_that_could_leave_the_folder_are_refused_by_name(store, bring, tmp_path, key):
    store.put(key, "d/good")
    with pytest.raises(ClientFailure) as caught:
        bring(wanted("s3://b/d/"))
    assert "Failed to download data. Input 'x': s3://b/d/" in str(caught.value)
    assert repr(key.removeprefix("d/")) in str(caught.value)
    assert tree(tmp_path) == {"processing/in": None}


def test_a_clash_within_and_between_inputs(store, bring):
    store.put("d/a", "d/a/b", "e/f", "g/f")
    with pytest.raises(ClientFailure, match=r"s3://b/d/a.* and s3://b/d/a.* clash"):
        bring(wanted("s3://b/d/"))
    with pytest.raises(ClientFailure, match=r"s3://b/e/f and s3://b/g/f clash"):
        bring(wanted("s3://b/e/"), wanted("s3://b/g/", "y"))


def test_a_prefix_without_objects_names_the_uri_and_leaves_the_folder(store, bring, tmp_path):
    with pytest.raises(
        ClientFailure, match=r"Failed to download data. Input 'x': s3://b/nothing/: no object"
    ):
        bring(wanted("s3://b/nothing/"))
    assert (tmp_path / "processing/in").is_dir()


def test_all_refusals_come_before_any_request(store, bring):
    store.broken = lambda key: pytest.fail("asked the store")
    with pytest.raises(ClientFailure, match="FastFile"):
        bring(wanted("s3://b/d/"), wanted("s3://b/d/", "y", S3InputMode="FastFile"))


def test_piped_inputs_are_left_to_others(bring):
    assert bring(wanted("s3://b/none", S3InputMode="Pipe")) == ([], {})


def test_a_wrong_local_path_names_the_input(bring):
    with pytest.raises(ClientFailure, match="Input 'x': LocalPath '/tmp/in' does not lie below"):
        bring(wanted("s3://b/d/", local="/tmp/in"))


def test_a_folder_that_can_not_be_made_is_named(store, bring, tmp_path):
    store.put("d/a")
    (tmp_path / "processing").write_text("in the way")
    with pytest.raises(InternalFailure, match=r"The folder .*/processing/in can't be made: "):
        bring(wanted("s3://b/d/"))


def test_shards_are_disjoint_and_complete(store, bring, tmp_path):
    store.put("d/", "d/m/", *(f"d/{n}" for n in range(10)))
    seen: list[str] = []
    for index in range(3):
        store.buckets["b"] = dict(sorted(store.buckets["b"].items(), key=lambda item: hash((item, index))))
        fetched, _ = bring(
            wanted("s3://b/d/", local=f"/opt/ml/processing/{index}", S3DataDistributionType="ShardedByS3Key"),
            index=index,
            count=3,
        )
        here = tmp_path / f"processing/{index}"
        assert (here / "m").is_dir()
        names = [path.name for path in here.iterdir() if path.is_file()]
        assert fetched[0].objects == len(names) in {3, 4}
        seen += names
    assert sorted(seen) == [str(n) for n in range(10)]


def test_more_hosts_than_objects_leaves_an_empty_folder(store, bring):
    store.put("d/a")
    fetched, files = bring(wanted("s3://b/d/", S3DataDistributionType="ShardedByS3Key"), index=1, count=2)
    assert (fetched[0].objects, files) == (0, {"processing/in": None})


def test_a_manifest_may_name_another_bucket(store, bring):
    store.buckets["other"] = {"p/a": b"1", "p/s/b": b"22", "p/c": b"no"}
    store.buckets["b"]["m.json"] = json.dumps([{"prefix": "s3://other/p/"}, "a", "s/b"]).encode()
    fetched, files = bring(wanted("s3://b/m.json", S3DataType="ManifestFile"))
    assert files == {"processing/in/a": b"1", "processing/in/s/b": b"22"}
    assert (fetched[0].objects, fetched[0].bytes) == (2, 3)


def test_a_manifest_entry_is_appended_as_it_is(store, bring):
    store.buckets["b"] |= {"p/train-1": b"1", "m": json.dumps([{"prefix": "s3://b/p/train-"}, "1"]).encode()}
    assert bring(wanted("s3://b/m", S3DataType="ManifestFile"))[1] == {"processing/in/1": b"1"}


@pytest.mark.parametrize("entry", ["../secret", "/abs", "a//b"])
def test_a_manifest_can_not_leave_the_folder(store, bring, entry):
    store.buckets["b"] |= {f"p/{entry}": b"1", "m": json.dumps([{"prefix": "s3://b/p/"}, entry]).encode()}
    with pytest.raises(ClientFailure, match="can't become a file"):
        bring(wanted("s3://b/m", S3DataType="ManifestFile"))


def test_a_manifest_has_a_size_that_is_read(store, bring, monkeypatch):
    assert inputs_module._MANIFEST_LIMIT == 256 << 20
    content = json.dumps([{"prefix": "s3://b/p/"}, "a"]).encode()
    store.buckets["b"] |= {"p/a": b"1", "m": content}
    monkeypatch.setattr(inputs_module, "_MANIFEST_LIMIT", len(content))
    assert bring(wanted("s3://b/m", S3DataType="ManifestFile"))[1] == {"processing/in/a": b"1"}
    monkeypatch.setattr(inputs_module, "_MANIFEST_LIMIT", len(content) - 1)
    with pytest.raises(ClientFailure, match=r"Input 'x'.*at most"):
        bring(wanted("s3://b/m", S3DataType="ManifestFile"))


def test_a_manifest_with_an_object_that_is_not_there(store, bring):
    store.buckets["b"]["m"] = json.dumps([{"prefix": "s3://b/p/"}, "gone"]).encode()
    with pytest.raises(ClientFailure, match=r"Input 'x': s3://b/p/gone: there is no such object"):
        bring(wanted("s3://b/m", S3DataType="ManifestFile"))


def test_app_managed_inputs_are_left_alone(bring):
    assert bring({"InputName": "x", "AppManaged": True, "S3Input": {"S3Uri": "s3://b/none"}}) == ([], {})


def test_large_objects_come_in_parts(store, bring, monkeypatch):
    monkeypatch.setattr(download_module, "PART", 1000)
    monkeypatch.setattr(download_module, "_WHOLE", 1000)
    content = {f"d/{size}": os.urandom(size) for size in (999, 1000, 1001, 10_000, 10_001)}
    store.buckets["b"] |= content
    fetched, files = bring(wanted("s3://b/d/"))
    assert files == {key.replace("d/", "processing/in/"): data for key, data in content.items()}
    assert fetched[0].bytes == sum(map(len, content.values()))


def test_a_large_object_that_changes_is_noticed_and_leaves_no_file(store, bring, monkeypatch, tmp_path):
    monkeypatch.setattr(download_module, "PART", 10)
    monkeypatch.setattr(download_module, "_WHOLE", 10)
    store.buckets["b"]["d/big"] = b"x" * 100
    reads: list[str] = []

    def change(key):
        reads.append(key)
        if len(reads) == 6:
            store.buckets["b"]["d/big"] = b"y" * 100

    store.broken = change
    with pytest.raises(ClientFailure, match="s3://b/d/big: it changed"):
        bring(wanted("s3://b/d/"))
    assert tree(tmp_path) == {"processing/in": None}


def test_a_failing_store_names_input_and_object_and_keeps_its_kind(store, bring):
    store.put("d/a")
    listed: list[str] = []

    def fail(key):
        listed.append(key)
        return StoreUnreachable(f"s3://b/{key}: no answer") if len(listed) > 1 else None

    store.broken = fail
    with pytest.raises(StoreUnreachable) as caught:
        bring(wanted("s3://b/d/"))
    assert caught.value.reason == "ClientError: Failed to download data. Input 'x': s3://b/d/a: no answer"


def test_a_full_disk_is_named_before_and_during_the_transfer(store, bring, monkeypatch, tmp_path):
    store.put("d/a")
    real = os.statvfs(tmp_path)
    with monkeypatch.context() as patch:
        full = os.statvfs_result((4096, 4096, 9, 0, 0, *real[5:]))
        patch.setattr("penstock.disk.os.statvfs", lambda path: full)
        with pytest.raises(
            InternalFailure,
            match=r"inputs have 3 B, more than there is room for\. The disk of .* has 0 B left",
        ):
            bring(wanted("s3://b/d/"))

    def pwrite(descriptor, data, offset):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download_module.os, "pwrite", pwrite)
    with pytest.raises(
        InternalFailure,
        match=r"s3://b/d/a can't be written to .*/in/a: No space left on device. The disk of .* has",
    ):
        bring(wanted("s3://b/d/"))
    assert tree(tmp_path) == {"processing/in": None}


def test_inputs_larger_than_the_volume_are_refused_before_a_byte_is_fetched(store, bring, tmp_path):
    store.put("d/a")
    store.put("d/b")
    with pytest.raises(ClientFailure) as caught:
        bring(wanted("s3://b/d/"), volume=0)
    assert_told("the inputs are larger than the volume", caught.value.reason)
    assert tree(tmp_path) == {"processing/in": None}
    assert bring(wanted("s3://b/d/"), volume=1)[1].keys() == {"processing/in/a", "processing/in/b"}


def test_only_this_hosts_share_of_an_input_must_fit_its_volume(store, bring, monkeypatch):
    monkeypatch.setattr(inputs_module, "GIB", 4)
    store.put("d/a")
    store.put("d/b")
    sharded = wanted("s3://b/d/", S3DataDistributionType="ShardedByS3Key")
    assert bring(sharded, count=2, volume=1)[1].keys() == {"processing/in/a"}
    with pytest.raises(ClientFailure, match="VolumeSizeInGB is 1"):
        bring(sharded, count=1, volume=1)


def test_a_write_that_takes_only_a_part_is_continued(store, bring, monkeypatch):
    store.put("d/abcdefgh")
    real = os.pwrite
    monkeypatch.setattr(download_module.os, "pwrite", lambda fd, data, at: real(fd, data[:3], at))
    assert bring(wanted("s3://b/d/"))[1] == {"processing/in/abcdefgh": b"d/abcdefgh"}


def test_remains_of_an_interrupted_fetch_do_no_harm(store, bring, tmp_path):
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming/0").write_bytes(b"half")
    store.put("d/a")
    assert bring(wanted("s3://b/d/"))[1] == {"processing/in/a": b"d/a"}
