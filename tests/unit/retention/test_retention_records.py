"""Which ended jobs and logs go, that others stay whatever the rules, and what a crash within leaves."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.job.events import Host
from penstock.job.life import Phase
from penstock.retention.records import LOCK_GRACE_MS, Limits, Records
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.testing.stores import new_job

NOW = 10_000
LINE = b"1 " + b"x" * 97 + b"\n"
PHASES = st.lists(st.tuples(st.sampled_from(Phase), st.integers(0, 20)), max_size=12)
TIMES = st.none() | st.integers(0, 25)


def put(store, logbook, name, phase, at, lines=1):
    """A job that was modified last at `at`, with a log of 100 bytes for each line."""
    store.add_job(new_job(name, at, phase=phase, ended_at=at if phase.final else None), {"k": "v"})
    if lines:
        logbook.append(f"{name}-u", "algo-1", 0, LINE * lines)


def run(records, limits, *, dry=False, count=3):
    gone, place = [], None
    while True:
        some, place = records.step(limits, place, NOW, dry=dry, count=count)
        gone += some
        if place is None:
            return gone


def names(gone, kind):
    return [one.job.name for one in gone if one.kind == kind]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(PHASES, TIMES, TIMES, st.none() | st.integers(0, 900))
def test_whatever_the_rules_no_job_that_has_not_ended_loses_anything(
    tmp_path_factory, jobs, jobs_before, logs_before, most
):
    folder = tmp_path_factory.mktemp("drawn")
    store, logbook = open_sqlite(folder / "p.db"), FileLogbook(folder / "logs")
    records, limits = Records(store, logbook), Limits(jobs_before, logs_before, most)
    for number, (phase, at) in enumerate(jobs):
        put(store, logbook, f"j{number}", phase, at)
    shown = [(one.kind, one.job.name, one.bytes) for one in run(records, limits, dry=True)]
    gone = run(records, limits)
    assert [(one.kind, one.job.name, one.bytes) for one in gone] == shown  # what is shown is what goes
    for number, (phase, at) in enumerate(jobs):
        name = f"j{number}"
        job, size = store.job(name), logbook.bytes_of(f"{name}-u")
        if not phase.final:
            assert (job.phase, size) == (phase, 100)
            continue
        assert (job is None) == (jobs_before is not None and at < jobs_before) == (name in names(gone, "job"))
        if job is not None and logs_before is not None and at < logs_before:
            assert size == 0
        if job is not None:
            assert (job.logs_removed_at is None) == (size == 100) == (name not in names(gone, "log"))
            assert store.tags(job.arn) == {"k": "v"}
    ended = sum(logbook.bytes_of(f"j{n}-u") for n, (phase, _) in enumerate(jobs) if phase.final)
    assert most is None or logbook.total() <= most or ended == 0
    store.close()


def test_of_logs_that_are_too_much_the_oldest_go(store, logbook, records):
    for number in range(10):
        put(store, logbook, f"j{number}", Phase.COMPLETED, number)
    gone = run(records, Limits(None, None, 450))
    assert names(gone, "log") == [f"j{n}" for n in range(6)]
    assert logbook.total() == 400
    assert run(records, Limits(None, None, 450)) == []


def test_logs_of_jobs_that_go_count_once(store, logbook, records):
    for number in range(6):
        put(store, logbook, f"j{number}", Phase.FAILED, number)
    for dry in (True, False):
        gone = run(records, Limits(3, 5, 100), dry=dry)
        assert names(gone, "job") == ["j0", "j1", "j2"]
        assert names(gone, "log") == ["j3", "j4"]
        assert sum(one.bytes for one in gone) == 500


def test_a_job_without_a_log_goes_too(store, logbook, records):
    put(store, logbook, "a", Phase.STOPPED, 1, lines=0)
    assert [(one.kind, one.bytes) for one in run(records, Limits(None, 5))] == [("log", 0)]
    assert [(one.kind, one.bytes) for one in run(records, Limits(5, 5))] == [("job", 0)]


@pytest.mark.parametrize("kind", ["job", "log"])
def test_a_crash_at_any_removal_leaves_what_is_on_record_whole(store, logbook, records, kind, monkeypatch):
    """The logs can't be removed in the midst of it: as if the process had died there."""
    for number in range(6):
        put(store, logbook, f"j{number}", Phase.COMPLETED, number)
        store.uploads.add(f"j{number}-u", "algo-1", [])
    removed = []

    def delete(uid, real=logbook.delete):
        if len(removed) == 3:
            raise KeyboardInterrupt
        removed.append(uid)
        real(uid)

    limits = Limits(5, None) if kind == "job" else Limits(None, 5)
    monkeypatch.setattr(logbook, "delete", delete)
    with suppress(KeyboardInterrupt):
        run(records, limits)
    monkeypatch.undo()
    for number in range(6):
        job = store.job(f"j{number}")
        if job is not None and job.logs_removed_at is None:
            assert logbook.bytes_of(job.uid) == 100
    assert logbook.total() == 300
    assert len(list(records.remove_strays())) == 1
    assert logbook.total() == 200  # of the two that have not gone yet
    run(records, limits)
    assert list(logbook.uids()) == ["j5-u"]


def test_a_job_that_was_deleted_meanwhile_harms_nothing(store, logbook, records, monkeypatch):
    put(store, logbook, "a", Phase.COMPLETED, 1)
    put(store, logbook, "b", Phase.COMPLETED, 2)
    page = store.ended.page

    def and_then_one_is_deleted(*args, **more):
        found = page(*args, **more)
        if store.job("a"):
            store.delete_job(store.job("a"))
        return found

    monkeypatch.setattr(store.ended, "page", and_then_one_is_deleted)
    assert names(run(records, Limits(5, None)), "job") == ["b"]


def test_locks_that_no_job_needs_go_after_a_day(store, records):
    name = store.locks.add("lock", NOW)
    assert records.tidy(NOW + LOCK_GRACE_MS) == 0
    assert store.locks.get(name) == "lock"
    assert records.tidy(NOW + LOCK_GRACE_MS + 1) == 1
    assert store.locks.get(name) is None


def test_the_hosts_of_a_job_go_with_it(store, logbook, records):
    put(store, logbook, "a", Phase.PREPARING, 1)
    job = store.job("a")
    with store._engine.begin() as c:
        c.exec_driver_sql("UPDATE jobs SET phase = 'completed', status = 'Completed', ended_at = 1")
        c.exec_driver_sql(
            "INSERT INTO hosts (job_uid, name, job_name, token_digest, log_stream, phase, sequence, phases, notes)"
            " VALUES ('a-u', 'algo-1', 'a', 'd', 'a/algo-1-1', 'completed', 2, '{}', '{}')"
        )
    assert isinstance(store.host(job.uid, "algo-1"), Host)
    run(records, Limits(5, None))
    assert store.hosts(job.uid) == []
    assert store.host_of_stream("a/algo-1-1") is None
    with store._engine.begin() as c:
        tables = ("jobs", "hosts", "tags", "uploads", "metrics", "job_names", "job_names_new")
        left = {t: c.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar() for t in tables}
    assert left == dict.fromkeys(tables, 0)
