"""The conformance suite of leases: who may write what when several servers share a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.errors import ConfigurationError, Conflict
from penstock.job.claim import Resources
from penstock.job.events import Host, HostEvent
from penstock.job.life import Carrier, Job, Phase, Reached, Started, StopAsked, Succeeded, advance
from penstock.store.database import Store
from penstock.store.servers import Occupied, Server
from penstock.testing.stores import StoreBase, found, in_threads, new_host, new_job

#: Leases that are over at once, and that outlast every test, in milliseconds.
OVER, LONG = 0, 3_600_000


def new_server(name: str, **changes: str) -> Server:
    """A server of a machine of its own, which agrees with all others."""
    shared = {"keys": "k", "account": "a", **changes}
    return Server(
        name, f"http://{name}", f"machine of {name}", f"/home/{name}", Resources(8, 1, 0, 4), shared
    )


def begin(store: Store, name: str, by: Carrier, lease_ms: int | None = None) -> Job:
    """A job with one host that `by` has begun."""
    store.add_job(new_job(name), {})
    store.add_hosts(advance(found(store, name), Started(), 5), [new_host(of=name)], by, lease_ms)
    return found(store, name)


def ended(sequence: int = 1) -> HostEvent:
    """A host's end."""
    return HostEvent(sequence, "ended", 9, {"outcome": "failed", "reason": "x"})


def host_of(store: Store, name: str) -> Host:
    """The one host of a job."""
    (host,) = store.hosts(f"{name}-u")
    return host


