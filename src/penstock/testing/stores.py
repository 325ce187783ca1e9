"""The conformance suite of the Store: subclass `StoreSuite`, give it a database, and pytest does the rest.

It holds a database to all that the server relies on. Beside it stand `store_parts.PartsSuite` (tags, uploads),
`store_experiments.ExperimentSuite` (experiments and their metrics), `store_job_metrics.JobMetricsSuite` (those that
runners tell), `store_finding.FindingSuite` (how they are found), `store_lineage.LineageSuite`,
`store_lists.ListSuite` (the order and completeness of lists), `store_retention.RetentionSuite` (what goes when it is
old) and `store_crashes.CrashSuite` (what is left when a writer dies).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Conflict, Missing
from penstock.job.events import Host, HostEvent
from penstock.job.life import Job, Phase, Started, StopAsked, Succeeded, advance
from penstock.job.uploads import Upload
from penstock.store.database import Store, open_postgres, open_sqlite

#: One character of each length in UTF-8, and what SQL, LIKE, JSON and shells treat in a way of their own.
UNUSUAL = "aé水🐟\U0010ffff'\"\\%_*?[]{}$1:x\t\r\n"


def open_store(address: str) -> Store:
    """The Store at a `postgresql://` URL, or in the SQLite file of that path."""
    return open_postgres(address) if address.startswith("postgresql://") else open_sqlite(Path(address))


def new_job(name: str, created: int = 1000, **changes: Any) -> Job:
    """A job whose request is as deep as AWS's."""
    return Job(name, f"{name}-u", f"arn:{name}", {"a": [1, {"b": None}]}, created, created, **changes)


def new_host(name: str = "algo-1", of: str = "a") -> Host:
    """A host of the job `of`."""
    return Host(f"{of}-u", of, name, "digest", f"{of}/{name}-1")


def in_threads(work: Callable[[int], None], count: int = 4) -> None:
    """Do `work` of 0 .. count - 1 at once, and raise what any of them raised."""
    raised: list[BaseException] = []
    together = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            together.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 - told below, in the test's own thread
            raised.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


class StoreBase:
    """What all suites have.

    Fixtures that a subclass gives:
        address: of an empty database, for `open_store`.
    """

    @pytest.fixture
    def store(self, address: str) -> Iterator[Store]:
        """The Store under test."""
        with closing(open_store(address)) as opened:
            yield opened


