import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.data import pruning, shelf
from penstock.data.cache import Cache
from penstock.data.inputs import fetch
from penstock.data.storage import PART
from penstock.errors import ClientFailure, InternalFailure
from penstock.job.run import S3Access

IN = "/opt/ml/processing/in"


def wanted(uri, name="x", local=IN, **more):
    return {"InputName": name, "S3Input": {"S3Uri": uri, "LocalPath": local, "S3InputMode": "File", **more}}


@pytest.fixture
def node(store, access, tmp_path):
    """A node: `run` is one job's fetch; the cache is closed, as at the end of a job, unless `open_` is given."""

    class Node:
        folder = tmp_path / "cache"
        limit = 1 << 30
        jobs = 0

        def run(self, *inputs, cache=None, lines=None, **more):
            self.jobs += 1
            root = tmp_path / f"job{self.jobs}"
            root.mkdir()
            tell = [].append if lines is None else lines.append
            given = {"index": 0, "count": 1, "progress": tell, "access": access, **more}
            if cache is not None:
                return fetch(inputs, root=root, opener=store.open, cache=cache, **given)
            with Cache(self.folder, self.limit) as own:
                fetched = fetch(inputs, root=root, opener=store.open, cache=own, **given)
                trees = [content(Path(one.mount)) if one.mount else content(root) for one in fetched]
                own.settle()
            return trees if len(trees) > 1 else trees[0]

        def leftovers(self):
            return [str(path) for name in ("incoming", "trash") for path in (self.folder / name).rglob("*")]

    return Node()


