"""One builder at a time, nothing half-built, found again quickly."""

import fcntl
import os
import shutil
import threading

import pytest

from penstock.environments.cache import cached, prefix_of
from penstock.environments.model import Cancelled, Environment, version_numbers


def quiet(_):
    """Progress that nobody reads."""


def record(folder, digest="d1", **more):
    interpreter = folder / "python"
    interpreter.touch()
    return Environment(
        digest, prefix_of(folder, digest), "3.11.2", str(interpreter), (), {"pip": "26"}, **more
    )


def builder(folder, calls, **more):
    def build(work, hold, progress):
        calls.append(work)
        (work / "venv").mkdir()
        (work / "venv/pyvenv.cfg").touch()
        return record(folder, **more)

    return build


def test_the_record_survives_its_json():
    environment = Environment.from_json(
        '{"digest": "d", "prefix": "/x", "python": "3.8.18", "interpreter": "/p", "visible": ["/q"], '
        '"packages": {"a": "1"}, "deviations": ["differs"], "later": 1}'
    )
    assert Environment.from_json(environment.to_json()) == environment
    assert environment.minor == "3.8"
    assert environment.deviations == ("differs",)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.10.2", (1, 10, 2)), ("0.90.0", (0, 90)), ("2.13.0+cpu", (2, 13)), ("1.0rc1", (1,))],
)
def test_version_numbers(text, numbers):
    assert version_numbers(text) == numbers


def test_built_once_then_found(tmp_path):
    calls = []
    first = cached(tmp_path, "key", builder(tmp_path, calls), progress=quiet)
    second = cached(tmp_path, "key", builder(tmp_path, calls), progress=quiet)
    assert first == second
    assert len(calls) == 1
    assert first.prefix.is_dir()
    assert not list((tmp_path / "building").iterdir())


@pytest.mark.parametrize("gone", ["venv", "python", "known"])
def test_what_has_gone_is_built_anew(tmp_path, gone):
    calls = []
    environment = cached(tmp_path, "key", builder(tmp_path, calls), progress=quiet)
    if gone == "venv":
        shutil.rmtree(environment.prefix.parent)
    elif gone == "python":
        (tmp_path / "python").unlink()
    else:
        (tmp_path / "known/key.json").write_text("{torn")
    assert cached(tmp_path, "key", builder(tmp_path, calls), progress=quiet) == environment
    assert len(calls) == 2


def test_two_keys_of_one_content_share_it(tmp_path):
    calls = []
    one = cached(tmp_path, "one", builder(tmp_path, calls, deviations=("a",)), progress=quiet)
    two = cached(tmp_path, "two", builder(tmp_path, calls, deviations=("b",)), progress=quiet)
    assert one.prefix == two.prefix
    assert (one.deviations, two.deviations) == (("a",), ("b",))


def test_two_keys_of_one_content_that_finish_together_leave_the_first_ones_in_place(tmp_path):
    calls = []
    built, published = threading.Event(), threading.Event()

    def second(work, hold, progress):
        environment = builder(tmp_path, calls)(work, hold, progress)
        built.set()
        assert published.wait(20)
        return environment

    thread = threading.Thread(target=cached, args=(tmp_path, "two", second), kwargs={"progress": quiet})
    thread.start()
    assert built.wait(20)
    one = cached(tmp_path, "one", builder(tmp_path, calls), progress=quiet)
    in_use = one.prefix.stat().st_ino
    published.set()
    thread.join(20)
    assert len(calls) == 2
    assert one.prefix.stat().st_ino == in_use
    assert not list((tmp_path / "building").iterdir())
    assert (tmp_path / "known/two.json").is_file()


