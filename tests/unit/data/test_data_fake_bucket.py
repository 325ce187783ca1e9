"""The store in memory does as real ones do, so that what the unit tests say of it holds of them."""

import pytest

from penstock.testing.buckets import BucketSuite


class TestFakeBucket(BucketSuite):
    @pytest.fixture
    def bucket(self, store, access):
        return store.open(access, "b")

    @pytest.fixture
    def missing(self, store, access):
        return store.open(access, "no-such-bucket")

    @pytest.fixture
    def marker(self, store):
        return lambda key: store.buckets["b"].update({key: b""})
