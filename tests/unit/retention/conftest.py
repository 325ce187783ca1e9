import pytest

from penstock.retention.records import Records
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook


@pytest.fixture
def store(tmp_path):
    opened = open_sqlite(tmp_path / "p.db")
    yield opened
    opened.close()


@pytest.fixture
def logbook(tmp_path):
    return FileLogbook(tmp_path / "logs")


@pytest.fixture
def records(store, logbook):
    return Records(store, logbook)