def test_a_digest_is_published_by_one_at_a_time(tmp_path):
    (tmp_path / "locks").mkdir()
    other = os.open(tmp_path / "locks/digest-d1.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    asked = []

    def cancelled():
        asked.append((tmp_path / "d1").exists())
        return len(asked) == 2

    with pytest.raises(Cancelled):
        cached(tmp_path, "key", builder(tmp_path, []), progress=quiet, cancelled=cancelled)
    os.close(other)
    assert asked == [False, False]
    assert not list((tmp_path / "building").iterdir())


def test_half_an_environment_is_replaced(tmp_path):
    (tmp_path / "d1/venv").mkdir(parents=True)
    environment = cached(tmp_path, "key", builder(tmp_path, []), progress=quiet)
    assert (environment.prefix / "pyvenv.cfg").is_file()


def test_waiting_for_another_builder_can_be_cancelled(tmp_path):
    (tmp_path / "locks").mkdir()
    other = os.open(tmp_path / "locks/key.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_EX)
    told, asked = [], []

    def cancelled():
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(Cancelled):
        cached(tmp_path, "key", builder(tmp_path, []), progress=told.append, cancelled=cancelled)
    assert told == ["Waiting for another process, which builds the environment key"]
    os.close(other)
    assert cached(tmp_path, "key", builder(tmp_path, []), progress=quiet).digest == "d1"


def test_who_waits_is_told_for_whom_and_what_is_done(tmp_path):
    """Each step once, as it comes, and of a builder that is killed no more."""
    at_work, seen, go_on = threading.Event(), threading.Event(), threading.Event()

    def slow(work, hold, progress):
        progress("Resolving")
        at_work.set()
        assert seen.wait(20)
        progress("Installing 3 packages")
        assert go_on.wait(20)
        return builder(tmp_path, [])(work, hold, progress)

    told = []

    def tell(text):
        told.append(text)
        (go_on if "Installing" in text else seen).set()

    first = threading.Thread(
        target=cached, args=(tmp_path, "key", slow), kwargs={"progress": quiet, "who": "the job a (algo-1)"}
    )
    first.start()
    assert at_work.wait(20)
    cached(tmp_path, "key", slow, progress=tell)
    first.join(20)
    assert told == [
        "Waiting for the job a (algo-1), which builds the environment key",
        "the job a (algo-1): Resolving",
        "the job a (algo-1): Installing 3 packages",
    ]
    assert (tmp_path / "locks/key.lock").read_text() == ""


def test_the_folder_of_a_killed_builder_stays_as_long_as_something_writes_to_it(tmp_path):
    left = tmp_path / "building/key.abc"
    left.mkdir(parents=True)
    orphan = os.open(left, os.O_RDONLY)
    fcntl.flock(orphan, fcntl.LOCK_EX)
    cached(tmp_path, "key", builder(tmp_path, []), progress=quiet)
    assert left.exists()
    os.close(orphan)
    cached(tmp_path, "other", builder(tmp_path, [], digest="d2"), progress=quiet)
    assert not left.exists()


def test_a_failed_build_leaves_nothing(tmp_path):
    def build(work, hold, progress):
        (work / "venv").mkdir()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached(tmp_path, "key", build, progress=quiet)
    assert not list((tmp_path / "building").iterdir())
    assert not list((tmp_path / "known").iterdir())


def test_what_a_killed_builder_left_is_cleared_whatever_its_key(tmp_path):
    cached(tmp_path, "first", builder(tmp_path, []), progress=quiet)
    left = tmp_path / "building/killed/venv"
    left.mkdir(parents=True)
    cached(tmp_path, "other", builder(tmp_path, [], digest="d2"), progress=quiet)
    assert not left.exists()


def test_what_another_builder_works_in_is_left_alone(tmp_path):
    entered, go_on = threading.Event(), threading.Event()
    slow_calls = []

    def slow(work, hold, progress):
        (work / "half").touch()
        entered.set()
        assert go_on.wait(20)
        assert (work / "half").exists()
        return builder(tmp_path, slow_calls, digest="slow")(work, hold, progress)

    thread = threading.Thread(target=cached, args=(tmp_path, "slow", slow), kwargs={"progress": quiet})
    thread.start()
    assert entered.wait(20)
    cached(tmp_path, "quick", builder(tmp_path, [], digest="quick"), progress=quiet)
    go_on.set()
    thread.join(20)
    assert len(slow_calls) == 1


def test_the_second_builder_of_a_key_waits_and_builds_nothing(tmp_path):
    entered, go_on, waiting = threading.Event(), threading.Event(), threading.Event()
    calls, results = [], []

    def slow(work, hold, progress):
        entered.set()
        assert go_on.wait(20)
        return builder(tmp_path, calls)(work, hold, progress)

    def run(progress):
        results.append(cached(tmp_path, "key", slow, progress=progress))

    first = threading.Thread(target=run, args=(quiet,))
    first.start()
    assert entered.wait(20)
    second = threading.Thread(target=run, args=(lambda _: waiting.set(),))
    second.start()
    assert waiting.wait(20)
    go_on.set()
    first.join(20)
    second.join(20)
    assert len(calls) == 1
    assert results[0] == results[1]


def test_a_deviating_environment_is_made_anew_when_interpreters_have_come(tmp_path):
    calls = []
    there = ["/usr/bin/python3.11"]

    def get(**more):
        build = builder(tmp_path, calls, **more)
        return cached(tmp_path, "key", build, progress=quiet, interpreters=lambda: there)

    get(deviations=("image has Python 3.9",))
    get(deviations=("image has Python 3.9",))
    assert len(calls) == 1
    there.append("/usr/bin/python3.9")
    assert get(digest="better").deviations == ()
    assert len(calls) == 2
    there.append("/usr/bin/python3.10")
    get()
    assert len(calls) == 2
