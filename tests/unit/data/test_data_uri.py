import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.data.uri import S3Uri, local_folder, safe_join
from penstock.errors import ClientFailure

ROOT = Path("/r/ml")


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://b", "b", ""),
        ("s3://b/", "b", ""),
        ("s3://b/a/b.csv", "b", "a/b.csv"),
        ("s3://b/a/", "b", "a/"),
        ("s3://b/a b/ü?#%20", "b", "a b/ü?#%20"),
        ("s3://b//a///c//", "b", "a/c/"),
        ("https://s3.eu-west-1.amazonaws.com/b/a/c", "b", "a/c"),
        ("https://s3.amazonaws.com/b", "b", ""),
        ("https://b.s3.eu-west-1.amazonaws.com/a%20c", "b", "a c"),
        ("https://my.dotted.s3.amazonaws.com/k", "my.dotted", "k"),
        ("https://b.s3.cn-north-1.amazonaws.com.cn/k", "b", "k"),
        ("https://s3.example.org/b/a", "b", "a"),
    ],
)
def test_parse(text, bucket, key):
    assert S3Uri.parse(text) == S3Uri(bucket, key)


@pytest.mark.parametrize(
    "text", ["", "s3:/b/k", "file:///etc/passwd", "/a/b", "s3://", "https://s3.amazonaws.com/", "s3:///k"]
)
def test_parse_refuses(text):
    with pytest.raises(ClientFailure, match="s3://bucket/key"):
        S3Uri.parse(text)


def test_str_is_the_uri():
    assert str(S3Uri.parse("s3://b/a/c")) == "s3://b/a/c"


@pytest.mark.parametrize(
    ("relative", "cause"),
    [
        ("", "part ''"),
        ("..", "part '..'"),
        ("../x", "part '..'"),
        ("a/../../x", "part '..'"),
        ("a/./b", "part '.'"),
        ("a//b", "part ''"),
        ("a/", "part ''"),
        ("/etc/passwd", "absolute"),
        ("a\0b", "NUL"),
        ("a/" + "ü" * 128, "longer than 255 bytes"),
        ("a/" * 2100 + "b", "longer than 4095 bytes"),
        ("a\udc80", "not valid Unicode"),
    ],
)
def test_safe_join_refuses_and_names_the_key(relative, cause):
    with pytest.raises(ClientFailure, match=cause) as caught:
        safe_join(ROOT, relative)
    assert repr(relative) in str(caught.value)


@pytest.mark.parametrize(
    "relative", ["a", "a/b.csv", "..a/b..", "ünï ç/a+b%20", "a\\b", "a\nb", "~", "-rf", "x" * 255]
)
def test_safe_join_accepts(relative):
    assert str(safe_join(ROOT, relative)) == f"{ROOT}/{relative}"


TRICKY = st.text(alphabet=st.sampled_from("./\\ab\0\n é"), max_size=12) | st.text(max_size=12)


@given(TRICKY)
def test_safe_join_never_leaves_the_root(relative):
    try:
        path = safe_join(ROOT, relative)
    except ClientFailure:
        return
    assert path != ROOT
    assert os.path.normpath(path) == str(path)
    assert str(path).startswith(f"{ROOT}/")


@given(TRICKY, TRICKY)
def test_safe_join_gives_different_keys_different_paths(one, other):
    try:
        same = safe_join(ROOT, one) == safe_join(ROOT, other)
    except ClientFailure:
        return
    assert same == (one == other)


@pytest.mark.parametrize(
    ("local_path", "folder"),
    [
        ("/opt/ml/processing/input", "processing/input"),
        ("/opt/ml/processing/input/", "processing/input"),
        ("/opt/ml/processing//in/x//", "processing/in/x"),
        ("/opt/ml/processing/", "processing"),
    ],
)
def test_local_folder(local_path, folder):
    assert local_folder(ROOT, local_path) == ROOT / folder


@pytest.mark.parametrize(
    "local_path",
    [
        "",
        "/opt/ml",
        "/opt/ml/processing/../model",
        "/opt/ml/processingx/a",
        "/tmp/x",
        "opt/ml/processing/a",
        "/a/opt/ml/processing",
    ],
)
def test_local_folder_refuses(local_path):
    with pytest.raises(ClientFailure, match="processing"):
        local_folder(ROOT, local_path)
