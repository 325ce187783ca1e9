"""The server's own thread: what it removes of itself, and what it does when the disk is nearly full."""

import logging
import threading
from dataclasses import replace

import pytest
from kept_things import SIZE, inputs_of, put_environment, put_input
from patience import until

from penstock.environments.uses import Uses
from penstock.job.life import Phase
from penstock.retention import files
from penstock.retention import keeper as keeper_module
from penstock.retention.keeper import Keeper
from penstock.retention.policy import DAY_MS, Policy, Rule
from penstock.testing.stores import new_job

NOW = 1000 * DAY_MS
FLOOR = 100 * SIZE
EVER = Policy(Rule(None), Rule(None), Rule(None), Rule(None), FLOOR)
DAY = 86400


class Disk:
    """One that has so much left, and more with each MiB that is removed."""

    def __init__(self, home, left):
        self.home, self.spare, self.base = home, left, None

    def used(self):
        return sum(
            path.stat().st_size
            for path in self.home.rglob("*")
            if path.name == "data" or path.parent.name == "files"
        )

    def free(self, _):
        self.base = self.used() if self.base is None else self.base
        return self.spare + self.base - self.used()


@pytest.fixture
def keeper(tmp_path, records):
    def make(policy, left=10 * FLOOR):
        shelves = files.inputs(tmp_path / "cache"), files.environments(tmp_path / "environments")
        return Keeper(policy, records, tmp_path, shelves, lambda: NOW, Disk(tmp_path, left).free)

    (tmp_path / "environments").mkdir()
    return make


def environments_of(tmp_path):
    folder = tmp_path / "environments"
    return {one.name for one in files.environments(folder).items(folder, False)}


def test_what_is_old_goes_of_every_kind(keeper, store, logbook, tmp_path):
    for name, days in (("old", 50), ("middle", 20), ("new", 1)):
        at = NOW - days * DAY_MS
        store.add_job(new_job(name, at, phase=Phase.FAILED, ended_at=at), {})
        logbook.append(f"{name}-u", "algo-1", 0, b"1 x\n")
        put_input(tmp_path / "cache", name, used_at=at / 1000)
        put_environment(tmp_path / "environments", name, used_at=at / 1000)
    store.add_job(new_job("waits", 0), {})
    logbook.append("waits-u", "algo-1", 0, b"1 x\n")
    keeper(Policy(*[Rule(days * DAY_MS) for days in (40, 10, 10, 40)], 0)).apply()
    assert [store.job(name) is None for name in ("old", "middle", "new", "waits")] == [
        True,
        False,
        False,
        False,
    ]
    assert sorted(logbook.uids()) == ["new-u", "waits-u"]
    assert inputs_of(tmp_path / "cache") == ["s3://b/new"]
    assert environments_of(tmp_path) == {"middle", "new"}


def test_what_is_kept_for_ever_stays(keeper, store, logbook, tmp_path):
    store.add_job(new_job("old", 0, phase=Phase.FAILED, ended_at=0), {})
    put_input(tmp_path / "cache", "old", used_at=1)
    keeper(EVER).apply()
    assert store.job("old")
    assert inputs_of(tmp_path / "cache") == ["s3://b/old"]


def test_a_job_is_taken_while_there_is_room(keeper):
    assert keeper(EVER, left=FLOOR).lacking() is None
    told = keeper(EVER, left=FLOOR - 1).lacking()
    assert "disk that Penstock's home lies on is full" in told
    assert "100.0 MiB on (PENSTOCK_DISK_FLOOR)" in told
    assert "penstock prune" in told


def test_why_jobs_wait_meanwhile_is_told_as_the_queue_tells_it(keeper, tmp_path):
    assert keeper(EVER, left=FLOOR).hindrance() is None
    assert keeper(EVER, left=FLOOR // 2).hindrance() == (
        f"needs 100.0 MiB of free disk (PENSTOCK_DISK_FLOOR), and 50.0 MiB are left at {tmp_path}"
    )


