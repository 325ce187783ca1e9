"""Searches of PostgreSQL."""

from contextlib import closing

import pytest
from contexts import context_of
from search_suite import SearchSuite

from penstock.testing.stores import open_store

pytestmark = pytest.mark.machine


class TestOnPostgres(SearchSuite):
    @pytest.fixture
    def context(self, postgres, tmp_path):
        with closing(open_store(postgres.new_database())) as store:
            yield context_of(store, tmp_path)