def content(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def many(store):
    """More objects than are downloaded past the cache."""
    store.put("d/", "d/empty/", *(f"d/{n}/file" for n in range(shelf.LEAST_OBJECTS)))
    return {f"{n}/file": f"d/{n}/file".encode() for n in range(shelf.LEAST_OBJECTS)}


def test_a_second_job_on_the_same_input_downloads_nothing(node, store, many):
    assert node.run(wanted("s3://b/d/")) == many
    assert sorted(store.gets) == sorted(f"d/{name}" for name in many)
    store.gets.clear()
    lines: list[str] = []
    assert node.run(wanted("s3://b/d/"), lines=lines) == many
    assert store.gets == []
    assert "64 objects, 64 of them from the cache" in lines[0]
    assert node.leftovers() == []


def test_a_bucket_of_the_same_name_in_another_store_is_another_one(node, store, many, access):
    moved = replace(access, buckets=(("b", S3Access("http://127.0.0.1:2", "us-east-1")),))
    assert node.run(wanted("s3://b/d/")) == many
    for downloaded in (len(many), 0):
        store.gets.clear()
        assert node.run(wanted("s3://b/d/"), access=moved) == many
        assert len(store.gets) == downloaded


def test_folder_markers_are_folders_of_the_mount(node, many):
    with Cache(node.folder, node.limit) as cache:
        (fetched,) = node.run(wanted("s3://b/d"), cache=cache)
        assert (Path(fetched.mount) / "empty").is_dir()
        assert (fetched.objects, fetched.local_path) == (64, IN)
        assert fetched.bytes == sum(map(len, many.values()))


def test_only_what_changed_is_downloaded(node, store, many):
    node.run(wanted("s3://b/d/"))
    store.gets.clear()
    store.buckets["b"]["d/7/file"] = b"another content"
    store.put("d/new")
    assert node.run(wanted("s3://b/d/")) == many | {"7/file": b"another content", "new": b"d/new"}
    assert sorted(store.gets) == ["d/7/file", "d/new"]


def test_another_prefix_with_the_same_objects_downloads_nothing(node, store, many):
    node.run(wanted("s3://b/d/"))
    store.gets.clear()
    assert node.run(wanted("s3://b/")) == {f"d/{name}": data for name, data in many.items()}
    assert store.gets == []


def test_large_objects_are_kept_and_their_sums_are_right(node, store):
    store.buckets["b"] |= {"d/big": os.urandom(2 * PART + 5), "d/exact": bytes(PART), "d/empty": b""}
    assert pruning.CHUNK == PART  # else no sum would be right
    for _ in range(2):
        node.run(wanted("s3://b/d/"))
    assert len(store.gets) == 5
    assert pruning.verify(node.folder) == pruning.Verdict(3, (), 0, 0)


def test_small_inputs_are_left_alone(node, store):
    store.put("d/a")
    assert node.run(wanted("s3://b/d/")) == {"processing/in/a": b"d/a"}
    assert not (node.folder / "trees").exists()


def test_shards_are_kept_apart(node, store, many):
    shares = [
        node.run(wanted("s3://b/d/", S3DataDistributionType="ShardedByS3Key"), index=index, count=2)
        for index in (0, 1, 0)
    ]
    assert shares[0] == shares[2]
    assert shares[0] | shares[1] == many
    assert len(store.gets) == len(many)


def test_two_jobs_at_once_download_once(node, store, many):
    """The second waits until the first has made the input known, and then has it."""
    waits, results, lines = threading.Event(), [], []
    with Cache(node.folder, node.limit) as first:
        node.run(wanted("s3://b/d/"), cache=first)

        def second():
            with Cache(node.folder, node.limit) as cache:
                (fetched,) = node.run(wanted("s3://b/d/"), cache=cache, check=waits.set, lines=lines)
                results.append(content(Path(fetched.mount)))

        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        first.settle()
        thread.join(30)
    assert results == [many]
    assert len(store.gets) == len(many)
    assert [line for line in lines if "waited for" in line] == [
        "Input 'x': another job fetches the same just now, and it is waited for."
    ]


def test_who_waits_can_be_stopped(node, many):
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    with Cache(node.folder, node.limit) as first, Cache(node.folder, node.limit) as second:
        node.run(wanted("s3://b/d/"), cache=first)
        with pytest.raises(Stopped):
            node.run(wanted("s3://b/d/"), cache=second, check=stop)


def test_nobody_waits_for_what_could_not_be_kept(node, many):
    """The one who fetched it still has it mounted, but gets it known to nobody: the next one fetches it anew."""
    with Cache(node.folder, node.limit) as first:
        (mine,) = node.run(wanted("s3://b/d/"), cache=first)
        (node.folder / "objects").write_text("in the way")
        mounted = os.open(mine.mount, os.O_RDONLY)
        first.settle()
        first._settling.join()
        (node.folder / "objects").unlink()
        tries = iter(range(3))
        assert node.run(wanted("s3://b/d/"), check=lambda: next(tries)) == many
        assert content(Path(f"/proc/self/fd/{mounted}")) == many
        os.close(mounted)
    assert node.leftovers() == []
    assert node.run(wanted("s3://b/d/")) == many


@pytest.mark.parametrize("name", ["incoming", "lock"])
def test_a_job_does_without_a_cache_that_can_not_be_written(node, many, name):
    node.folder.mkdir()
    (node.folder / name).mkdir() if name == "lock" else (node.folder / name).touch()
    with Cache(node.folder, node.limit) as first:
        (fetched,) = node.run(wanted("s3://b/d/"), cache=first)
        assert (fetched.mount, fetched.objects) == (None, len(many))
        assert not list(node.folder.glob("incoming/*"))


def test_a_claim_that_fails_is_let_go(node, many, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Cache(node.folder, node.limit) as first, monkeypatch.context() as patch:
        patch.setattr("penstock.data.cache.Tree", full)
        (fetched,) = node.run(wanted("s3://b/d/"), cache=first)
        assert fetched.mount is None
        patch.undo()
        tries = iter(range(3))
        assert node.run(wanted("s3://b/d/"), check=lambda: next(tries)) == many


def test_a_failed_download_leaves_nothing_and_lets_the_next_try(node, store, many):
    store.broken = lambda key: InternalFailure("broken") if store.gets[3:] else None
    with pytest.raises(InternalFailure, match="broken"):
        node.run(wanted("s3://b/d/"))
    assert node.leftovers() == []
    store.broken = lambda key: None
    assert node.run(wanted("s3://b/d/")) == many


def test_an_object_that_changes_after_the_listing_is_not_kept_under_the_old_name(node, store, many):
    def change(key):
        if len(store.gets) == 3:
            store.buckets["b"] |= {key: b"new" for key in store.buckets["b"] if not key.endswith("/")}

    store.broken = change
    with pytest.raises(ClientFailure, match="changed"):
        node.run(wanted("s3://b/d/"))
    assert node.run(wanted("s3://b/d/")) == dict.fromkeys(many, b"new")


def test_the_least_recently_used_goes_first_and_what_is_in_use_stays(node, store):
    size = shelf.LEAST_BYTES
    node.limit = 3 * size
    for name in "abcd":
        store.buckets["b"][f"{name}/x"] = name.encode() * size
    with Cache(node.folder, node.limit) as job:
        node.run(wanted("s3://b/a/"), cache=job)
        job.settle()
        node.run(wanted("s3://b/b/"))
        os.utime(_tree(node, "s3://b/b/"), (1, 1))
        node.run(wanted("s3://b/c/"))
        os.utime(_tree(node, "s3://b/c/"), (2, 2))
        os.utime(_tree(node, "s3://b/a/"), (0, 0))
        node.run(wanted("s3://b/d/"))
        assert _uris(node) == {"s3://b/a/", "s3://b/c/", "s3://b/d/"}
        assert {kept.about.uri for kept in pruning.listing(node.folder) if kept.in_use} == {"s3://b/a/"}
    assert pruning.prune(node.folder, size) == size
    assert _uris(node) == {"s3://b/d/"}
    assert sum(path.stat().st_size for path in pruning.objects(node.folder)) == size


def test_small_and_empty_objects_count_by_the_blocks_that_they_take(node, store, many):
    store.buckets["b"] |= {f"e/{n}": b"" for n in range(shelf.LEAST_OBJECTS)}
    node.limit = 3 * shelf.LEAST_OBJECTS * pruning.BLOCK
    node.run(wanted("s3://b/d/"))
    node.run(wanted("s3://b/e/"))
    os.utime(_tree(node, "s3://b/d/"), (1, 1))
    assert pruning.read_usage(node.folder) >= 2 * shelf.LEAST_OBJECTS * pruning.BLOCK
    assert pruning.room(node.folder) == 2 * shelf.LEAST_OBJECTS * pruning.BLOCK
    store.buckets["b"] |= {f"f/{n}": b"f" for n in range(2 * shelf.LEAST_OBJECTS)}
    node.run(wanted("s3://b/f/"))
    assert _uris(node) == {"s3://b/e/", "s3://b/f/"}
    assert pruning.prune(node.folder, 0) == 0
    assert _uris(node) == set()


def test_an_input_larger_than_the_cache_or_than_its_room_goes_past_it(node, store):
    size = shelf.LEAST_BYTES
    store.buckets["b"] |= {"a/x": bytes(size), "b/x": b"b" * size}
    node.limit = size - 1
    assert list(node.run(wanted("s3://b/a/"))) == ["processing/in/x"]
    node.limit = size
    with Cache(node.folder, node.limit) as job:
        node.run(wanted("s3://b/a/"), cache=job)
        assert list(node.run(wanted("s3://b/b/"))) == ["processing/in/x"]
    assert node.leftovers() == []


@pytest.mark.parametrize(
    ("second", "own", "mounted"),
    [
        ({"local": IN}, (), [False, False]),  # one folder for both
        ({"local": f"{IN}/code"}, (), [True, False]),
        ({"local": f"{IN}/0"}, (), [False, False]),  # the first has files there
        ({"local": "/opt/ml/processing"}, (), [True, False]),
        ({}, (IN,), [False, False]),
        ({}, ("/opt/ml/processing",), [False, False]),
        ({}, (f"{IN}/7/out",), [True, False]),
        ({}, (f"{IN}/7",), [False, False]),
        ({}, (f"{IN}/out",), [True, False]),
    ],
)
def test_a_mount_never_hides_what_must_be_seen(node, store, many, second, own, mounted):
    store.put("s/y")
    other = wanted("s3://b/s/", "y", **({"local": "/opt/ml/processing/other"} | second))
    with Cache(node.folder, node.limit) as cache:
        fetched = node.run(wanted("s3://b/d/"), other, cache=cache, own=own)
    assert [one.mount is not None for one in fetched] == mounted


def test_an_input_that_would_be_hidden_by_a_mount_keeps_it_away(node, store, many):
    store.put("s/in/y")
    with Cache(node.folder, node.limit) as cache:
        inputs = (wanted("s3://b/d/"), wanted("s3://b/s/", "y", "/opt/ml/processing"))
        assert [one.mount for one in node.run(*inputs, cache=cache)] == [None, None]


@pytest.mark.parametrize(
    ("streamed", "mounted"),
    [(f"{IN}/pipe", False), (f"{IN}/1/2/pipe", False), (f"{IN}-pipe", True), (IN.replace("in", "i"), True)],
)
def test_a_mount_never_hides_a_fifo(node, store, many, streamed, mounted):
    pipe = wanted("s3://b/d/", "p", streamed, S3InputMode="Pipe")
    with Cache(node.folder, node.limit) as cache:
        (fetched,) = node.run(wanted("s3://b/d/"), pipe, cache=cache)
    assert (fetched.mount is not None) == mounted


def test_verify_finds_and_removes_what_was_damaged(node, store, many):
    node.run(wanted("s3://b/d/"))
    damaged = sorted(pruning.objects(node.folder))[5]
    damaged.write_bytes(damaged.read_bytes()[::-1])
    with Cache(node.folder, node.limit) as job:
        node.run(wanted("s3://b/d/"), cache=job)
        assert pruning.verify(node.folder) == pruning.Verdict(64, (damaged.name,), 0, 1)
        store.gets.clear()
        assert node.run(wanted("s3://b/d/")) == many
        assert len(store.gets) == 1  # all others were at hand
    assert pruning.verify(node.folder).damaged == ()


def test_a_file_that_was_cut_short_is_not_taken(node, store, many):
    """As a power cut may leave it on file systems that promise little."""
    node.run(wanted("s3://b/d/"))
    next(pruning.objects(node.folder)).write_bytes(b"")
    store.gets.clear()
    assert node.run(wanted("s3://b/")) == {f"d/{name}": data for name, data in many.items()}
    assert len(store.gets) == 1


def test_space_is_given_back_when_the_disk_is_full(node, store, many, monkeypatch):
    node.run(wanted("s3://b/d/"))
    store.put("small/x")
    real = os.statvfs(node.folder)

    def statvfs(path):
        full = (4096, 4096, 9, 9, 9 if not _uris(node) else 0, *real[5:])
        return os.statvfs_result(full)

    monkeypatch.setattr("penstock.disk.os.statvfs", statvfs)
    assert node.run(wanted("s3://b/small/")) == {"processing/in/x": b"small/x"}
    assert _uris(node) == set()


def test_a_full_disk_is_told_also_when_the_cache_can_give_nothing_back(node, store, monkeypatch):
    (node.folder / "lock").mkdir(parents=True)
    store.put("small/x")
    real = os.statvfs(node.folder)
    full = os.statvfs_result((4096, 4096, 9, 9, 0, *real[5:]))
    monkeypatch.setattr("penstock.disk.os.statvfs", lambda _: full)
    with pytest.raises(InternalFailure, match="free some space"):
        node.run(wanted("s3://b/small/"))


def _uris(node):
    return {kept.about.uri for kept in pruning.listing(node.folder)}


def _tree(node, uri):
    (kept,) = [kept for kept in pruning.listing(node.folder) if kept.about.uri == uri]
    return node.folder / "trees" / kept.digest
