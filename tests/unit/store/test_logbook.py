"""The conformance suite of logbooks on both kinds, and what only files have."""

import pytest

from penstock.store import sqlite
from penstock.store.logbook import DatabaseLogbook, FileLogbook
from penstock.store.tables import metadata
from penstock.testing.logbooks import LogbookSuite


class TestFiles(LogbookSuite):
    @pytest.fixture
    def book(self, tmp_path):
        return FileLogbook(tmp_path)

    @pytest.mark.parametrize("name", ["../x", "a/b", ".x"])
    def test_a_name_never_leads_out_of_the_folder(self, book, name):
        with pytest.raises(ValueError, match="not the name"):
            book.append(name, "h", 0, b"")


class TestRows(LogbookSuite):
    @pytest.fixture
    def book(self, tmp_path):
        dialect = sqlite.connect(tmp_path / "p.db")
        metadata.create_all(dialect.engine)
        yield DatabaseLogbook(dialect)
        dialect.engine.dispose()
