"""The tables of an input's objects and of their places."""

import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.data.listing import Entry
from penstock.data.objects import Objects, Places
from penstock.data.plan import relative_path
from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure

KEYS = st.sets(st.text(st.sampled_from("ab/-é"), min_size=1, max_size=6), max_size=12)


def objects(keys):
    made = Objects()
    made.add(Entry(key, len(key), "e") for key in keys)
    return made


def share(keys, index, count):
    with closing(objects(keys)) as made:
        made.keep_share(index, count)
        return [entry.key for entry in made]


def clash_of(*claims):
    with closing(Places()) as places:
        try:
            for path, key, folder in claims:
                (places.add_folder if folder else places.add_file)(path, S3Uri("b", key))
            places.check()
        except ClientFailure as error:
            return str(error)
    return None


@given(st.sets(st.text(max_size=5), max_size=40), st.integers(1, 7), st.randoms(use_true_random=False))
def test_shares_are_disjoint_complete_balanced_and_stable(keys, count, random):
    shuffled = list(keys)
    random.shuffle(shuffled)
    shares = [share(keys, index, count) for index in range(count)]
    assert shares == [share(shuffled, index, count) for index in range(count)]
    assert sorted(key for part in shares for key in part) == sorted(keys)
    sizes = [len(part) for part in shares]
    assert max(sizes) - min(sizes) <= 1


def test_they_are_dealt_out_in_the_order_of_bytes():
    assert share(["d/a", "d-x", "é", "z", "\U0001f41f"], 0, 1) == ["d-x", "d/a", "z", "é", "\U0001f41f"]
    assert share(["d/a", "d-x", "é", "z"], 0, 2) == ["d-x", "z"]


def test_totals_and_what_is_left_out():
    with closing(Objects()) as made:
        assert (list(made), made.total(), made.versioned) == ([], (0, 0), True)
        made.add([Entry("a", 1, "x"), Entry("b", 2, None), Entry("b", 3, None), Entry("c\0d", 4, "y")])
        assert (made.total(), made.versioned) == ((3, 8), False)
        made.remove(["b", "never"])
        assert (list(made), made.versioned) == ([Entry("a", 1, "x"), Entry("c\0d", 4, "y")], True)
        made.clear()
        assert made.total() == (0, 0)


@given(st.text(st.sampled_from("ab/-"), max_size=4), KEYS)
def test_a_place_never_depends_on_other_keys_and_doubles_are_reported(prefix, keys):
    matching = sorted(prefix + key for key in keys)
    paths = [relative_path(prefix, key) for key in matching]
    fit = [
        (path, key, False)
        for key, path in zip(matching, paths, strict=True)
        if path and not path.endswith("/")
    ]
    files = [path for path, _, _ in fit]
    folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/" and at}
    assert (clash_of(*fit) is not None) == (len(set(files)) < len(files) or bool(folders & set(files)))


@pytest.mark.parametrize(("one", "other"), [("x/a", "x/a/b"), ("x/a/b", "x/a"), ("x/a", "x/a")])
def test_a_clash_names_both(one, other):
    told = clash_of((one, "first", False), (other, "second", False))
    assert "clash: both need x/a, and" in told
    assert "s3://b/first" in told
    assert "s3://b/second" in told


def test_a_clash_is_found_among_very_many():
    names = [(f"d{n // 100}/{n}", f"k{n}", False) for n in range(2500)]
    assert clash_of(*names) is None
    assert "s3://b/k7 and s3://b/last clash" in clash_of(*names, ("d0/7", "last", False))


def test_a_marker_clashes_with_a_file_and_with_no_folder():
    assert "s3://b/a and s3://b/a/ clash" in clash_of(("x/a", "a", False), ("x/a", "a/", True))
    assert clash_of(("x/a", "a/", True), ("x/a/b", "a/b", False), ("x/a", "a/", True)) is None


def test_outer_folders_come_first():
    with closing(Places()) as places:
        for path in ("b/c/x", "b/a", "a/d/e/x", "top"):
            places.add_file(path, S3Uri("b", path))
        places.check()
        assert list(places.folders) == ["a", "a/d", "a/d/e", "b", "b/c"]


def test_very_many_take_little_memory():
    program = """
from penstock.data.listing import Entry
from penstock.data.objects import Objects, Places
from penstock.data.uri import S3Uri
def peak():  # not ru_maxrss: that begins with what the parent had
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
made, places = Objects(), Places()
made.add(Entry(f"folder-{n // 50:06}/a-name-of-some-length-{n:08}.parquet", n, '"0123456789abcdef0123456789abcdef"') for n in range(150_000))
for entry in made:
    places.add_file(entry.key, S3Uri("b", entry.key))
places.check()
made.keep_share(0, 3)
assert made.total()[0] == 50_000
print((peak() - before) // 1024)
"""
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 25  # MiB; as Python objects they took a hundred
