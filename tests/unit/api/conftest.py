from contextlib import closing

import pytest
from contexts import context_of
from wire_client import WireClient

from penstock.store.database import open_sqlite


@pytest.fixture
def context(tmp_path):
    with closing(open_sqlite(tmp_path / "p.db")) as store:
        yield context_of(store, tmp_path)


@pytest.fixture
def client(tmp_path):
    made = WireClient(tmp_path)
    yield made
    made.close()
