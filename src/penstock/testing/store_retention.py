"""The conformance suite of the Store, fifth part: what goes when it is old. See `stores`."""

from __future__ import annotations

import pytest

from penstock.errors import Conflict, LockGone
from penstock.job.events import HostEvent
from penstock.job.life import Job, Phase, Started, Succeeded, advance
from penstock.job.lock import sha256_of
from penstock.store.database import Store
from penstock.testing.stores import StoreBase, found, in_threads, new_host, new_job

_EVER = 1 << 62


class RetentionSuite(StoreBase):
    """What the methods for ended jobs, their logs and the locks of their environments must do."""

    def test_ended_jobs_come_in_pages_in_the_order_of_their_ends(self, store: Store) -> None:
        """Each once, also of one time, and none that has not ended."""
        for number, phase in enumerate([*Phase, *Phase, *Phase]):
            store.add_job(new_job(f"j{number:02}", number // 4, phase=phase, ended_at=_end(phase)), {})
        seen: list[Job] = []
        while page := store.ended.page((1, 6), 2, _place(seen)):
            seen += page
        assert [(j.modified_at, j.name) for j in seen] == sorted((j.modified_at, j.name) for j in seen)
        assert {j.name for j in seen} == {
            f"j{n:02}" for n, p in enumerate([*Phase] * 3) if p.final and 1 <= n // 4 < 6
        }

    def test_a_job_whose_logs_were_removed_says_so_and_is_passed_over(self, store: Store) -> None:
        """One that has not ended keeps them."""
        for name in ("a", "b"):
            store.add_job(new_job(name, phase=Phase.FAILED, ended_at=1000), {})
        store.add_job(new_job("c"), {})
        store.ended.mark_logs_removed(found(store, "a"), 77)
        assert found(store, "a").logs_removed_at == 77
        assert [j.name for j in store.ended.page((0, _EVER), 9, with_logs=True)] == ["b"]
        assert [j.name for j in store.ended.page((0, _EVER), 9)] == ["a", "b"]
        assert store.ended.with_logs(["a-u", "b-u", "c-u", "d-u"]) == {"b-u", "c-u"}
        with pytest.raises(Conflict, match="gone"):
            store.ended.mark_logs_removed(found(store, "c"), 77)
        store.delete_job(found(store, "a"))

    def test_a_lock_goes_with_the_last_job_that_ran_in_its_environment(self, store: Store) -> None:
        """Told by several hosts, of several jobs."""
        name = sha256_of("lock")
        for job in ("a", "b"):
            _run(store, job, "lock")
        assert store.locks.remove_unused(_EVER) == 0
        store.delete_job(found(store, "a"))
        assert store.locks.remove_unused(_EVER) == 0
        assert store.locks.get(name) == "lock"
        store.delete_job(found(store, "b"))
        assert store.locks.remove_unused(7) == 0  # it was named at 7: somebody may be about to
        assert store.locks.remove_unused(8) == 1
        assert store.locks.get(name) is None

    def test_a_lock_stays_that_a_job_asks_for(self, store: Store) -> None:
        """From its creation on, and whoever asks for one that is gone is told."""
        name = store.locks.add("lock", 5)
        store.add_job(new_job("a", lock=name), {})
        assert found(store, "a").lock == name
        assert store.locks.remove_unused(_EVER) == 0
        fates = store.add_jobs([(new_job("b", lock=sha256_of("none")), {}), (new_job("c"), {})])
        assert isinstance(fates[0], LockGone)
        assert fates[1] is None
        assert store.job("b") is None

    def test_a_lock_that_is_named_in_the_moment_of_its_removal_is_there_or_the_job_is_not(
        self, store: Store
    ) -> None:
        """Never a job without its lock."""
        for turn in range(10):
            name = store.locks.add(f"lock {turn}", 5)

            def race(number: int, turn: int = turn, name: str = name) -> None:
                if number:
                    store.locks.remove_unused(10)
                    return
                store.add_jobs([(new_job(f"j{turn}", 1000, lock=name), {})])

            in_threads(race, 2)
            assert (store.job(f"j{turn}") is not None) == (store.locks.get(name) is not None)

    def test_room_is_given_back_and_nothing_else_happens(self, store: Store) -> None:
        """However often."""
        for number in range(20):
            store.add_job(new_job(f"j{number}", phase=Phase.COMPLETED), {"k": "v" * 200})
        for number in range(19):
            store.delete_job(found(store, f"j{number}"))
            store.ended.give_back()
        assert found(store, "j19").phase is Phase.COMPLETED


def _run(store: Store, name: str, lock: str) -> None:
    """An ended job whose two hosts told the lock of their environment."""
    store.add_job(new_job(name), {})
    started = advance(found(store, name), Started(), 5)
    store.add_hosts(started, [new_host("algo-1", name), new_host("algo-2", name)])
    for host in ("algo-1", "algo-2"):
        store.apply_events(f"{name}-u", host, [HostEvent(1, "note", 7, {"lock": lock})])
    store.save_job(advance(started, Succeeded(), 8))


def _end(phase: Phase) -> int | None:
    return 1 if phase.final else None


def _place(seen: list[Job]) -> tuple[int, str] | None:
    return (seen[-1].modified_at, seen[-1].name) if seen else None
