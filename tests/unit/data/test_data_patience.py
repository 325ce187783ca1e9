"""How long a store may be away: longer than a minute, whatever its absence looks like. No test waits for it."""

import socket
import time
from types import SimpleNamespace

import pytest

from penstock.data import storage
from penstock.data.answers import Damaged, StoreUnreachable
from penstock.data.listing import Unanswered
from penstock.data.storage import PATIENCE, S3Bucket
from penstock.job.run import S3Access

AWAY = 75.0


@pytest.fixture
def bucket():
    return S3Bucket(S3Access("http://127.0.0.1:9", "us-east-1", "id", "key"), "b", None, PATIENCE)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by nothing but pauses."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(storage, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return lambda: now[0]


def test_time_ends_the_patience_and_no_count_of_tries_before_it(bucket):
    asked = bucket._store.retry_config
    shortest = asked["backoff"]["init_backoff"]
    assert asked["max_retries"] * shortest >= asked["retry_timeout"]
    assert asked["retry_timeout"].total_seconds() == PATIENCE > AWAY


def test_what_obstore_gives_up_at_once_is_tried_again_until_the_store_is_back(bucket, clock):
    def call():
        if clock() < AWAY:
            raise Unanswered("connection closed before message completed")
        return "stored"

    assert bucket._again(bucket._asked("key", "PutObject"), call) == "stored"
    assert AWAY <= clock() < AWAY + 5


def test_one_that_stays_away_is_told_so_within_the_patience(bucket, clock):
    def call():
        raise Unanswered("connection closed before message completed")

    with pytest.raises(StoreUnreachable):
        bucket._again(bucket._asked("key", "PutObject"), call)
    assert PATIENCE - 5 <= clock() <= PATIENCE


def test_damage_is_tried_a_few_times_only(bucket, clock):
    asked, calls = bucket._asked("key", "GetObject"), []

    def call():
        calls.append(clock())
        raise asked.damaged("two readings gave different bytes")

    with pytest.raises(Damaged):
        bucket._again(asked, call)
    assert len(calls) == 5
    assert clock() < 5


def test_a_store_that_refuses_connections_is_asked_as_long_as_was_said():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        access = S3Access(f"http://127.0.0.1:{closed.getsockname()[1]}", "us-east-1", "id", "key")
        began = time.monotonic()
        with pytest.raises(StoreUnreachable):
            S3Bucket(access, "b", None, 2.0).head("key")
    assert time.monotonic() - began > 1
