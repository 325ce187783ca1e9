import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.data.plan import Places, read_input, read_manifest, relative_path, shard
from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure

M = S3Uri("b", "m.json")


@pytest.mark.parametrize(
    ("prefix", "key", "path"),
    [
        ("dir/data.csv", "dir/data.csv", "data.csv"),
        ("data.csv", "data.csv", "data.csv"),
        ("dir", "dir/x/y.csv", "x/y.csv"),
        ("dir/", "dir/x/y.csv", "x/y.csv"),
        ("data/train", "data/train-a.csv", "train-a.csv"),
        ("data/tr", "data/train/a.csv", "train/a.csv"),
        ("dir", "dir2/b", "dir2/b"),
        ("a/dir", "a/dir2/b", "dir2/b"),
        ("dir/data.csv", "dir/data.csv.bak", "data.csv.bak"),
        ("", "a/b", "a/b"),
        ("", "a", "a"),
        ("dir/", "dir/", ""),
        ("dir", "dir/", ""),
        ("dir/", "dir//x", "/x"),
    ],
)
def test_relative_path(prefix, key, path):
    assert relative_path(prefix, key) == path


KEYS = st.sets(st.text(st.sampled_from("ab/-é"), min_size=1, max_size=6), max_size=12)


@given(st.text(st.sampled_from("ab/-"), max_size=4), KEYS)
def test_a_place_never_depends_on_other_keys_and_doubles_are_reported(prefix, keys):
    matching = sorted(prefix + key for key in keys)
    paths = [relative_path(prefix, key) for key in matching]
    fit = [(key, path) for key, path in zip(matching, paths, strict=True) if path and not path.endswith("/")]
    places = Places()
    clash = False
    for key, path in fit:
        try:
            places.add_file(path, S3Uri("b", key))
        except ClientFailure:
            clash = True
    folders = {path[:at] for _, path in fit for at, letter in enumerate(path) if letter == "/" and at}
    files = [path for _, path in fit]
    assert clash == (len(set(files)) < len(files) or bool(folders & set(files)))


@given(st.sets(st.text(max_size=5), max_size=40), st.integers(1, 7), st.randoms(use_true_random=False))
def test_shards_are_disjoint_complete_balanced_and_stable(keys, count, random):
    shuffled = list(keys)
    random.shuffle(shuffled)
    shards = [shard(keys, index, count) for index in range(count)]
    assert shards == [shard(shuffled, index, count) for index in range(count)]
    assert sorted(key for part in shards for key in part) == sorted(keys)
    sizes = [len(part) for part in shards]
    assert max(sizes) - min(sizes) <= 1


def test_shard_deals_in_the_order_of_bytes():
    assert shard(["d/a", "d-x", "é", "z"], 0, 2) == ["d-x", "z"]


@pytest.mark.parametrize(("one", "other"), [("x/a", "x/a/b"), ("x/a/b", "x/a"), ("x/a", "x/a")])
def test_a_clash_names_both(one, other):
    places = Places()
    places.add_file(one, S3Uri("b", "first"))
    with pytest.raises(ClientFailure, match=r"s3://b/first and s3://b/second clash: both need x/a"):
        places.add_file(other, S3Uri("b", "second"))


def test_a_marker_clashes_with_a_file():
    places = Places()
    places.add_file("x/a", S3Uri("b", "a"))
    with pytest.raises(ClientFailure, match="clash"):
        places.add_folder("x/a", S3Uri("b", "a/"))


def test_manifest():
    data = json.dumps([{"prefix": "s3://other/p/"}, "a", "d/b"]).encode()
    assert read_manifest(data, M) == (S3Uri("other", "p/"), ["a", "d/b"])


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"{}", "not a JSON array"),
        (b"[]", "is empty"),
        (b'["a"]', "no prefix"),
        (b'[{"prefix": 3}, "a"]', "no prefix"),
        (b'[{"prefix": "p/"}, "a"]', "not an S3 URI"),
        (b'[{"prefix": "s3://b/p/"}]', "names no object"),
        (b'[{"prefix": "s3://b/p/"}, "a", 7]', r"entry 2 of the manifest \(line 1\), 7"),
        (b'[{"prefix": "s3://b/p/"}, ""]', "entry 1"),
        (b'[\n {"prefix":\n "s3://b/p/"},\n "a,b", "c",\n\n {}]', r"entry 3 of the manifest \(line 6\), {}"),
        (b'[{"prefix": "s3://b/p/"},\n"a",\nb]', "not JSON .*line 3"),
        (b'[{"prefix": "s3://b/p/"}, "a", "d/"]', "entry 2 .*'d/'"),
        (b'[{"prefix": "s3://b/p/"}, "a", "b", "a"]', "entry 3 .*'a', repeats entry 1"),
    ],
)
def test_bad_manifests(content, cause):
    with pytest.raises(ClientFailure, match=cause):
        read_manifest(content, M)


GOOD = {"S3Uri": "s3://b/k", "LocalPath": "/opt/ml/processing/in"}


def test_read_input_fills_in_the_defaults():
    item = read_input({"InputName": "x", "S3Input": GOOD})
    assert item is not None
    assert (item.name, item.uri, item.manifest, item.sharded) == ("x", S3Uri("b", "k"), False, False)


def test_read_input_leaves_app_managed_alone():
    assert read_input({"InputName": "x", "AppManaged": True, "DatasetDefinition": {}}) is None


@pytest.mark.parametrize(
    ("shape", "cause"),
    [
        (
            {"S3Input": GOOD | {"S3InputMode": "FastFile"}},
            "S3InputMode 'FastFile' is not supported yet. Use File or",
        ),
        (
            {"S3Input": GOOD | {"S3CompressionType": "Gzip"}},
            "S3CompressionType Gzip needs the S3InputMode Pipe",
        ),
        ({"S3Input": GOOD | {"S3DataType": "Other"}}, "S3DataType 'Other'"),
        ({"DatasetDefinition": {"LocalPath": "/x"}}, "DatasetDefinition is not supported yet"),
        ({}, "has no S3Input"),
        ({"S3Input": GOOD | {"S3Uri": "file:///x"}}, "not an S3 URI"),
        ({"S3Input": {"S3Uri": "s3://b/k"}}, "missing one or more required fields .*LocalPath"),
        ({"S3Input": {"LocalPath": "/opt/ml/processing/in"}}, "missing .*S3Uri"),
    ],
)
def test_read_input_refuses_and_names_the_input(shape, cause):
    with pytest.raises(ClientFailure, match=cause) as caught:
        read_input({"InputName": "the-one"} | shape)
    assert "'the-one'" in str(caught.value)
