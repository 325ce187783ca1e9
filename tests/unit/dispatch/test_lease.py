"""Dispatchers of several servers over one database, each with a fake engine for its own machine, stepped by hand."""

import itertools
import threading

import pytest
from failure_table import assert_told
from sqlalchemy import select, update

from penstock.dispatch.lease import Lease
from penstock.dispatch.loop import Dispatcher
from penstock.dispatch.outlook import outlook
from penstock.engines.base import Life
from penstock.errors import ConfigurationError
from penstock.job.claim import Resources
from penstock.job.events import HostEvent
from penstock.job.life import Carrier, Job, Phase, StopAsked, advance
from penstock.job.run import Run, S3Access
from penstock.store.database import open_sqlite
from penstock.store.logbook import DatabaseLogbook
from penstock.store.servers import Occupied, Server
from penstock.store.tables import hosts
from penstock.testing.fake_engine import FakeEngine

LONG = 3_600_000


class Cluster:
    def __init__(self, folder):
        self.store = open_sqlite(folder / "p.db")
        self.logbook = DatabaseLogbook(self.store._dialect)
        self.time = itertools.count(10_000, 7)
        self.servers = {}

    def add(self, name, machine="one", slots=2, runner_ms=LONG):
        self.servers[name] = Node(self, name, machine, slots, runner_ms)
        return self.servers[name]

    def submit(self, *names):
        for name in names:
            at = next(self.time)
            request = {"ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": ""}}}
            job = Job(name, f"{name}-uid", f"arn:{name}", request, at, at, phases={"queued": at})
            self.store.add_job(job, {})

    def report(self, name, sequence=1, **data):
        kind = "phase" if "phase" in data else "ended"
        self.store.apply_events(f"{name}-uid", "algo-1", [HostEvent(sequence, kind, next(self.time), data)])

    def lapse_runners(self):
        """All runners' leases are over, by the database."""
        with self.store._engine.begin() as c:
            c.exec_driver_sql("UPDATE hosts SET lease_until = 0")

    def leased_for(self, name):
        """For how many milliseconds a runner's lease runs, about."""
        with self.store._engine.begin() as c:
            now = self.store._dialect.now
            query = select(hosts.c.lease_until - now).where(hosts.c.job_uid == f"{name}-uid")
            return c.execute(query).scalar_one()

    def job(self, name):
        return self.store.job(name)