def test_that_there_is_room_is_looked_for_anew_soon(tmp_path, records):
    shelves = files.inputs(tmp_path / "cache"), files.environments(tmp_path / "environments")
    left = [FLOOR]
    keeper = Keeper(EVER, records, tmp_path, shelves, lambda: NOW, lambda _: left[0])
    assert keeper.lacking() is None
    left[0] -= 1
    until(lambda: keeper.lacking() is not None)
    left[0] += 1
    assert keeper.lacking() is None  # of what is lacking nothing is kept


def test_below_the_floor_inputs_go_before_their_time_the_oldest_first_and_no_more_than_need_be(
    keeper, tmp_path, caplog
):
    for number in range(5):
        put_input(tmp_path / "cache", f"in{number}", used_at=(NOW - number * DAY_MS) / 1000, size=10 * SIZE)
    full = keeper(replace(EVER, inputs=Rule(90 * DAY_MS), environments=Rule(90 * DAY_MS)), left=FLOOR - 1)
    put_environment(tmp_path / "environments", "aa", used_at=NOW / 1000 - 2 * DAY)
    with caplog.at_level(logging.WARNING):
        full.relieve()
    assert "no job is taken or begun" in caplog.text
    assert inputs_of(tmp_path / "cache") == [
        "s3://b/in0",
        "s3://b/in1",
    ]  # three of ten MiB make a quarter more
    assert full.lacking() is None
    assert environments_of(tmp_path) == {"aa"}


def test_below_the_floor_environments_go_that_no_job_has_used_for_a_day(keeper, tmp_path):
    folder = tmp_path / "environments"
    with Uses() as uses:
        put_environment(folder, "used", used_at=1, uses=uses)
        put_environment(folder, "old", used_at=NOW / 1000 - 2 * DAY)
        put_environment(folder, "new", used_at=NOW / 1000 - DAY / 2)
        full = keeper(replace(EVER, environments=Rule(90 * DAY_MS)), left=0)
        full.relieve()
        assert environments_of(tmp_path) == {"used", "new"}
        assert full.lacking()  # nothing more could be done


def test_below_the_floor_what_is_kept_for_ever_stays_and_so_do_records_and_logs(
    keeper, store, logbook, tmp_path
):
    at = NOW - 5 * DAY_MS
    store.add_job(new_job("a", at, phase=Phase.COMPLETED, ended_at=at), {})
    logbook.append("a-u", "algo-1", 0, b"1 x\n")
    put_input(tmp_path / "cache", "in", used_at=1)
    full = keeper(replace(EVER, logs=Rule(90 * DAY_MS)), left=0)
    full.relieve()
    full.apply()
    assert store.job("a").logs_removed_at is None
    assert inputs_of(tmp_path / "cache") == ["s3://b/in"]


def test_below_the_floor_the_rules_are_applied_once_and_then_when_they_are_due(keeper, monkeypatch):
    """However often the disk is looked at, and however many jobs are refused meanwhile."""
    monkeypatch.setattr(keeper_module, "LOOK_SECONDS", 0.001)
    full, looked = keeper(EVER, left=0), threading.Semaphore(0)
    relieve, apply, applied = full.relieve, full.apply, []

    def look():
        relieve()
        looked.release()

    full.relieve = look
    full.apply = lambda: (applied.append(1), apply())
    full.start()
    try:
        for _ in range(20):
            assert full.lacking()
            assert looked.acquire(timeout=60)
    finally:
        full.close()
    assert applied == [1]


def test_a_refused_job_wakes_the_keeper_and_those_after_it_do_not(keeper):
    full = keeper(EVER, left=0)
    assert full.lacking()
    assert full._wake.is_set()
    full._wake.clear()
    full.relieve()
    assert full.lacking()
    assert not full._wake.is_set()


def test_trouble_with_one_kind_keeps_no_other_from_going(keeper, store, tmp_path, caplog, monkeypatch):
    at = NOW - 50 * DAY_MS
    put_input(tmp_path / "cache", "old", used_at=at / 1000)
    monkeypatch.setattr(store.ended, "page", lambda *_, **__: 1 / 0)
    keeper(Policy(*[Rule(DAY_MS)] * 4, 0)).apply()
    assert "can't be cleared up" in caplog.text
    assert inputs_of(tmp_path / "cache") == []
