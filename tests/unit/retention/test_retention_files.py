"""Cached inputs and environments as items: what they take, and that none goes which is in use."""

import pytest
from kept_things import SIZE, inputs_of, put_environment, put_input

from penstock.data import pruning
from penstock.data.cache import Cache, digest_of
from penstock.environments.uses import Uses
from penstock.retention import files
from penstock.retention.policy import Rule, frees

NOW = 2_000_000


@pytest.fixture
def cache(tmp_path):
    put_input(tmp_path / "cache", "one", used_at=1000)
    put_input(tmp_path / "cache", "two", used_at=1500)
    return files.inputs(tmp_path / "cache")


def test_inputs_go_by_their_age(cache):
    going = cache.going(Rule(NOW - 1_200_000), NOW)
    assert [one.label for one in going] == ["s3://b/one"]
    assert cache.remove(cache.folder, going) == going
    assert inputs_of(cache.folder) == ["s3://b/two"]
    assert pruning.room(cache.folder) == pruning.read_usage(cache.folder) == SIZE


def test_what_two_inputs_share_is_freed_with_the_last(tmp_path):
    put_input(tmp_path, "first", ("apple", "bread"), used_at=1)
    put_input(tmp_path, "second", ("bread", "cheese"), used_at=2)
    shelf = files.inputs(tmp_path)
    items = shelf.items(tmp_path, True)
    assert pruning.room(tmp_path) == 3 * SIZE
    going = shelf.going(Rule(None, 2 * SIZE), NOW)
    assert [one.label for one in going] == ["s3://b/first"]
    assert frees(going, items) == SIZE
    shelf.remove(tmp_path, going)
    assert pruning.room(tmp_path) == 2 * SIZE
    assert pruning.verify(tmp_path).damaged == ()


def test_an_input_that_a_job_has_mounted_stays_though_its_turn_came_meanwhile(cache):
    going = cache.going(Rule(0), NOW)
    assert len(going) == 2
    with Cache(cache.folder, 1 << 30) as job:
        assert job.obtain(digest_of("one"), SIZE, lambda: None).complete
        assert [one.label for one in cache.remove(cache.folder, going)] == ["s3://b/two"]
        assert cache.going(Rule(0), 1 << 62) == []  # now it is known beforehand, too
    assert inputs_of(cache.folder) == ["s3://b/one"]


def test_environments_go_by_age_and_by_size_but_not_one_in_use(tmp_path):
    shelf = files.environments(tmp_path)
    with Uses() as uses:
        put_environment(tmp_path, "aa", used_at=1, uses=uses)
        for number, digest in enumerate(("bb", "cc", "dd")):
            put_environment(tmp_path, digest, used_at=100 + number)
        assert [one.name for one in shelf.going(Rule(NOW - 102_000), NOW)] == ["bb", "cc"]
        assert [one.name for one in shelf.going(Rule(None, 3 * SIZE), NOW)] == ["bb", "cc"]
        every = shelf.items(tmp_path, False)
        assert [one.name for one in shelf.remove(tmp_path, every)] == ["dd", "cc", "bb"]
    assert [one.name for one in shelf.items(tmp_path, True)] == ["aa"]


def test_nothing_is_kept_where_no_job_has_run(tmp_path):
    for shelf in (files.inputs(tmp_path / "no"), files.environments(tmp_path / "no")):
        assert shelf.going(Rule(0, 0), NOW) == []
