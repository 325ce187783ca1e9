"""What is kept, what is in use, and what may be removed."""

import json
import os
import threading
from pathlib import Path

import pytest

from penstock.environments.cache import cached, prefix_of
from penstock.environments.inventory import find, listing, prune, remove
from penstock.environments.model import Environment
from penstock.environments.uses import RECORD, Uses
from penstock.errors import PenstockError


def quiet(_):
    """Progress that nobody reads."""


def environment(folder, digest, **more):
    interpreter = folder / "python"
    interpreter.touch()
    return Environment(digest, prefix_of(folder, digest), "3.11.2", str(interpreter), (), {}, **more)


def make(folder, digest, size=1000, used_at=1000.0, uses=None):
    def build(work, hold, progress):
        (work / "venv").mkdir()
        (work / "venv/pyvenv.cfg").touch()
        (work / "venv/data").write_bytes(bytes(size))
        return environment(folder, digest, name=f"of {digest}")

    made = cached(folder, f"key-{digest}", build, progress=quiet, uses=uses)
    os.utime(folder / digest / RECORD, (used_at, used_at))
    return made


def digests(folder):
    return [one.environment.digest for one in listing(folder)]


def test_the_list_has_the_last_used_first_and_nothing_that_is_half_there(tmp_path):
    assert listing(tmp_path / "nowhere") == []
    make(tmp_path, "aa", used_at=1)
    make(tmp_path, "bb", used_at=2)
    (tmp_path / "cc").mkdir()
    (tmp_path / "cc" / RECORD).write_text("{torn")
    (tmp_path / "dd").mkdir()
    (tmp_path / "dd" / RECORD).write_text((tmp_path / "aa" / RECORD).read_text())
    first, second = listing(tmp_path)
    assert (first.environment.name, second.environment.name) == ("of bb", "of aa")
    assert first.bytes == 1000
    assert (first.used_at, first.in_use) == (2, False)


def test_an_environment_of_a_version_that_noted_no_size_is_measured(tmp_path):
    make(tmp_path, "aa")
    record = json.loads((tmp_path / "aa" / RECORD).read_text())
    del record["bytes"]
    (tmp_path / "aa" / RECORD).write_text(json.dumps(record))
    assert listing(tmp_path)[0].bytes >= 1000


def test_one_is_found_by_how_it_begins(tmp_path):
    make(tmp_path, "aab")
    make(tmp_path, "aac")
    assert find(tmp_path, "aab").environment.digest == "aab"
    with pytest.raises(PenstockError, match="2 environments begin with 'aa'"):
        find(tmp_path, "aa")
    for nothing in ("b", ""):
        with pytest.raises(PenstockError, match="no environment"):
            find(tmp_path, nothing)


def test_what_is_removed_is_gone_with_its_names_and_built_anew_when_needed(tmp_path):
    make(tmp_path, "aa")
    make(tmp_path, "bb")
    assert remove(tmp_path, "aa")
    assert digests(tmp_path) == ["bb"]
    assert [one.name for one in (tmp_path / "known").iterdir()] == ["key-bb.json"]
    assert not list((tmp_path / "building").iterdir())
    assert not remove(tmp_path, "aa")
    assert make(tmp_path, "aa").prefix.is_dir()


def test_what_is_in_use_stays_until_its_last_user_lets_go(tmp_path):
    with Uses() as first, Uses() as second:
        make(tmp_path, "aa", uses=first)
        make(tmp_path, "aa", uses=second)
        first.close()
        assert listing(tmp_path)[0].in_use
        assert not remove(tmp_path, "aa")
        assert prune(tmp_path)[0] == []
    assert not listing(tmp_path)[0].in_use
    assert remove(tmp_path, "aa")


def test_use_is_noted(tmp_path):
    make(tmp_path, "aa", used_at=1)
    with Uses() as uses:
        assert uses.take(environment(tmp_path, "aa"))
    assert listing(tmp_path)[0].used_at > 1_000_000


def test_what_is_gone_or_being_removed_is_not_taken(tmp_path):
    made = make(tmp_path, "aa")
    with Uses() as uses:
        held = os.open(tmp_path / "aa", os.O_RDONLY)
        try:
            import fcntl

            fcntl.flock(held, fcntl.LOCK_EX)
            assert not uses.take(made)
        finally:
            os.close(held)
        assert remove(tmp_path, "aa")
        assert not uses.take(made)


def test_one_that_is_removed_between_finding_and_taking_is_made_again(tmp_path):
    make(tmp_path, "aa")

    class Late(Uses):
        taken = 0

        def take(self, found):
            self.taken += 1
            if self.taken == 1:
                assert remove(tmp_path, "aa")
            return super().take(found)

    with Late() as uses:
        assert make(tmp_path, "aa", uses=uses).prefix.is_dir()
        assert uses.taken == 2


def test_pruning_by_age(tmp_path):
    make(tmp_path, "old", used_at=100)
    make(tmp_path, "new", used_at=200)
    removed, left = prune(tmp_path, unused_since=150)
    assert [one.environment.digest for one in removed] == ["old"]
    assert digests(tmp_path) == ["new"]
    assert left >= 1000


def test_pruning_by_size_counts_shared_files_once(tmp_path):
    """What a requirements file was installed on shares its files: to remove one of the two frees nothing of them."""
    make(tmp_path, "base", size=100_000, used_at=1)
    make(tmp_path, "derived", size=10, used_at=2)
    (tmp_path / "derived/venv/shared").hardlink_to(tmp_path / "base/venv/data")
    make(tmp_path, "other", size=50_000, used_at=3)
    assert prune(tmp_path, most=160_000)[0] == []
    removed, left = prune(tmp_path, most=149_000)
    assert [one.environment.digest for one in removed] == ["base", "derived"]
    assert 50_000 <= left < 60_000


def test_pruning_clears_what_killed_builders_left(tmp_path):
    make(tmp_path, "aa")
    (tmp_path / "building/left.x/venv").mkdir(parents=True)
    prune(tmp_path, most=1 << 30)
    assert not list((tmp_path / "building").iterdir())
    assert prune(tmp_path / "nowhere") == ([], 0)


def test_users_and_removers_at_once_never_meet(tmp_path):
    """Whoever has taken an environment finds it there until it lets go, whatever is removed meanwhile."""
    lost, done = [], threading.Event()

    def use():
        for _ in range(60):
            with Uses() as uses:
                made = make(tmp_path, "aa", size=10, uses=uses)
                lost.extend(n for n in ("pyvenv.cfg", "data") if not Path(made.prefix, n).exists())

    def keep_removing():
        while not done.is_set():
            remove(tmp_path, "aa")

    users = [threading.Thread(target=use) for _ in range(3)]
    remover = threading.Thread(target=keep_removing)
    for one in (*users, remover):
        one.start()
    for one in users:
        one.join(120)
    done.set()
    remover.join(60)
    assert lost == []
