import pytest

from penstock.api.admission import Admission
from penstock.api.context import Context
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook


@pytest.fixture
def context(tmp_path):
    store = open_sqlite(tmp_path / "p.db")
    clock = iter(range(1_700_000_000_000, 1_800_000_000_000, 1000))
    woken = []
    made = Context(
        store,
        FileLogbook(tmp_path / "logs"),
        "eu-west-1",
        "111122223333",
        lambda: next(clock),
        lambda **_: woken.append(1),
        Admission(store.add_jobs),
    )
    made.__dict__["woken"] = woken
    yield made
    store.close()
