"""The conformance suites of the Store on SQLite, and what only SQLite has."""

from contextlib import closing

import pytest
from sqlalchemy.exc import DatabaseError
from store_plans import PlanSuite
from store_upgrades import UpgradeSuite

from penstock.job.life import Phase
from penstock.testing.store_experiments import ExperimentSuite
from penstock.testing.store_finding import FindingSuite
from penstock.testing.store_job_metrics import JobMetricsSuite
from penstock.testing.store_lineage import LineageSuite
from penstock.testing.store_lists import ListSuite
from penstock.testing.store_parts import PartsSuite
from penstock.testing.store_retention import RetentionSuite
from penstock.testing.store_servers import ServersSuite
from penstock.testing.stores import StoreSuite, new_job, open_store


@pytest.fixture
def address(tmp_path):
    return str(tmp_path / "p.db")


@pytest.fixture
def bare_address(tmp_path):
    return str(tmp_path / "bare.db")


class TestMethods(StoreSuite):
    pass


class TestParts(PartsSuite):
    pass


class TestExperiments(ExperimentSuite):
    pass


class TestFinding(FindingSuite):
    pass


class TestJobMetrics(JobMetricsSuite):
    pass


class TestLineage(LineageSuite):
    pass


class TestRetention(RetentionSuite):
    pass


class TestServers(ServersSuite):
    pass


class TestLists(ListSuite):
    pass


class TestUpgrades(UpgradeSuite):
    pass


class TestPlans(PlanSuite):
    pass


def test_what_was_acknowledged_is_on_disk(address):
    with closing(open_store(address)) as store, store._engine.begin() as c:
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_the_file_becomes_shorter_when_jobs_go(address):
    with closing(open_store(address)) as store:
        store.add_jobs(
            [(new_job(f"j{n}", phase=Phase.COMPLETED, exit_message="x" * 5000), {}) for n in range(500)]
        )

        def pages():
            with store._engine.begin() as c:
                return c.exec_driver_sql("PRAGMA page_count").scalar()

        before = pages()
        for n in range(500):
            store.delete_job(store.job(f"j{n}"))
        for _ in range(8):
            store.ended.give_back()
        assert pages() < before / 4


def test_an_errors_text_does_not_hold_what_was_to_be_written(address):
    with closing(open_store(address)) as store:
        with store._engine.begin() as c:
            c.exec_driver_sql("DROP TABLE uploads")
        with pytest.raises(DatabaseError, match="no such table") as raised:
            store.uploads.page("the-secret", None, 9)
    assert "the-secret" not in str(raised.value)
