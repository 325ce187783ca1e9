"""What holds for every set of keys, every number of hosts and every tree of files, over the store in memory."""

import tempfile
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.data.inputs import fetch
from penstock.data.outputs import prepare, upload
from penstock.data.plan import relative_path
from penstock.errors import ClientFailure
from penstock.job.run import S3Access
from penstock.testing.fake_bucket import FakeStore

ACCESS = S3Access("http://127.0.0.1:1", "us-east-1", "AKID", "the-secret")
#: Names with what breaks paths, URLs and shells; no part is `.` or `..`, which are refused by name elsewhere.
NAMES = st.text(st.sampled_from("ab -é🐟%+#?*&='\"\\\n~.\u2028"), min_size=1, max_size=4).filter(
    lambda name: name.strip(".") != ""
)
#: Threads and files: the time of one example says nothing.
unhurried = settings(deadline=None, max_examples=40)
KEYS = st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=12)


def brought(store, uri, index=0, count=1, **more):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = {"S3Uri": uri, "LocalPath": "/opt/ml/processing/in", **more}
        fetch(
            [{"InputName": "x", "S3Input": source}],
            index=index,
            count=count,
            root=root,
            access=ACCESS,
            progress=[].append,
            opener=store.open,
        )
        base = root / "processing/in"
        return {str(p.relative_to(base)): p.read_bytes() for p in base.rglob("*") if p.is_file()}


def clashes(paths):
    paths = list(paths)
    folders = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}
    return len(set(paths)) < len(paths) or bool(folders & set(paths))


@unhurried
@given(KEYS, st.sampled_from(["p/", "p", "p/q-", ""]), st.integers(0, 99))
def test_each_object_becomes_the_file_of_its_rule_or_the_clash_is_told(keys, prefix, seed):
    store = FakeStore()
    store.order.seed(seed)
    found = {f"{'p/' if prefix == 'p' else prefix}{key}" for key in keys}
    store.put(*found, "elsewhere/x") if prefix else store.put(*found)
    wanted = {relative_path(prefix, key): key.encode() for key in found}
    if clashes(relative_path(prefix, key) for key in found):
        try:
            brought(store, f"s3://b/{prefix}")
        except ClientFailure as failure:
            assert "clash" in str(failure)  # noqa: PT017 - half of a property
        else:
            raise AssertionError("a clash was passed over")
    else:
        assert brought(store, f"s3://b/{prefix}") == wanted


@unhurried
@given(KEYS, st.integers(1, 5))
def test_hosts_share_the_objects_without_gap_or_double_in_whatever_order_the_store_lists(keys, count):
    assume(not clashes(keys))
    store = FakeStore()
    store.put(*(f"p/{key}" for key in keys))
    shards = []
    for index in range(count):
        store.order.seed(index)  # every host sees another order
        shards.append(brought(store, "s3://b/p/", index, count, S3DataDistributionType="ShardedByS3Key"))
    together = [item for shard in shards for item in shard.items()]
    assert sorted(together) == sorted((key, f"p/{key}".encode()) for key in keys)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@unhurried
@given(
    st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=9), max_size=9)
)
def test_what_an_output_stores_an_input_brings_back(files):
    assume(not clashes(files))
    store = FakeStore()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shape = {"OutputName": "x", "S3Output": {"S3Uri": "s3://b/o", "LocalPath": "/opt/ml/processing/out"}}
        prepare({"Outputs": [shape]}, root)
        for name, content in files.items():
            path = root / "processing/out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        upload([shape], kms_key=None, root=root, access=ACCESS, progress=[].append, opener=store.open)
    assert store.buckets["b"] == {f"o/{name}": content for name, content in files.items()}
    if files:
        assert brought(store, "s3://b/o") == files
