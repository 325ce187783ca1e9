import json
import random
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, text

from penstock.errors import ConfigurationError, Conflict
from penstock.job.events import Host, HostEvent
from penstock.job.life import Job, Phase, Started, StopAsked, Succeeded, advance
from penstock.job.uploads import Upload
from penstock.store import schema
from penstock.store.database import JobQuery, open_sqlite
from penstock.store.metrics import Metric
from penstock.store.tables import metadata


@pytest.fixture
def store(tmp_path):
    opened = open_sqlite(tmp_path / "p.db")
    yield opened
    opened.close()


def job(name, created=1000, **changes):
    return Job(name, f"{name}-u", f"arn:{name}", {"a": [1, {"b": None}]}, created, created, **changes)


def host(name="algo-1", of="a"):
    return Host(f"{of}-u", of, name, "digest", f"{of}/{name}-1")


def test_a_job_comes_back_as_it_went(store):
    given = job("a", phases={"queued": 1}, failure_reason="x", exit_message="é")
    store.add_job(given, {"k": "v"})
    assert store.job("a") == given
    assert store.tags("arn:a") == {"k": "v"}
    assert store.job("b") is None


def test_a_name_is_taken_once(store):
    store.add_job(job("a"), {})
    with pytest.raises(Conflict, match="a exists"):
        store.add_job(job("a"), {"k": "v"})
    assert store.tags("arn:a") == {}


def test_of_two_writers_that_read_the_same_job_one_wins(store):
    store.add_job(job("a"), {})
    read = store.job("a")
    store.save_job(advance(read, Started(), 5))
    with pytest.raises(Conflict):
        store.save_job(advance(read, StopAsked(), 6))
    assert store.job("a").phase is Phase.PREPARING