class StoreSuite(StoreBase):
    """What every method must do."""

    def test_a_job_comes_back_as_it_went(self, store: Store) -> None:
        """With all of its columns; and there is none of another name."""
        given = new_job(
            "a", phases={"queued": 1}, failure_reason="x", exit_message="é", started_at=1, ended_at=2
        )
        store.add_job(given, {"k": "v"})
        assert store.job("a") == given
        assert store.job_of_uid("a-u") == given
        assert store.tags("arn:a") == {"k": "v"}
        assert store.job("A") is None
        assert store.job_of_uid("b-u") is None

    def test_what_was_stored_is_there_after_opening_again(self, store: Store, address: str) -> None:
        """Also while it is still open."""
        store.add_job(new_job("a"), {})
        with closing(open_store(address)) as again:
            assert again.job("a") == new_job("a")

    def test_every_character_and_the_longest_of_everything_comes_back(self, store: Store) -> None:
        """Of AWS's limits, counted in characters."""
        name, text = "n" * 63, UNUSUAL * 40
        given = replace(
            new_job(name, exit_message=text[:1024], failure_reason=text[-1024:]),
            arn="a" * 256,
            uid="u" * 80,
            request={"Environment": {"k": text}, UNUSUAL: "x" * 1_000_000},
            created_at=2**53,
        )
        store.add_job(given, {UNUSUAL: "v", "🐟" * 128: "🐟" * 256})
        assert store.job(name) == given
        assert store.tags(given.arn) == {UNUSUAL: "v", "🐟" * 128: "🐟" * 256}
        uri = "s3://" + "水" * 350
        store.uploads.add(given.uid, "algo-100", [Upload("o" * 64, uri, 2**53, "f" * 64, 1)])
        assert store.uploads.page(given.uid, None, 1) == [
            ("algo-100", Upload("o" * 64, uri, 2**53, "f" * 64, 1))
        ]

    def test_a_character_0_harms_nothing(self, store: Store) -> None:
        """Where a database can't hold it, there is the character for what can't be shown in its place."""
        store.add_job(new_job("a", exit_message="x\0y"), {})
        job = store.job("a")
        assert job is not None
        assert job.exit_message in {"x\0y", "x\ufffdy"}
        assert store.job("\0") is None
        assert store.host_of_stream("a\0") is None
        assert store.hosts_by_stream_prefix("\0", "\0", 10) == []

    def test_a_name_is_taken_once(self, store: Store) -> None:
        """And who comes late changes nothing."""
        store.add_job(new_job("a"), {})
        with pytest.raises(Conflict, match="a exists"):
            store.add_job(new_job("a", 2000), {"k": "v"})
        assert store.job("a") == new_job("a")
        assert store.tags("arn:a") == {}

    def test_of_many_new_jobs_those_are_told_whose_name_was_taken(self, store: Store) -> None:
        """In the order in which they were given, also of two among them."""
        store.add_job(new_job("m"), {})
        new = [new_job("z"), new_job("m"), new_job("a"), new_job("z", 5), new_job("b")]
        fates = store.add_jobs([(job, {"t": job.name}) for job in new])
        assert [fate is None for fate in fates] == [True, False, True, False, True]
        assert store.job("z") == new[0]
        assert store.tags("arn:b") == {"t": "b"}
        assert store.tags("arn:m") == {}
        assert store.add_jobs([]) == []

    def test_of_many_that_come_with_the_same_names_one_has_each(self, store: Store) -> None:
        """Whatever the order in which they come with them, and nobody waits for ever."""
        names = [f"j{n:02}" for n in range(20)]
        fates: list[list[Conflict | Missing | None]] = [[]] * 4

        def add(number: int) -> None:
            some = names if number % 2 else names[::-1]
            told = store.add_jobs([(new_job(name, number), {"by": str(number)}) for name in some])
            fates[number] = told if number % 2 else told[::-1]

        in_threads(add)
        for name, *told in zip(names, *fates, strict=True):
            (won,) = (number for number, fate in enumerate(told) if fate is None)
            assert store.job(name) == new_job(name, won)
            assert store.tags(f"arn:{name}") == {"by": str(won)}

    def test_writers_in_many_threads_lose_nothing(self, store: Store) -> None:
        """Readers beside them neither."""
        names = [f"j{n}" for n in range(40)]

        def add(number: int) -> None:
            for name in names[number::4]:
                store.add_job(new_job(name), {"t": name})
                assert store.job(name) == new_job(name)
                assert name in {claim.name for claim in store.waiting()}

        in_threads(add)
        assert {claim.name for claim in store.waiting()} == set(names)
        assert store.active_count() == len(names)

    def test_of_two_writers_that_read_the_same_job_one_wins(self, store: Store) -> None:
        """The other is told, and has changed nothing."""
        store.add_job(new_job("a"), {})
        read = found(store, "a")
        store.save_job(advance(read, Started(), 5))
        with pytest.raises(Conflict):
            store.save_job(advance(read, StopAsked(), 6))
        assert found(store, "a") == advance(read, Started(), 5)
        with pytest.raises(Conflict):
            store.save_job(advance(new_job("b"), StopAsked(), 6))

    def test_of_many_writers_at_once_one_wins_each_version(self, store: Store) -> None:
        """As many moves are on record as were not refused."""
        store.add_job(new_job("a", version=0), {})
        won = [0] * 4

        def move(number: int) -> None:
            for _ in range(10):
                read = found(store, "a")
                try:
                    store.save_job(replace(read, version=read.version + 1, modified_at=read.modified_at + 1))
                except Conflict:
                    continue
                won[number] += 1

        in_threads(move)
        assert found(store, "a").version == sum(won) == found(store, "a").modified_at - 1000
        assert sum(won) >= 10

    def test_jobs_are_found_by_arn_in_whatever_case(self, store: Store) -> None:
        """The exact one first."""
        for name in ("Ab", "aB", "c"):
            store.add_job(new_job(name), {})
        assert name_of(store.job_of_arn("arn:aB")) == "aB"
        assert name_of(store.job_of_arn("arn:Ab")) == "Ab"
        assert name_of(store.job_of_arn("ARN:C")) == "c"
        assert store.job_of_arn("arn:d") is None

    def test_only_an_ended_job_that_has_not_moved_is_deleted(self, store: Store) -> None:
        """With all that belongs to it."""
        store.add_job(new_job("a"), {"k": "v"})
        with pytest.raises(Conflict):
            store.delete_job(found(store, "a"))
        started = advance(found(store, "a"), Started(), 5)
        store.add_hosts(started, [new_host()])
        ended = advance(started, Succeeded(), 6)
        store.save_job(ended)
        store.uploads.add("a-u", "algo-1", [Upload("o", "s3://b/k", 1, "00", 2)])
        with pytest.raises(Conflict):
            store.delete_job(started)
        store.delete_job(ended)
        assert store.job("a") is None
        assert store.hosts("a-u") == []
        assert store.tags("arn:a") == {}
        assert store.uploads.page("a-u", None, 9) == []
        assert store.active_count() == 0
        with pytest.raises(Conflict):
            store.delete_job(ended)
        store.add_job(new_job("a", 7), {})
        assert found(store, "a").created_at == 7

    def test_jobs_that_have_not_ended_wait_or_have_begun_those_oldest_first(self, store: Store) -> None:
        """Of one time, by name."""
        for number, phase in enumerate(Phase):
            store.add_job(new_job(f"j{number}", 10 - number, phase=phase), {})
        store.add_job(new_job("a", 10), {})
        store.add_job(new_job("b", 6, phase=Phase.RUNNING), {})
        begun = [(j.created_at, j.name) for j in store.begun_jobs()]
        assert begun == sorted(begun)
        assert [claim.name for claim in sorted(store.waiting(), key=lambda claim: claim.name)] == ["a", "j0"]
        assert len(begun) + 2 == store.active_count() == 8
        assert all(not j.phase.final for j in store.begun_jobs())

    def test_hosts_are_stored_with_their_jobs_move_or_not_at_all(self, store: Store) -> None:
        """The intent and its hosts are one."""
        store.add_job(new_job("a"), {})
        read = found(store, "a")
        store.save_job(advance(read, StopAsked(), 5))
        with pytest.raises(Conflict):
            store.add_hosts(advance(read, Started(), 6), [new_host()])
        assert store.hosts("a-u") == []

    def test_hosts_come_in_order_of_their_number(self, store: Store) -> None:
        """And not of their name."""
        store.add_job(new_job("a"), {})
        names = [f"algo-{n}" for n in range(1, 12)]
        store.add_hosts(advance(found(store, "a"), Started(), 5), [new_host(n) for n in reversed(names)])
        assert [h.name for h in store.hosts("a-u")] == names
        assert store.host("a-u", "algo-3") == store.hosts("a-u")[2]
        assert store.host("a-u", "algo-12") is None

    def test_events_are_applied_once(self, store: Store) -> None:
        """However often they come."""
        store.add_job(new_job("a"), {})
        store.add_hosts(advance(found(store, "a"), Started(), 5), [new_host()])
        phase = HostEvent(1, "phase", 7, {"phase": "running"})
        end = HostEvent(2, "ended", 8, {"outcome": "succeeded"})
        running, ended = (store.apply_events("a-u", "algo-1", events) for events in ([phase], [phase, end]))
        assert running is not None
        assert running.phase is Phase.RUNNING
        assert ended == store.host("a-u", "algo-1")
        assert ended is not None
        assert (ended.sequence, ended.ended) == (2, True)
        assert store.apply_events("a-u", "algo-9", [phase]) is None

    def test_events_that_come_at_once_are_all_applied(self, store: Store) -> None:
        """Each is applied to what the one before has left."""
        store.add_job(new_job("a"), {})
        store.add_hosts(advance(found(store, "a"), Started(), 5), [new_host()])
        events = [HostEvent(n, "note", n, {f"n{n}": n}) for n in range(1, 41)]

        def report(number: int) -> None:
            for n in range(number, 40, 4):
                store.apply_events("a-u", "algo-1", events[: n + 1])

        in_threads(report)
        host = store.host("a-u", "algo-1")
        assert host is not None
        assert host.sequence == 40
        assert len(host.notes) == 40

    def test_streams_are_found_by_name_and_by_prefix(self, store: Store) -> None:
        """In the order of their names' code points, whatever the database's language."""
        names = ["a/algo-1-1", "a/algo-2-1", "A/algo-1-1", "a-b/algo-1-1", "é/algo-1-1", "ab/algo-1-1"]
        for name in dict.fromkeys(stream.partition("/")[0] for stream in names):
            store.add_job(new_job(name), {})
            hosts = [s.partition("/")[2][:-2] for s in names if s.startswith(f"{name}/")]
            store.add_hosts(advance(found(store, name), Started(), 5), [new_host(h, name) for h in hosts])

        def streams(*asked: Any, descending: bool = False) -> list[str]:
            return [h.log_stream for h in store.hosts_by_stream_prefix(*asked, descending=descending)]

        assert store.host_of_stream("a/algo-2-1") == store.host("a-u", "algo-2")
        assert store.host_of_stream("a/algo-3-1") is None
        assert streams("", None, None) == sorted(names)
        assert streams("", None, None, descending=True) == sorted(names, reverse=True)
        assert streams("a/", None, 10) == ["a/algo-1-1", "a/algo-2-1"]
        assert streams("a/", "a/algo-1-1", 10) == ["a/algo-2-1"]
        assert streams("a", None, 1) == ["a-b/algo-1-1"]
        assert streams("a", "a/algo-2-1", 10, descending=True) == ["a/algo-1-1", "a-b/algo-1-1"]
        assert streams("a%", None, 10) == []


def found(store: Store, name: str) -> Job:
    """The job of that name, which is there."""
    job = store.job(name)
    assert job is not None
    return job


def name_of(job: Job | None) -> str | None:
    """Its name, when there is one."""
    return None if job is None else job.name
