"""The conformance suite of the Store, fourth part: what is left when a writer is killed. See `stores`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from penstock.store.database import Store
from penstock.store.job_query import JobQuery
from penstock.testing.stores import StoreBase, new_job, open_store

_PATIENCE = 60.0


@contextlib.contextmanager
def writer(how: str, address: str) -> Iterator[subprocess.Popen[str]]:
    """A `store_writer`, killed at the end."""
    with closing_process([sys.executable, "-m", "penstock.testing.store_writer", how]) as process:
        assert process.stdin is not None
        process.stdin.write(f"{address}\n")
        process.stdin.flush()
        yield process


@contextlib.contextmanager
def closing_process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the end, if it has not ended."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(_PATIENCE)


def told(process: subprocess.Popen[str], count: int, then: Callable[[], None]) -> list[str]:
    """What a writer tells: `count` lines, and after `then`, which ends it or what it needs, those up to its end."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(count)]
    then()
    return lines + [line.strip() for line in process.stdout if line.endswith("\n")]


def check_all_are_there(store: Store, names: list[str]) -> None:
    """See that every job is on record that was acknowledged, and every one that is there whole, with its batch."""
    assert all(names)
    for name in names:
        assert store.job(name) is not None, name
    kept = {job.name for job in store.list_jobs(JobQuery(name_contains="w"), 1_000_000)[0]}
    assert kept >= set(names)
    for name in kept:
        assert store.tags(f"arn:{name}") == {"first": name, "second": name}
        assert {f"{name.rpartition('-')[0]}-{i}" for i in range(3)} <= kept


class CrashSuite(StoreBase):
    """What must be left of a writer's work when it is killed."""

    def test_what_was_acknowledged_outlives_its_writer(self, store: Store, address: str) -> None:
        """And nothing is half there."""
        with writer("many", address) as process:
            names = told(process, 300, process.kill)
        check_all_are_there(store, names)
        with closing(open_store(address)) as again:
            check_all_are_there(again, names)

    def test_a_writer_killed_within_its_transaction_leaves_nothing_and_locks_nothing(
        self, store: Store, address: str
    ) -> None:
        """Readers did not wait for it either."""
        with writer("within", address) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "within\n"
            assert store.job("before") is None
            assert store.active_count() == 0
        assert store.list_jobs(JobQuery(), 9)[0] == []
        store.add_job(new_job("before"), {"k": "v"})
        store.add_job(new_job("within"), {})
        assert store.tags("arn:before") == {"k": "v"}

    def test_a_killed_writer_lets_go_of_those_who_wait_for_it(self, store: Store, address: str) -> None:
        """Somebody wants the very name that it was about to take."""
        with closing_process([sys.executable, "-c", _TAKES]) as waiting:
            assert waiting.stdin is not None
            assert waiting.stdout is not None
            waiting.stdin.write(f"{address}\n")
            waiting.stdin.flush()
            assert waiting.stdout.readline() == "opened\n"
            with writer("within", address) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "within\n"
                waiting.stdin.write("take\n")
                waiting.stdin.flush()
                with pytest.raises(subprocess.TimeoutExpired):
                    waiting.wait(0.3)
            assert waiting.wait(_PATIENCE) == 0
        assert store.tags("arn:within") == {"by": "the other"}


_TAKES = """
import sys
from penstock.testing.stores import new_job, open_store
store = open_store(sys.stdin.readline().strip())
print("opened", flush=True)
sys.stdin.readline()
store.add_job(new_job("within"), {"by": "the other"})
store.close()
"""