class ServersSuite(StoreBase):
    """What leases guard, and what they leave to everybody."""

    def test_a_server_comes_back_as_it_entered(self, store: Store) -> None:
        """And each time with a higher epoch."""
        assert store.servers.enter(new_server("a"), LONG) == Carrier("a", 1)
        assert store.servers.enter(new_server("b"), OVER) == Carrier("b", 1)
        assert store.servers.enter(new_server("a"), LONG) == Carrier("a", 2)
        one, two = store.servers.all()
        assert (one.server, one.carrier, one.alive) == (new_server("a"), Carrier("a", 2), True)
        assert (two.server, two.carrier, two.alive) == (new_server("b"), Carrier("b", 1), False)

    def test_a_lease_is_renewed_while_it_runs_and_never_after(self, store: Store) -> None:
        """Nor by an earlier epoch of the same server."""
        old = store.servers.enter(new_server("a"), LONG)
        new = store.servers.enter(new_server("a"), LONG)
        assert not store.servers.renew(old, LONG)
        assert store.servers.renew(new, OVER)
        assert not store.servers.renew(new, LONG)
        again = store.servers.enter(new_server("a"), LONG)
        store.servers.leave(new)
        assert store.servers.renew(again, LONG), "an old epoch has ended the new one's lease"
        store.servers.leave(again)
        assert not store.servers.renew(again, LONG)

    def test_servers_that_do_not_agree_do_not_work_side_by_side(self, store: Store) -> None:
        """But after one another: keys may be changed while no server works."""
        first = store.servers.enter(new_server("a"), LONG)
        with pytest.raises(
            ConfigurationError, match=r"http://a .home /home/a. .* with keys: k; here it is: other"
        ):
            store.servers.enter(new_server("b", keys="other"), LONG)
        assert [one.server.id for one in store.servers.all()] == ["a"]
        store.servers.leave(first)
        store.servers.enter(new_server("b", keys="other"), LONG)

    @pytest.mark.parametrize("change", [{"machine": "another"}, {"home": "/copied"}])
    def test_a_copied_home_takes_nothing_from_the_one_that_works(
        self, store: Store, change: dict[str, str]
    ) -> None:
        """Both have the same id; the copy has it when the other's lease is over."""
        carrier = store.servers.enter(new_server("a"), LONG)
        job = begin(store, "j", carrier)
        copy = replace(new_server("a"), **change)  # type: ignore[arg-type]
        with pytest.raises(
            Occupied, match=r"http://a .home /home/a .* remove the file server\.id in the copy"
        ):
            store.servers.enter(copy, LONG)
        assert [one.server for one in store.servers.all()] == [new_server("a")]
        assert found(store, "j") == job
        assert store.servers.renew(carrier, LONG)
        store.servers.leave(carrier)
        moved = store.servers.enter(copy, LONG)
        assert (moved, found(store, "j").carrier) == (Carrier("a", 2), moved)
        with pytest.raises(Occupied) as refused:
            store.servers.enter(new_server("a"), LONG)  # should the first one come back
        assert 0 < refused.value.left_ms <= LONG

    def test_of_two_that_enter_at_once_and_do_not_agree_one_is_refused(self, store: Store) -> None:
        """Never both, and never none."""
        for turn in range(5):
            refused: list[int] = []

            def enter(number: int, turn: int = turn, refused: list[int] = refused) -> None:
                try:
                    store.servers.enter(new_server(f"{turn}-{number}", keys=f"{number}"), LONG)
                except ConfigurationError:
                    refused.append(number)

            in_threads(enter, 2)
            assert len(refused) == 1
            for one in store.servers.all():
                store.servers.leave(one.carrier)

    def test_only_who_holds_a_lease_begins_jobs(self, store: Store) -> None:
        """One that is over, or an old epoch of the same server, begins nothing."""
        store.add_job(new_job("a"), {})
        over = store.servers.enter(new_server("a"), OVER)
        started = advance(found(store, "a"), Started(), 5)
        for carrier in (over, Carrier("nobody", 1)):
            with pytest.raises(Conflict):
                store.add_hosts(started, [new_host()], carrier)
        new = store.servers.enter(new_server("a"), LONG)
        with pytest.raises(Conflict):
            store.add_hosts(started, [new_host()], over)
        assert store.hosts("a-u") == []
        assert found(store, "a").phase is Phase.QUEUED
        store.add_hosts(started, [new_host()], new)
        begun = found(store, "a")
        assert (begun.carrier, begun.place) == (new, "a")

    def test_of_servers_that_begin_the_same_job_at_once_one_does(self, store: Store) -> None:
        """The others are told, and have stored nothing."""
        carriers = [store.servers.enter(new_server(name), LONG) for name in "abcd"]
        names = [f"j{n}" for n in range(10)]
        for name in names:
            store.add_job(new_job(name), {})
        won: list[str] = []

        def begin_all(number: int) -> None:
            for name in names:
                job = found(store, name)
                if job.phase is not Phase.QUEUED:
                    continue
                try:
                    store.add_hosts(advance(job, Started(), 5), [new_host(of=name)], carriers[number])
                except Conflict:
                    continue
                won.append(name)

        in_threads(begin_all)
        assert sorted(won) == names
        assert all(len(store.hosts(f"{name}-u")) == 1 for name in names)

    def test_a_job_is_taken_over_only_from_who_holds_no_lease(self, store: Store) -> None:
        """By who holds one, and once."""
        theirs, mine = (store.servers.enter(new_server(name), LONG) for name in "ab")
        job = begin(store, "j", theirs)
        with pytest.raises(Conflict):
            store.servers.adopt(job, mine)
        store.servers.leave(theirs)
        with pytest.raises(Conflict):
            store.servers.adopt(job, Carrier("c", 1))
        store.servers.adopt(job, mine)
        taken = found(store, "j")
        assert taken == replace(job, carrier=mine, version=job.version + 1)
        with pytest.raises(Conflict):
            store.servers.adopt(job, store.servers.enter(new_server("c"), LONG))

    def test_who_has_lost_a_job_writes_nothing_to_it(self, store: Store) -> None:
        """Neither by what it read before, nor by what it reads now; whoever has it does."""
        theirs, mine = (store.servers.enter(new_server(name), LONG) for name in "ab")
        before = begin(store, "j", theirs)
        store.servers.leave(theirs)
        store.servers.adopt(before, mine)
        now = found(store, "j")
        for read in (before, now):
            with pytest.raises(Conflict):
                store.save_job(advance(read, Reached(Phase.RUNNING), 6), theirs)
        with pytest.raises(Conflict):
            store.apply_events("j-u", "algo-1", [ended()], theirs)
        with pytest.raises(Conflict):
            store.end_lapsed("j-u", "algo-1", ended(), theirs)
        assert (found(store, "j"), host_of(store, "j")) == (now, new_host(of="j"))
        store.apply_events("j-u", "algo-1", [ended()], mine)
        store.save_job(advance(now, Reached(Phase.RUNNING), 6), mine)
        assert host_of(store, "j").ended

    def test_an_old_epoch_writes_nothing_to_what_the_new_one_has(self, store: Store) -> None:
        """A server that was held up and its own next life are two."""
        old = store.servers.enter(new_server("a"), OVER)
        store.add_job(new_job("j"), {})
        new = store.servers.enter(new_server("a"), LONG)
        store.add_hosts(advance(found(store, "j"), Started(), 5), [new_host(of="j")], new)
        job = found(store, "j")
        with pytest.raises(Conflict):
            store.save_job(advance(job, Reached(Phase.RUNNING), 6), old)
        with pytest.raises(Conflict):
            store.apply_events("j-u", "algo-1", [ended()], old)
        assert found(store, "j") == job

    def test_a_server_that_enters_has_what_was_begun_on_its_machine(self, store: Store) -> None:
        """Whoever carries it; that one is told at its next write. What has ended stays."""
        first, other = (store.servers.enter(new_server(name), LONG) for name in "ab")
        job = begin(store, "j", first)
        begin(store, "other", other)
        store.save_job(advance(begin(store, "done", first), Succeeded(), 6), first)
        store.servers.leave(first)
        store.servers.adopt(job, other)
        read = found(store, "j")
        again = store.servers.enter(new_server("a"), LONG)
        assert found(store, "j").carrier == again
        assert found(store, "other").carrier == other
        assert found(store, "done").carrier == first
        with pytest.raises(Conflict):
            store.save_job(advance(read, Reached(Phase.RUNNING), 6), other)

    def test_what_was_begun_before_servers_shared_is_the_first_ones(self, store: Store) -> None:
        """There was only one then."""
        store.add_job(new_job("j"), {})
        store.add_hosts(advance(found(store, "j"), Started(), 5), [new_host(of="j")])
        carrier = store.servers.enter(new_server("a"), LONG)
        store.servers.enter(new_server("b"), LONG)
        assert (found(store, "j").carrier, found(store, "j").place) == (carrier, "a")

    def test_wishes_and_reports_are_anybodys(self, store: Store) -> None:
        """A client's stop and a runner's events come through whichever server."""
        job = begin(store, "j", store.servers.enter(new_server("a"), LONG))
        store.save_job(advance(job, StopAsked(), 6))
        store.apply_events("j-u", "algo-1", [HostEvent(1, "phase", 7, {"phase": "running"})])
        assert found(store, "j").phase is Phase.STOPPING
        assert host_of(store, "j").phase is Phase.RUNNING

    def test_a_host_is_lost_only_when_its_runners_lease_is_over(self, store: Store) -> None:
        """One without a lease never; one that was heard of meanwhile not yet."""
        by = store.servers.enter(new_server("a"), LONG)
        begin(store, "for-ever", by)
        begin(store, "running", by, LONG)
        begin(store, "over", by, OVER)
        begin(store, "renewed", by, OVER)
        assert store.servers.renew_runner("renewed-u", "algo-1", LONG) == LONG * 8 // 10
        lost = {name: store.end_lapsed(f"{name}-u", "algo-1", ended(), by) for name in
                ("for-ever", "running", "over", "renewed")}  # fmt: skip
        assert lost == {"for-ever": False, "running": False, "over": True, "renewed": False}
        assert [host_of(store, name).ended for name in lost] == list(lost.values())

    def test_a_runner_goes_on_until_its_host_has_ended(self, store: Store) -> None:
        """Its lease is never made shorter, and only written when there is something to gain."""
        by = store.servers.enter(new_server("a"), LONG)
        begin(store, "j", by, LONG)
        assert store.servers.renew_runner("j-u", "algo-1", 1000) == 800
        assert not store.end_lapsed("j-u", "algo-1", ended(), by)
        store.apply_events("j-u", "algo-1", [ended()])
        assert store.servers.renew_runner("j-u", "algo-1", LONG) is None
        assert store.servers.renew_runner("j-u", "algo-2", LONG) is None
        assert store.servers.renew_runner("k-u", "algo-1", LONG) is None
