"""The conformance suites of the Store on SQLite, and what only SQLite has."""

from contextlib import closing

import pytest
from sqlalchemy.exc import DatabaseError
from store_plans import PlanSuite
from store_upgrades import UpgradeSuite

from penstock.testing.store_lists import ListSuite
from penstock.testing.store_parts import PartsSuite
from penstock.testing.store_servers import ServersSuite
from penstock.testing.stores import StoreSuite, open_store


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


def test_an_errors_text_does_not_hold_what_was_to_be_written(address):
    with closing(open_store(address)) as store:
        with store._engine.begin() as c:
            c.exec_driver_sql("DROP TABLE uploads")
        with pytest.raises(DatabaseError, match="no such table") as raised:
            store.uploads.page("the-secret", None, 9)
    assert "the-secret" not in str(raised.value)