def test_writers_in_many_threads_lose_nothing(store):
    names = [f"j{n}" for n in range(40)]

    def add(some):
        for name in some:
            store.add_job(job(name), {"t": name})

    threads = [threading.Thread(target=add, args=(names[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {j.name for j in store.active_jobs()} == set(names)
    assert store.active_count() == len(names)


def test_what_was_stored_is_there_after_opening_again(tmp_path):
    first = open_sqlite(tmp_path / "p.db")
    first.add_job(job("a"), {})
    first.close()
    again = open_sqlite(tmp_path / "p.db")
    assert again.job("a") == job("a")
    again.close()


def test_hosts_are_stored_with_their_jobs_move_or_not_at_all(store):
    store.add_job(job("a"), {})
    read = store.job("a")
    store.save_job(advance(read, StopAsked(), 5))
    with pytest.raises(Conflict):
        store.add_hosts(advance(read, Started(), 6), [host()])
    assert store.hosts("a-u") == []


def test_hosts_come_in_order_of_their_number(store):
    store.add_job(job("a"), {})
    names = [f"algo-{n}" for n in range(1, 12)]
    store.add_hosts(advance(store.job("a"), Started(), 5), [host(n) for n in reversed(names)])
    assert [h.name for h in store.hosts("a-u")] == names
    assert store.host("a-u", "algo-3") == store.hosts("a-u")[2]
    assert store.host("a-u", "algo-12") is None


def test_events_are_applied_once(store):
    store.add_job(job("a"), {})
    store.add_hosts(advance(store.job("a"), Started(), 5), [host()])
    phase = HostEvent(1, "phase", 7, {"phase": "running"})
    end = HostEvent(2, "ended", 8, {"outcome": "succeeded"})
    assert store.apply_events("a-u", "algo-1", [phase]).phase is Phase.RUNNING
    assert store.apply_events("a-u", "algo-1", [phase, end]).sequence == 2
    assert store.hosts("a-u")[0].ended
    assert store.apply_events("a-u", "algo-9", [phase]) is None


def test_streams_are_found_by_name_and_by_prefix(store):
    store.add_job(job("a"), {})
    store.add_hosts(advance(store.job("a"), Started(), 5), [host("algo-1"), host("algo-2")])
    assert store.host_of_stream("a/algo-2-1").name == "algo-2"
    assert store.host_of_stream("a/algo-3-1") is None
    assert [h.name for h in store.hosts_by_stream_prefix("a/", None, 10)] == ["algo-1", "algo-2"]
    assert [h.name for h in store.hosts_by_stream_prefix("a/", "a/algo-1-1", 10)] == ["algo-2"]
    assert [h.name for h in store.hosts_by_stream_prefix("", None, None, descending=True)] == [
        "algo-2",
        "algo-1",
    ]
    assert store.hosts_by_stream_prefix("", "a/algo-1-1", 10, descending=True) == []
    assert store.hosts_by_stream_prefix("a%", None, 10) == []


def test_only_an_ended_job_that_has_not_moved_is_deleted(store):
    store.add_job(job("a"), {"k": "v"})
    with pytest.raises(Conflict):
        store.delete_job(store.job("a"))
    started = advance(store.job("a"), Started(), 5)
    store.add_hosts(started, [host()])
    ended = advance(started, Succeeded(), 6)
    store.save_job(ended)
    with pytest.raises(Conflict):
        store.delete_job(started)
    store.delete_job(ended)
    assert store.job("a") is None
    assert store.hosts("a-u") == []
    assert store.tags("arn:a") == {}
    assert store.active_jobs() == []
    assert store.active_count() == 0


@pytest.mark.parametrize("key", ["Name", "CreationTime", "Status"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_show_every_job_once_in_order_also_while_jobs_are_added(store, key, descending):
    random.seed(7)
    for n in range(25):
        status = {"phase": Phase.COMPLETED} if n % 3 else {}
        store.add_job(job(f"j{n:02}", random.randrange(5), **status), {})
    query = JobQuery(sort_by=key, descending=descending)
    seen, after = [], None
    while True:
        page, after = store.list_jobs(query, 4, after)
        seen += page
        if after is None:
            break
        store.add_job(job(f"new-{len(seen)}", 2), {})
    old = [j.name for j in seen if j.name.startswith("j")]
    assert sorted(old) == [f"j{n:02}" for n in range(25)]
    by = {"Name": lambda j: j.name, "CreationTime": lambda j: j.created_at, "Status": lambda j: j.status}[key]
    order = [(by(j), j.name) for j in seen]
    assert order == sorted(order, reverse=descending)


def test_filters(store):
    for n in range(6):
        store.add_job(replace(job(f"j{n}", n), modified_at=10 + n), {})
    store.save_job(advance(store.job("j3"), StopAsked(), 99))

    def names(**query):
        return [j.name for j in store.list_jobs(JobQuery(**query), 100)[0]]

    assert names(created_after=2, created_before=4) == ["j2", "j3", "j4"]
    assert names(modified_after=15) == ["j3", "j5"]
    assert names(modified_before=11) == ["j0", "j1"]
    assert names(name_contains="j4") == ["j4"]
    assert names(name_contains="J4") == []
    assert names(name_contains="%") == names(name_contains="_") == []
    assert names(name_contains="") == [f"j{n}" for n in range(6)]
    assert names(status="Stopped") == ["j3"]


def test_tags_are_added_overwritten_and_removed(store):
    store.add_job(job("a"), {})
    a = store.job("a")
    assert store.put_tags(a, {"b": "1", "a": "1"}, 50) == {"a": "1", "b": "1"}
    assert store.put_tags(a, {"b": "2"}, 50) == {"a": "1", "b": "2"}
    assert store.put_tags(a, {}, 50) == store.tags(a.arn) == {"a": "1", "b": "2"}
    store.delete_tags(a.arn, ["a", "z"])
    assert store.tags(a.arn) == {"b": "2"}


def test_tags_beyond_the_most_are_not_taken_at_all(store):
    store.add_job(job("a"), {"b": "1"})
    a = store.job("a")
    assert store.put_tags(a, {"b": "2", "c": "3"}, 1) is None
    assert store.tags(a.arn) == {"b": "1"}
    assert store.put_tags(a, {"b": "2"}, 1) == {"b": "2"}


def test_tags_that_come_after_a_jobs_end_do_not_wait_for_the_next_of_its_name(store):
    store.add_job(job("a", phase=Phase.COMPLETED), {})
    gone = store.job("a")
    store.delete_job(gone)
    with pytest.raises(Conflict, match="gone"):
        store.put_tags(gone, {"k": "v"}, 50)
    store.add_job(job("a"), {"k": "new"})
    assert store.tags("arn:a") == {"k": "new"}


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path):
    made = open_sqlite(tmp_path / "migrated.db")
    made.close()
    plain = create_engine(f"sqlite:///{tmp_path / 'plain.db'}")
    metadata.create_all(plain)
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")

    def shape(engine):
        look = inspect(engine)
        return {
            table: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)],
                sorted((i["name"], tuple(i["column_names"])) for i in look.get_indexes(table)),
                look.get_pk_constraint(table)["constrained_columns"],
            )
            for table in metadata.tables
        }

    assert shape(migrated) == shape(plain)
    with migrated.connect() as c:
        assert schema.revision(c) == schema.HEAD
    plain.dispose()
    migrated.dispose()


def test_a_database_of_the_version_before_is_brought_up_and_its_components_named(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'p.db'}")
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with engine.begin() as c:
        config.attributes["connection"] = c
        command.upgrade(config, "0001")
        for name, given in (
            ("Plain", {}),
            ("Part", {"ExperimentConfig": {"RunName": "r"}}),
            ("None", {"ExperimentConfig": {}}),
        ):
            row = {"name": name, "request": json.dumps(given)}
            c.execute(
                text(
                    "INSERT INTO jobs (name, uid, arn, request, created_at, modified_at, phase, status, version, phases)"
                    " VALUES (:name, :name, :name, :request, 1, 1, 'queued', 'InProgress', 0, '{}')"
                ),
                row,
            )
    engine.dispose()
    with closing(open_sqlite(tmp_path / "p.db")) as store:
        assert store.job_of_component("part-aws-processing-job").name == "Part"
        assert store.job("Part").trial_component == "part-aws-processing-job"
        for name in ("Plain", "None"):
            assert store.job(name).trial_component is None
            assert store.job_of_component(f"{name}-aws-processing-job".lower()) is None
        store.metrics.put("part-aws-processing-job", [Metric("m", 1, None, 2.0)])


def test_a_component_is_found_by_its_index(store):
    with store._engine.connect() as c:
        plan = c.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE trial_component = ?", ("x",)
        ).all()
    assert "jobs_by_trial_component" in str(plan)


def test_a_database_of_the_version_before_gets_the_upload_manifest(tmp_path):
    open_sqlite(tmp_path / "p.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'p.db'}")
    with engine.begin() as c:
        c.execute(text("DROP TABLE uploads"))
        c.execute(text("DROP TABLE locks"))
        c.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    engine.dispose()
    store = open_sqlite(tmp_path / "p.db")
    store.uploads.add("u", "algo-1", [Upload("o", "s3://b/k", 1, "00", 2)])
    assert store.uploads.totals("u") == [{"name": "o", "objects": 1, "bytes": 1}]
    store.close()


def test_uploads_are_held_once_per_host_and_object_and_go_with_their_job(store):
    store.add_job(job("a", phase=Phase.COMPLETED), {})
    one = Upload("o", "s3://b/k", 5, "00", 1)
    for _ in range(2):
        store.uploads.add("a-u", "algo-1", [one, Upload("o", "s3://b/j", 7, "11", 1)])
    store.uploads.add("a-u", "algo-2", [one])
    store.uploads.add("a-u", "algo-1", [replace(one, size=6), replace(one, size=8)])
    store.uploads.add("a-u", "algo-1", [])
    assert store.uploads.totals("a-u") == [{"name": "o", "objects": 3, "bytes": 20}]
    pages, after = [], None
    while page := store.uploads.page("a-u", after, 1):
        pages += page
        after = page[-1][1].uri, page[-1][0]
    assert [(host, one.uri, one.size) for host, one in pages] == [
        ("algo-1", "s3://b/j", 7),
        ("algo-1", "s3://b/k", 8),
        ("algo-2", "s3://b/k", 5),
    ]
    store.delete_job(store.job("a"))
    assert store.uploads.page("a-u", None, 9) == []


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    open_sqlite(tmp_path / "p.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'p.db'}")
    with engine.begin() as c:
        c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match="newer Penstock"):
        open_sqlite(tmp_path / "p.db")
