"""Locks of environments: kept once, told, and named by jobs."""

from contextlib import closing
from dataclasses import replace

import pytest
from jobs_on_record import create, request
from sqlalchemy import text
from store_upgrades import make

from penstock.api.locks import serve
from penstock.job.events import Host, HostEvent
from penstock.job.life import Started, advance
from penstock.job.lock import VARIABLE, EnvironmentLock, sha256_of
from penstock.store.database import open_sqlite
from penstock.store.locks import find
from penstock.wire.faults import Fault

LOCK = EnvironmentLock("six==1.16.0 \\\n    --hash=sha256:aa\n", "3.11.7", "python==3.11").text


@pytest.fixture
def context(client):
    return client.context


@pytest.fixture
def call(client):
    def call(method, path, body=b"", **more):
        answer = client.send(method, path, body, target="", **more)
        return answer.status, answer.json

    return call


def ran_in(context, name, lock):
    """A job on record whose runner has told its lock."""
    create(context, request(name))
    job = advance(context.store.job(name), Started(), 1)
    context.store.add_hosts(job, [Host(job.uid, name, "algo-1", "digest", f"{name}/algo-1-1")])
    events = [
        HostEvent(1, "note", 1, {"environment": {"digest": "d"}}),
        HostEvent(2, "note", 2, {"lock": lock}),
    ]
    context.store.apply_events(job.uid, "algo-1", events)
    return job


def test_the_record_of_a_job_has_its_locks_name_and_the_text_is_kept_once(call, context):
    jobs = [ran_in(context, name, LOCK) for name in ("a", "b")]
    for job in jobs:
        [host] = context.store.hosts(job.uid)
        assert host.notes == {"environment": {"digest": "d"}, "lock": sha256_of(LOCK)}
    with context.store._reading() as c:
        assert c.execute(text("SELECT text FROM locks")).scalars().all() == [LOCK]
    assert call("GET", f"/penstock/locks/{sha256_of(LOCK)}") == (
        200,
        {"sha256": sha256_of(LOCK), "lock": LOCK},
    )


def test_a_lock_is_found_by_its_name_and_by_that_of_a_job(context):
    ran_in(context, "ran", LOCK)
    create(context, request("waits"))
    assert find(context.store, "ran") == find(context.store, sha256_of(LOCK)) == LOCK
    for nothing in ("waits", "nobody", "0" * 64, ""):
        assert find(context.store, nothing) is None


def test_a_lock_is_put_on_record_by_who_has_the_key(call, context):
    assert call("POST", "/penstock/locks", LOCK.encode()) == (200, {"sha256": sha256_of(LOCK)})
    assert call("POST", "/penstock/locks", LOCK.encode())[0] == 200
    assert find(context.store, sha256_of(LOCK)) == LOCK
    assert call("POST", "/penstock/locks", LOCK.encode(), key=None)[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "", b"six==1\n", "no lock"),
        ("POST", "", b"\xff", "UTF-8"),
        ("POST", "", b"#" * ((1 << 20) + 1), "at most"),
        ("GET", "", b"", "There is no lock"),
        ("GET", "/" + "0" * 64, b"", "There is no lock"),
        ("DELETE", "/" + sha256_of(LOCK), b"", "There is no lock"),
    ],
)
def test_what_is_no_lock_is_refused(call, context, method, path, body, words):
    context.store.locks.add(LOCK, 1)
    status, told = call(method, f"/penstock/locks{path}", body)
    assert status == 400
    assert words in told["message"]


def test_locks_are_not_for_jobs(context):
    context.store.locks.add(LOCK, 1)
    asking = replace(context, caller=ran_in(context, "ran", LOCK))
    for method, path, body in (
        ("GET", f"/penstock/locks/{sha256_of(LOCK)}", b""),
        ("POST", "/penstock/locks", b""),
    ):
        with pytest.raises(Fault) as caught:
            serve(asking, method, path, body)
        assert caught.value.code == "AccessDeniedException"


def test_a_job_that_names_a_lock_that_is_not_there_is_refused(context):
    ran_in(context, "ran", LOCK)
    for said in ("ran", sha256_of(LOCK)):
        create(context, request(f"again-{said[:3]}", Environment={VARIABLE: said}))
    with pytest.raises(Fault, match=r"PENSTOCK_LOCK: 'nobody' is neither"):
        create(context, request("other", Environment={VARIABLE: "nobody"}))


def test_a_database_of_the_version_before_gets_the_locks(tmp_path):
    make(str(tmp_path / "p.db"), "0004")
    with closing(open_sqlite(tmp_path / "p.db")) as store:
        assert store.locks.get(store.locks.add(LOCK, 1)) == LOCK
