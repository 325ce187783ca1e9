"""Gangs on a cluster that is never nearly empty: by the simulated clock, with the dispatcher as it is."""

import pytest
from dispatch_world import World
from fake_cluster import FakeCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.dispatch.schedule import PATIENCE_MS
from penstock.engines.ray.nodes import Gang, Node, keep
from penstock.job.claim import Resources
from penstock.job.life import Phase

SECOND = 1000


class Busy(World):
    """Small jobs come for ever, more than there is room for; a job of so many instances has come among them."""

    def __init__(self, folder, nodes, lives, gang, *, keeps=True, owner="others"):
        super().__init__(folder)
        self.engine = FakeCluster(nodes, cpus=2)
        self.engine.keeps = keeps
        self.at = 10_000
        self.time = iter(lambda: self.at, None)
        self.restart()
        self.lives, self.came, self.ends = lives, 0, {}
        self.small()
        self.pass_by()
        self.submit("gang", gang, kind="ml.m5.large", owner=owner)

    def small(self):
        """Two wait at any time, so that each that ends is followed at once."""
        queued = sum(claim.name != "gang" for claim in self.store.waiting())
        while queued < 2 * len(self.engine.names):
            self.submit(f"small-{self.came}", owner="others", kind="ml.t2.small")
            self.came += 1
            queued += 1

    def pass_by(self):
        """One second: what has run its time ends, others come, and the dispatcher makes its passes."""
        self.at += SECOND
        for name, end in list(self.ends.items()):
            if end <= self.at:
                self.report(name, outcome="succeeded")
                del self.ends[name]
        self.small()
        for _ in range(2):
            self.dispatcher.step()
        for job in self.store.begun_jobs():
            if job.name != "gang" and job.name not in self.ends:
                life = self.lives[int(job.name.rpartition("-")[2]) % len(self.lives)]
                self.ends[job.name] = self.at + life * SECOND

    def seconds_until_gang(self, most):
        for second in range(most):
            if self.phase("gang") is not Phase.QUEUED:
                return second
            self.pass_by()
        return None


@pytest.fixture
def busy(tmp_path_factory):
    made = []

    def make(*args, **more):
        made.append(Busy(tmp_path_factory.mktemp("busy"), *args, **more))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


PATIENCE = PATIENCE_MS // SECOND
LIVES = [7, 11, 5, 13, 9]


def test_a_gang_that_finds_room_in_pieces_alone_begins_after_its_patience_and_others_go_on(busy):
    world = busy(4, LIVES, 2)
    # Sums alone would have it begin at once: a processor is free on each node at times, never two nodes whole.
    assert not (world.seconds_until_gang(PATIENCE - 1) or 0) > 0
    before = world.came
    took = world.seconds_until_gang(PATIENCE)
    assert took is not None
    assert took <= 2 * max(LIVES)
    assert world.came > before, "those behind it had the other nodes meanwhile"


def test_the_nodes_that_are_kept_are_what_does_it(busy):
    assert busy(4, LIVES, 2, keeps=False).seconds_until_gang(6 * PATIENCE) is None


@settings(max_examples=5, deadline=None)
@given(st.integers(2, 5), st.lists(st.integers(2, 15), min_size=1, max_size=6), st.data())
def test_no_gang_starves_that_the_cluster_is_large_enough_for(tmp_path_factory, nodes, lives, data):
    gang = data.draw(st.integers(1, nodes))
    world = Busy(tmp_path_factory.mktemp("busy"), nodes, lives, gang)
    try:
        # Each node that is kept is free when what ran there when that began has ended.
        assert world.seconds_until_gang(PATIENCE + max(lives) * nodes + 30) is not None
    finally:
        world.store.close()


def nodes_of(*free):
    total = Resources(4, 1 << 40, 0, 4)
    return [Node(f"n{n}", "", total, Resources(cpus, 1 << 40, 0, cpus)) for n, cpus in enumerate(free)]


def test_those_with_most_room_are_kept_and_stay_so_until_one_is_gone():
    two = Gang(Resources(4, 0, 0, 1), 2)
    kept = keep(two, nodes_of(0, 3, 1, 2))
    assert kept == {"n1", "n3"}
    assert keep(two, nodes_of(4, 3, 1, 2), kept) == kept
    assert keep(two, nodes_of(4, 3, 1), kept) == {"n0", "n1"}
    assert keep(Gang(Resources(2, 0, 0, 1), 5), nodes_of(0, 3, 1)) == {"n0", "n1", "n2"}, "two on a node"