class Node:
    """A server: its lease, its dispatcher, and the engine of its machine."""

    def __init__(self, cluster, name, machine, slots, runner_ms):
        self.name = name
        self.cluster = cluster
        self.machine = machine
        self.capacity = Resources(64, 1 << 50, 0, slots)
        self.engine = FakeEngine(self.capacity)
        me = Server(name, f"http://{name}", machine, f"/home/{name}", self.capacity, {})
        self.seconds = 1000.0
        self.lease = Lease(
            cluster.store.servers, me, LONG, runner_ms, self.reach, elapsed=lambda: self.seconds
        )
        self.lease.take()
        self.dispatcher = Dispatcher(
            cluster.store, cluster.logbook, self.engine, self.make_run, lambda: next(cluster.time),
            right=self.lease,
        )  # fmt: skip

    def reach(self, server):
        near = server.machine == self.machine
        return self.cluster.servers[server.id].engine if near else None

    def make_run(self, job, host, hosts, token):
        s3 = S3Access(None, "us-east-1")
        return Run(
            job.name, job.uid, job.arn, host, hosts, job.request, "r", token, "http://x", None, s3, "/e"
        )

    def step(self):
        self.dispatcher.step()

    def beat_for(self, seconds, every=5.0):
        """Its lease is renewed for so long, by its own clock."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += every
            self.lease.beat()

    def lapse(self):
        """Its lease ends in the database; it has not noticed yet, as when it was held up."""
        self.cluster.store.servers.leave(self.lease.held())

    def run(self, name):
        return self.engine.runs.get(f"{name}-uid/algo-1")


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.store.close()


def test_each_begins_as_many_as_its_machine_has_room_for(cluster):
    a, b = cluster.add("a", slots=2), cluster.add("b", slots=3)
    cluster.submit(*"uvwxyz")
    a.step()
    b.step()
    a.step()
    assert sorted(a.engine.runs) == ["u-uid/algo-1", "v-uid/algo-1"]
    assert sorted(b.engine.runs) == ["w-uid/algo-1", "x-uid/algo-1", "y-uid/algo-1"]
    assert cluster.job("z").phase is Phase.QUEUED
    cluster.report("w", outcome="succeeded")
    a.step()
    assert cluster.job("w").phase is Phase.PREPARING, "another's job was carried on"
    b.step()
    assert cluster.job("w").phase is Phase.COMPLETED
    assert b.run("z").starts == 1


def test_what_a_silent_server_carried_is_carried_on_by_another_of_its_machine(cluster):
    a, b = cluster.add("a"), cluster.add("b")
    cluster.submit("x", "y")
    a.step()
    b.step()
    assert cluster.job("x").carrier.server == "a"
    a.lapse()
    b.step()
    assert {cluster.job(name).carrier for name in "xy"} == {b.lease.held()}
    assert {cluster.job(name).place for name in "xy"} == {"a"}
    assert b.run("x") is None
    assert a.run("x").starts == 1
    # It stops and salvages there, and what runs there takes no room of its own machine.
    cluster.store.save_job(advance(cluster.job("x"), StopAsked(), next(cluster.time)))
    cluster.report("y", phase="running")
    a.run("y").life = Life.DEAD
    cluster.submit("v", "w")
    b.step()
    assert a.run("x").stops == 1
    assert a.run("y").starts == 2
    assert [b.run(name).starts for name in "vw"] == [1, 1]
    cluster.report("x", outcome="halted")
    b.step()
    assert a.run("x") is None


def test_a_server_that_was_held_up_does_nothing_until_it_has_a_lease_again(cluster):
    a, b = cluster.add("a"), cluster.add("b")
    cluster.submit("x")
    a.step()
    a.lapse()
    b.step()
    carried = cluster.job("x")
    cluster.submit("y")
    a.run("x").life = Life.DEAD  # it would tell the end, were it still its to tell
    a.step()
    assert cluster.job("x") == carried
    assert not cluster.store.hosts("x-uid")[0].ended
    assert a.run("y") is None
    assert cluster.job("y").phase is Phase.QUEUED
    a.run("x").life = Life.ALIVE
    a.lease.beat()
    assert a.lease.held().epoch == 2
    assert cluster.job("x").carrier == a.lease.held()
    b.step()  # whose job it is no more
    assert cluster.job("x").carrier == a.lease.held()
    cluster.report("x", outcome="succeeded")
    a.step()
    assert cluster.job("x").phase is Phase.COMPLETED


def test_a_server_whose_lease_is_over_by_its_own_clock_does_nothing(cluster):
    a = cluster.add("a")
    cluster.submit("x")
    a.seconds += LONG / 1000
    assert a.lease.held() is None
    a.step()
    assert a.engine.runs == {}


def test_jobs_of_a_machine_out_of_reach_go_on_and_are_lost_when_their_runners_lease_is_over(cluster):
    a = cluster.add("a", machine="one", runner_ms=LONG)
    cluster.submit("x")
    a.step()
    b = cluster.add("b", machine="two")
    a.lapse()
    b.step()
    assert cluster.job("x").carrier == b.lease.held()
    cluster.report("x", phase="running")
    b.step()
    assert cluster.job("x").phase is Phase.RUNNING
    assert not cluster.store.hosts("x-uid")[0].ended
    cluster.lapse_runners()
    b.beat_for(30)
    b.step()
    job = cluster.job("x")
    assert job.phase is Phase.FAILED
    assert_told("the machine of a job is gone, with all its servers", job.failure_reason)
    assert a.run("x").stops == 0
    assert "x-uid/algo-1" in a.engine.runs, "another machine's folder was touched"
    # Back again, it clears up what is left there.
    a.run("x").life = Life.DEAD
    a.lease.beat()
    a.step()
    assert a.engine.runs == {}


@pytest.mark.parametrize("away", [0, 20])
def test_who_was_away_hears_runners_before_it_ends_them(cluster, away):
    """After an outage of the database, or of all servers, their leases are over, and some have an end to tell."""
    a, b = cluster.add("a"), cluster.add("b", machine="two")
    cluster.submit("heard", "silent")
    a.step()
    a.lapse()
    if away:  # it was there before, and could not renew its lease for a while
        b.beat_for(60)
        b.seconds += away
        b.lease.beat()
    cluster.lapse_runners()
    b.step()
    b.beat_for(25)
    b.step()
    assert [cluster.job(name).phase for name in ("heard", "silent")] == [Phase.PREPARING] * 2
    cluster.report("heard", outcome="succeeded")
    b.beat_for(5)
    b.step()
    assert cluster.job("heard").phase is Phase.COMPLETED
    assert "algo-1 is lost" in cluster.job("silent").failure_reason


def test_with_a_short_lease_of_runners_it_waits_for_less(cluster):
    b = cluster.add("b", runner_ms=10_000)
    b.beat_for(4, every=1)
    assert not b.lease.settled()
    b.beat_for(1, every=1)
    assert b.lease.settled()


def test_what_is_on_record_outlasts_what_a_runner_was_promised(cluster):
    """By a tenth at least: its end takes a moment, and clocks do not go equally fast."""
    a = cluster.add("a")
    cluster.submit("x")
    a.step()
    for left, after in ((LONG * 91 // 100, LONG * 91 // 100), (LONG * 89 // 100, LONG)):
        with cluster.store._engine.begin() as c:
            c.execute(update(hosts).values(lease_until=cluster.store._dialect.now + left))
        promised = cluster.store.servers.renew_runner("x-uid", "algo-1", LONG)
        assert promised == LONG * 8 // 10
        # As far as a test may be late: a part of an hour.
        assert after - LONG // 200 < cluster.leased_for("x") <= after
        assert cluster.leased_for("x") >= promised + LONG // 10


def test_a_job_is_left_to_whoever_is_on_the_machine_of_its_runners(cluster):
    a, b, far = cluster.add("a"), cluster.add("b"), cluster.add("far", machine="two")
    cluster.submit("x")
    a.step()
    a.lapse()
    far.step()
    assert cluster.job("x").carrier.server == "a"
    b.step()
    assert cluster.job("x").carrier.server == "b"
    b.lapse()
    far.step()
    assert cluster.job("x").carrier.server == "far"


def test_of_many_servers_at_once_each_job_is_begun_by_one(cluster):
    nodes = [cluster.add(name, slots=100) for name in "abcd"]
    names = [f"j{n}" for n in range(40)]
    cluster.submit(*names)
    threads = [threading.Thread(target=node.step) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for node in nodes:
        node.step()
    starts = {name: sum(node.run(name).starts for node in nodes if node.run(name)) for name in names}
    assert set(starts.values()) == {1}


def test_a_lease_that_is_closed_lets_others_take_over_at_once(cluster):
    a, b = cluster.add("a"), cluster.add("b")
    cluster.submit("x")
    a.step()
    a.lease.close()
    assert a.lease.held() is None
    b.step()
    assert cluster.job("x").carrier.server == "b"


def test_a_lease_is_renewed_by_its_thread_and_who_lives_is_told(cluster):
    told = threading.Event()
    me = Server("c", "http://c", "one", "/home/c", Resources(), {})
    lease = Lease(cluster.store.servers, me, 400, LONG, lambda _: None, lambda alive: alive and told.set())
    lease.take()
    lease.start()
    assert told.wait(30)
    assert lease.held().server == "c"
    lease.close()


def test_a_server_that_may_not_enter_again_begins_nothing(cluster):
    """Its settings were changed, say, while it was held up, on all others."""
    me = Server("c", "http://c", "one", "/home/c", Resources(), {"keys": "old"})
    lease = Lease(cluster.store.servers, me, LONG, LONG, lambda _: None)
    lease.take()
    cluster.store.servers.leave(lease.held())
    cluster.store.servers.enter(Server("d", "http://d", "one", "/home/d", Resources(), {"keys": "new"}), LONG)
    with pytest.raises(ConfigurationError, match=r"Copy keys\.json"):
        lease.beat()
    assert lease.held() is None


def test_a_home_that_moved_is_served_once_the_lease_of_its_dead_server_is_over(cluster):
    """At once where it was, and elsewhere soon."""
    servers = cluster.store.servers
    old, new = (Server("c", "http://c", machine, "/home/c", Resources(), {}) for machine in ("one", "two"))
    servers.enter(old, LONG)
    again = Lease(servers, old, 300, LONG, lambda _: None)
    again.take()
    moved = Lease(servers, new, LONG, LONG, lambda _: None)
    moved.take()
    assert moved.held() == Carrier("c", 3)
    with pytest.raises(Occupied):
        again.beat()
    assert again.held() is None


def test_a_copied_home_is_refused_while_the_other_works(cluster):
    servers = cluster.store.servers
    old, copy = (Server("c", "http://c", "one", f"/home/{home}", Resources(), {}) for home in "cd")
    working = Lease(servers, old, LONG, LONG, lambda _: None)
    working.take()
    copied = Lease(servers, copy, LONG, LONG, lambda _: None)

    def wait(seconds):
        assert 0 < seconds < LONG / 1000 + 1
        working.beat()

    copied._ending.wait = wait
    with pytest.raises(Occupied, match=r"home /home/c on this machine.*server\.id in the copy"):
        copied.take()
    assert working.held() == Carrier("c", 1)


def test_the_queue_is_that_of_all_machines_and_names_who_carries(cluster):
    a, b = cluster.add("a", slots=1), cluster.add("b", slots=2)
    cluster.submit("u", "v", "w", "x", "y")
    a.step()
    b.step()
    b.lapse()
    a.step()
    a.lease.beat()
    known = list(a.lease.known().values())
    told = outlook(cluster.store, FakeEngine(a.capacity), 20_000, known)
    assert [(one["name"], one["server"]) for one in told["running"]] == [
        ("u", "http://a"), ("v", "http://a"), ("w", "http://a"),
    ]  # fmt: skip
    assert told["capacity"]["instances"] == 1  # of those that live
    assert [(one["name"], one["position"]) for one in told["waiting"]] == [("x", 1), ("y", 2)]
    b.lease.beat()
    a.lease.beat()
    told = outlook(cluster.store, FakeEngine(a.capacity), 20_000, list(a.lease.known().values()))
    assert (told["capacity"]["instances"], told["free"]["instances"]) == (3, 0)
    assert {one["server"] for one in told["running"]} == {"http://a", "http://b"}
    cluster.report("w", outcome="succeeded")
    b.step()


def test_who_lives_is_told_before_the_first_beat(tmp_path):
    """Runners of a server that is killed at once must know where the others are."""
    one = Cluster(tmp_path).add("one")
    told = []
    two = Server("two", "http://two", "two", "/home/two", one.capacity, {})
    lease = Lease(one.cluster.store.servers, two, LONG, LONG, lambda _: None, told.append)
    lease.take()
    lease.start()  # its first beat is seconds away
    assert [[entered.server.url for entered in alive] for alive in told] == [["http://one", "http://two"]]
    lease.close()
