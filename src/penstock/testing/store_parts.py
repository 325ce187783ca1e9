"""The conformance suite of the Store, second part: tags and uploads of jobs. See `stores`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.errors import Conflict
from penstock.job.claim import PRIORITY, claim_of
from penstock.job.events import HostEvent
from penstock.job.life import Job, Phase, Retried, Started, StopAsked, Succeeded, advance
from penstock.job.lock import sha256_of
from penstock.job.uploads import Upload
from penstock.store.database import Store
from penstock.store.locks import find
from penstock.testing.stores import StoreBase, found, in_threads, new_host, new_job


class PartsSuite(StoreBase):
    """What the methods for tags and uploads must do."""

    def test_a_job_that_begins_anew_has_new_hosts_and_keeps_the_old_ones(self, store: Store) -> None:
        """Its attempts are told apart by the keys of hosts, and what was lost stays on record."""
        store.add_job(new_job("a"), {})
        begun = advance(found(store, "a"), Started(), 5)
        store.add_hosts(begun, [new_host()])
        lost = advance(begun, Retried("InternalServerError: lost"), 7)
        store.save_job(lost)
        assert found(store, "a") == lost
        assert [claim.uid for claim in store.waiting()] == [lost.uid]
        assert store.begun() == []
        second = replace(new_host(), attempt=2, log_stream="a/algo-1-2", token_digest="other")  # noqa: S106
        again = advance(lost, Started(), 9)
        store.add_hosts(again, [second])
        assert store.begun() == [(again, [second])]
        assert store.hosts(lost.uid) == [new_host(), second]
        assert store.hosts(lost.uid, 2) == [second]
        assert store.host(lost.uid, "algo-1") == new_host()
        assert store.host(lost.uid, "algo-1.2") == second

    def test_tags_are_added_overwritten_and_removed(self, store: Store) -> None:
        """And always told by key, in the order of their code points."""
        store.add_job(new_job("a"), {})
        a = found(store, "a")
        assert store.put_tags(a, {"b": "1", "a": "1", "B": "1"}, 50) == {"B": "1", "a": "1", "b": "1"}
        assert store.put_tags(a, {"b": "2"}, 50) == {"B": "1", "a": "1", "b": "2"}
        assert store.put_tags(a, {}, 50) == store.tags(a.arn) == {"B": "1", "a": "1", "b": "2"}
        assert list(store.tags(a.arn)) == ["B", "a", "b"]
        store.delete_tags(a.arn, ["a", "B", "z"])
        assert store.tags(a.arn) == {"b": "2"}

    def test_tags_beyond_the_most_are_not_taken_at_all(self, store: Store) -> None:
        """Overwriting is always possible."""
        store.add_job(new_job("a"), {"b": "1"})
        a = found(store, "a")
        assert store.put_tags(a, {"b": "2", "c": "3"}, 1) is None
        assert store.tags(a.arn) == {"b": "1"}
        assert store.put_tags(a, {"b": "2"}, 1) == {"b": "2"}

    def test_tags_that_are_put_at_once_are_never_more_than_the_most(self, store: Store) -> None:
        """Each is counted with those of the others."""
        store.add_job(new_job("a"), {})
        a = found(store, "a")

        def put(number: int) -> None:
            for n in range(5):
                store.put_tags(a, {f"{number}-{n}": "v"}, 12)

        in_threads(put)
        assert len(store.tags(a.arn)) == 12

    def test_tags_that_come_after_a_jobs_end_do_not_wait_for_the_next_of_its_name(self, store: Store) -> None:
        """Also when they come at the very moment."""
        for turn in range(10):
            store.add_job(new_job("a", turn, phase=Phase.COMPLETED), {})
            gone = found(store, "a")

            def race(number: int, job: Job = gone) -> None:
                if number:
                    store.delete_job(job)
                    return
                try:
                    store.put_tags(job, {"k": "v"}, 50)
                except Conflict as error:
                    assert "gone" in str(error)  # noqa: PT017 - whether it comes is the race's affair

            in_threads(race, 2)
            assert store.tags("arn:a") == {}
        with pytest.raises(Conflict, match="gone"):
            store.put_tags(gone, {"k": "v"}, 50)
        store.add_job(new_job("a"), {"k": "new"})
        assert store.tags("arn:a") == {"k": "new"}

    def test_the_queue_is_what_waits_or_the_first_of_each_owner_and_priority(self, store: Store) -> None:
        """Without those that have begun or ended."""
        for number in range(12):
            owner, priority = ("ann", "bob", "")[number % 3], number // 6
            store.add_job(new_job(f"j{number:02}", 100 - number, owner=owner, priority=priority), {})
            for engine in ("local", "ray"):  # each has lines of its own
                name = f"{engine}{number:02}"
                more = {"owner": owner, "priority": priority, "engine": engine}
                store.add_job(new_job(name, 100 - number, **more), {})
        others = {claim.name for claim in store.waiting(1) if claim.engine}
        assert others == {f"{engine}{n:02}" for engine in ("local", "ray") for n in (3, 4, 5, 9, 10, 11)}
        for name in [claim.name for claim in store.waiting() if claim.engine]:
            job = advance(found(store, name), StopAsked(), 200)
            store.save_job(job)
            store.delete_job(job)
        begun = advance(found(store, "j11"), Started(), 200)
        store.add_hosts(begun, [new_host(of="j11")])
        store.save_job(advance(found(store, "j00"), StopAsked(), 200))
        waiting = [claim_of(found(store, f"j{number:02}")) for number in range(1, 11)]
        assert sorted(store.waiting(), key=lambda claim: claim.uid) == waiting
        assert sorted(store.waiting(2), key=lambda claim: claim.uid) == waiting
        oldest = [claim.name for claim in store.waiting(1)]
        assert sorted(oldest) == ["j03", "j04", "j05", "j08", "j09", "j10"]
        assert store.begun_jobs() == [begun]
        assert store.begun() == [(begun, [new_host(of="j11")])]

    def test_a_tag_sets_the_priority_beside_any_move(self, store: Store) -> None:
        """Whoever moves the job meanwhile neither fails nor undoes it."""
        store.add_job(new_job("a"), {})
        read = found(store, "a")
        store.put_tags(read, {PRIORITY: "-5", "k": "v"}, 50)
        store.save_job(advance(read, Started(), 1001))
        assert found(store, "a").priority == -5
        store.put_tags(read, {"k": "w"}, 50)
        store.delete_tags(read.arn, ["k"])
        assert found(store, "a").priority == -5
        store.delete_tags(read.arn, [PRIORITY])
        assert found(store, "a").priority == 0

    def test_uploads_are_held_once_per_host_and_object(self, store: Store) -> None:
        """The last one holds, within a batch too."""
        one = Upload("o", "s3://b/k", 5, "00", 1)
        for _ in range(2):
            store.uploads.add("a-u", "algo-1", [one, Upload("o", "s3://b/j", 7, "11", 1)])
        store.uploads.add("a-u", "algo-2", [one])
        store.uploads.add("a-u", "algo-1", [replace(one, size=6), replace(one, size=8, output="p")])
        store.uploads.add("a-u", "algo-1", [])
        assert store.uploads.totals("a-u") == [
            {"name": "o", "objects": 2, "bytes": 12},
            {"name": "p", "objects": 1, "bytes": 8},
        ]
        assert [(host, u.uri, u.size, u.output) for host, u in store.uploads.page("a-u", None, 9)] == [
            ("algo-1", "s3://b/j", 7, "o"),
            ("algo-1", "s3://b/k", 8, "p"),
            ("algo-2", "s3://b/k", 5, "o"),
        ]

    def test_a_batch_of_uploads_that_is_sent_many_times_at_once_is_there_once(self, store: Store) -> None:
        """A runner that hears nothing sends again; whatever the order, nobody waits for ever."""
        batch = [Upload("o", f"s3://b/{n:03}", n, "00", 1) for n in range(200)]
        in_threads(lambda number: store.uploads.add("a-u", "algo-1", batch if number % 2 else batch[::-1]))
        assert [u for _, u in store.uploads.page("a-u", None, 999)] == batch

    def test_pages_of_uploads_show_each_once_in_the_order_of_code_points(self, store: Store) -> None:
        """While others are being added."""
        uris = [
            f"s3://b/{key}"
            for key in ("a", "B", "a-b", "ab", "a b", "é", "e", "水", "🐟", "\uffff", "Z/z", "_")
        ]
        for host in ("algo-10", "algo-9"):
            store.uploads.add("a-u", host, [Upload("o", uri, 1, "00", 1) for uri in uris])
        seen: list[tuple[str, str]] = []
        after = None
        while page := store.uploads.page("a-u", after, 5):
            seen += [(upload.uri, host) for host, upload in page]
            after = seen[-1]
            store.uploads.add("a-u", "algo-1", [Upload("o", f"s3://b/a{len(seen)}", 1, "00", 1)])
        old = [one for one in seen if one[1] != "algo-1"]
        assert old == sorted((uri, host) for uri in uris for host in ("algo-10", "algo-9"))
        assert seen == sorted(seen)

    def test_locks_are_kept_once_and_outlive_their_jobs(self, store: Store) -> None:
        """Told by hosts, also by several at once, or put there by themselves."""
        store.add_job(new_job("a"), {})
        started = advance(found(store, "a"), Started(), 5)
        store.add_hosts(started, [new_host("algo-1"), new_host("algo-2")])
        told = HostEvent(1, "note", 7, {"lock": "the lock é", "environment": {"digest": "d"}})

        def tell(number: int) -> None:
            store.apply_events("a-u", f"algo-{number + 1}", [told])

        in_threads(tell, 2)
        name = sha256_of("the lock é")
        assert [h.notes for h in store.hosts("a-u")] == [{"lock": name, "environment": {"digest": "d"}}] * 2
        assert store.locks.add("the lock é", 8) == name
        assert find(store, "a") == find(store, name) == "the lock é"
        ended = advance(started, Succeeded(), 6)
        store.save_job(ended)
        store.delete_job(ended)
        assert store.locks.get(name) == "the lock é"
        assert find(store, "a") is None
        assert store.locks.get("0" * 64) is None
