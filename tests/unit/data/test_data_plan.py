import json

import pytest

from penstock.data.plan import read_input, read_manifest, relative_path
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
