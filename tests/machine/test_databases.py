"""The conformance suites of the Store on a real PostgreSQL, and on SQLite where they need other processes."""

import logging
import threading
from contextlib import closing

import psycopg
import pytest
from patience import until
from postgres_server import PostgresServer
from store_plans import PlanSuite
from store_upgrades import StartSuite, UpgradeSuite

from penstock.errors import ConfigurationError
from penstock.job.experiments import Component
from penstock.job.life import Phase
from penstock.store import stretches
from penstock.store.rows import job_row
from penstock.testing.logbooks import LogbookSuite
from penstock.testing.store_crashes import CrashSuite, check_all_are_there, told, writer
from penstock.testing.store_experiments import ExperimentSuite
from penstock.testing.store_finding import FindingSuite
from penstock.testing.store_job_metrics import JobMetricsSuite
from penstock.testing.store_lineage import LineageSuite
from penstock.testing.store_lists import ListSuite
from penstock.testing.store_parts import PartsSuite
from penstock.testing.store_retention import RetentionSuite
from penstock.testing.store_servers import ServersSuite
from penstock.testing.stores import StoreSuite, new_job, open_store

pytestmark = pytest.mark.machine


class TestSqlite(CrashSuite, StartSuite):
    @pytest.fixture
    def address(self, tmp_path):
        return str(tmp_path / "p.db")

    @pytest.fixture
    def bare_address(self, tmp_path):
        return str(tmp_path / "bare.db")


@pytest.fixture(scope="module")
def database(postgres):
    """With all tables. Emptied for each test: to make one takes a thousand files, and long where disks are slow."""
    url = postgres.new_database()
    open_store(url).close()
    return url


class OnPostgres:
    @pytest.fixture
    def address(self, database):
        with psycopg.connect(database) as c:
            c.execute(
                "TRUNCATE jobs, hosts, tags, metrics, metric_summaries, uploads, locks, servers, log_pieces,"
                " experiments, trials, components, parameters, component_artifacts, members, artifacts, associations"
            )
        return database


class TestMethods(OnPostgres, StoreSuite):
    pass


class TestParts(OnPostgres, PartsSuite):
    pass


class TestExperiments(OnPostgres, ExperimentSuite):
    pass


class TestFinding(OnPostgres, FindingSuite):
    pass


class TestJobMetrics(OnPostgres, JobMetricsSuite):
    pass


class TestLineage(OnPostgres, LineageSuite):
    pass


class TestRetention(OnPostgres, RetentionSuite):
    pass


class TestServers(OnPostgres, ServersSuite):
    pass


class TestLists(OnPostgres, ListSuite):
    pass


class TestLogs(OnPostgres, LogbookSuite):
    @pytest.fixture
    def book(self, address):
        with closing(open_store(address)) as store:
            yield store.logbook()


class TestCrashes(OnPostgres, CrashSuite):
    pass


class TestUpgrades(UpgradeSuite, StartSuite):
    @pytest.fixture
    def address(self, postgres):
        return postgres.new_database()

    @pytest.fixture
    def bare_address(self, postgres):
        return postgres.new_database()


class TestPlans(OnPostgres, PlanSuite):
    pass


def test_of_two_servers_one_cuts_stretches_at_a_time(postgres, monkeypatch):
    """Also after the first has cut the very stretch whose row is the lock."""
    monkeypatch.setattr(stretches, "FEW", 2)
    monkeypatch.setattr(stretches, "MOST", 4)
    url = postgres.new_database()
    one, two, three, four = (new_job(f"job-{n}", n, phase=Phase.COMPLETED) for n in range(4))
    within, go_on = threading.Event(), threading.Event()

    def end_the_last():
        with closing(open_store(url)) as other, other._cursors.write() as cursor:
            other._stretches.widen(cursor, four)
            within.set()
            go_on.wait()

    with closing(open_store(url)) as store, psycopg.connect(url, autocommit=True) as beside:
        waits = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        lock = "SELECT 1 FROM name_stretches WHERE begins = '' FOR UPDATE NOWAIT"
        store.add_jobs([(one, {}), (two, {})])
        ending = threading.Thread(target=end_the_last)
        with store._cursors.write() as cursor:
            for job in (three, four):
                store._say.new_job.run(cursor, **job_row(job))
            store._stretches.widen(cursor, three)
            store._stretches.widen(cursor, three)  # the fourth that comes in: it is cut
            ending.start()
            until(lambda: beside.execute(waits).fetchone())
        try:
            assert within.wait(60)
            assert beside.execute("SELECT count(*) FROM name_stretches").fetchone() == (2,)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                beside.execute(lock)
        finally:
            go_on.set()
            ending.join()
        assert beside.execute(lock).fetchone() == (1,)


def test_what_was_acknowledged_survives_the_end_of_all_processes_of_the_database():
    """And the Store goes on as soon as the database is back: the same one, in a process that has lived on."""
    server = PostgresServer(fsync=True)
    try:
        with closing(open_store(server.url())) as store, writer("many", server.url()) as process:
            names = told(process, 300, server.kill)
            server.start()
            check_all_are_there(store, names)
            store.add_job(new_job("after"), {})
            assert store.job("after") is not None
    finally:
        server.close()


def test_commits_wait_for_the_disk_whatever_the_servers_default(postgres):
    url = postgres.new_database()
    with psycopg.connect(url) as c:
        assert c.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with closing(open_store(url)) as store:
        for engine in (store._engine, store._dialect.reader):
            with engine.connect() as c:
                assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
                assert c.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    more = f"{url}?options=-csynchronous_commit=remote_apply"
    with closing(open_store(more)) as store, store._engine.connect() as c:
        assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"


def test_searches_are_planned_for_their_values_and_other_statements_once(postgres):
    with closing(open_store(postgres.new_database())) as store:
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s"
        for _ in range(20):
            store.experiments.count(Component, [])
            store.experiments.get(Component, "none")
        with store._dialect.reader.connect() as c:  # the pool's only one
            assert c.exec_driver_sql(prepared, ("%count(*) AS count%components%",)).scalar() == 0
            assert c.exec_driver_sql(prepared, ("%components.key = %",)).scalar() == 1


def test_a_database_without_fsync_is_told(postgres, caplog):
    with caplog.at_level(logging.WARNING):
        open_store(postgres.new_database()).close()
    assert "fsync off" in caplog.text
    assert postgres.password not in caplog.text


def test_a_database_that_can_not_be_used_is_told_without_its_password(postgres):
    def refused(url, match):
        with pytest.raises(ConfigurationError, match=match) as raised:
            open_store(url)
        said = f"{raised.getrepr(chain=True)}"
        assert "secret-word" not in said.split("def test_", maxsplit=1)[0]
        assert "secret-word" not in str(raised.value)

    where = f"127.0.0.1:{postgres.port}"
    refused(f"postgresql://penstock:secret-word@{where}/postgres", "password authentication failed")
    refused(f"postgresql://penstock:{postgres.password}@{where}/none", "none.*does not exist")
    refused("postgresql://penstock:secret-word@127.0.0.1:1/postgres", "Connection refused")
    refused("postgresql://penstock:secret-word@127.0.0.1:none/postgres", "is no URL")
    postgres.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    )
    refused(postgres.url("latin"), "encoding LATIN1")
