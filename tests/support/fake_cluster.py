"""An engine of several nodes whose room lies in pieces, with the real rules of which nodes are kept for whom."""

from penstock.engines.base import Reservation
from penstock.engines.ray import nodes as cluster
from penstock.engines.ray.nodes import Node
from penstock.job.claim import Resources, resources_of
from penstock.testing.fake_engine import FakeEngine


class FakeCluster(FakeEngine):
    """Places gangs as Ray does: on the first nodes that have room, each instance on another one where that can be."""

    def __init__(self, nodes, cpus):
        each = Resources(cpus, 1 << 40, 0, cpus)
        super().__init__(each * nodes)
        self.each = each
        self.seats = {}
        self.kept = "", frozenset()
        self.keeps = True
        self.names = [f"n{n}" for n in range(nodes)]

    def nodes(self):
        taken = dict.fromkeys(self.names, Resources())
        for one, places in self.seats.values():
            for place in places:
                taken[place] += one
        return [Node(name, name, self.each, self.each - taken[name]) for name in self.names]

    def reserve(self, job_uid, wanted, beside=None):
        if job_uid in self.seats:
            return Reservation()
        nodes = self.nodes()
        gang = cluster.gang(wanted, nodes)
        kept = frozenset()
        if beside is not None and self.keeps:
            uid, before = self.kept
            first = cluster.gang(beside.resources, nodes)
            kept = cluster.keep(first, nodes, before if uid == beside.uid else frozenset())
            self.kept = beside.uid, kept
        rest = [node for node in nodes if node.id not in kept and gang.each.within(node.free)]
        if len(rest) < gang.count:
            return Reservation(ready=False, lacking="finds pieces", pieces=True)
        self.seats[job_uid] = gang.each, [node.id for node in rest[: gang.count]]
        return Reservation()

    def cancel(self, job_uid):
        super().cancel(job_uid)
        self.seats.pop(job_uid, None)

    def forget(self, handle):
        super().forget(handle)
        uid = handle.partition("/")[0]
        if not any(one.startswith(f"{uid}/") for one in self.runs):
            self.seats.pop(uid, None)

    def prepare(self, run):
        assert resources_of(run.request).instances == len(self.seats[run.job_uid][1])
        return super().prepare(run)
