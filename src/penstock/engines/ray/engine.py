"""A Ray cluster as an engine: jobs get room on its nodes, and there a runner for each instance.

This side holds no connection to Ray, and keeps on disk what must not be asked of it. When a node is away, or the
cluster down, it is not known whether runners live: they have a lease, report to the server by HTTP, and need nothing of
Ray while they work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.engines.base import Life, Machine, Remains, Reservation
from penstock.engines.ray import nodes as cluster
from penstock.engines.ray.helper import Unanswered
from penstock.engines.ray.kept import Kept, index
from penstock.engines.ray.link import Link
from penstock.engines.ray.nodes import Node
from penstock.engines.ray.rooms import Rooms
from penstock.errors import InternalFailure
from penstock.job.claim import Claim, Resources
from penstock.job.run import Run

_log = logging.getLogger(__name__)

#: Seconds in which nodes remove what they keep no longer, or tell what that would be.
_TIDIED = 60.0


class RayEngine:
    """Runs on the nodes of a Ray cluster."""

    name = "ray"

    def __init__(
        self,
        folder: Path,
        server: str,
        address: str,
        reachable: bool,
        changed: Callable[[], None],
        autoscaler: bool = False,
    ) -> None:
        """An engine that knows of no nodes yet.

        Args:
            folder: Where it keeps what it must not forget.
            server: By which name this server's runs go in the cluster.
            address: The cluster's, as `ray.init` has it.
            reachable: Whether other machines reach the server where runners are told that it is.
            changed: Called, from another thread, when a job may have room that had none.
            autoscaler: Whether there may be more nodes when Ray knows of a job that needs them.
        """
        self._address = address
        self._reachable = reachable
        self._changed = changed
        self._kept = Kept(folder)
        self._link = Link(address, server)
        self._rooms = Rooms(self._link, self._kept, changed, autoscaler)
        self._unsure: set[str] = set()
        """The runs whose start was not answered."""
        self._owed: set[str] | None = None
        """What a sweep that could not reach the cluster is to keep."""

    def warm_up(self) -> None:
        """Connect to the cluster, and stay connected."""
        self._link.start(self._seen, self._rooms.parted)

    def close(self) -> None:
        """End the connection. Runners go on; for who waits no more nodes are asked for."""
        self._rooms.close()
        self._link.close()

    def capacity(self) -> Resources:
        """Of all nodes together, as they announce it to Ray."""
        return self._link.total()

    def parts(self) -> Sequence[RayEngine]:
        """It is of one piece."""
        return (self,)

    def machines(self) -> Sequence[Machine]:
        """The nodes that there are, and those that are gone with instances of ours."""
        jobs: dict[str, dict[str, list[str]]] = {}
        addresses: dict[str, str] = {}
        for handle in self._kept.handles():
            if (seat := self._kept.seat(handle)) is not None:
                addresses[seat.node] = seat.address
                jobs.setdefault(seat.node, {}).setdefault(seat.job, []).append(handle.partition("/")[2])
        found = {node.id: node for node in self._link.nodes}
        gone = {
            one: self._link.known.get(one, Node(one, address, Resources(), Resources()))
            for one, address in addresses.items()
            if one not in found
        }
        return [
            Machine(
                node.name or node.address,
                node.address,
                self.name,
                node.total,
                node.free if node.id in found else None,
                jobs.get(node.id, {}),
                node.id in found and self._link.away is None,
            )
            for node in sorted([*found.values(), *gone.values()], key=lambda node: (node.name, node.id))
        ]

    def lacking(self, wanted: Resources) -> str | None:
        """Why a gang of instances could not be placed on the nodes that there are."""
        nodes = self._link.nodes
        if self._link.away is not None:
            return f"needs the Ray cluster at {self._address}: {self._link.away}"
        if not self._reachable and not all(node.driver for node in nodes):
            return (
                "needs a server that the cluster's nodes reach: set PENSTOCK_HOST, and PENSTOCK_REPORT_URL to its "
                "address there"
            )
        return cluster.lacking(cluster.gang(wanted, nodes), nodes)

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:
        """Have Ray place a gang, and Penstock answer on each of its nodes."""
        return self._rooms.reserve(job_uid, wanted, beside)

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """Have Ray know of one of them, where that may bring nodes."""
        self._rooms.want(waiting)

    def cancel(self, job_uid: str) -> None:
        """Remove the placement group, once it is there; on a cluster that is away, later."""
        self._rooms.cancel(job_uid)

    def prepare(self, run: Run) -> str:
        """Keep what the runner is to be told."""
        self._kept.keep(run)
        return run.handle

    def knows(self, handle: str) -> bool:
        """Whether it is kept what its runner is to be told."""
        return self._kept.has(handle)

    def start(self, handle: str) -> None:
        """Start the runner on its node, with the addresses of all.

        One start without an answer is not told of: it is asked for again when the node says that nothing was started.
        """
        job_uid, _, host = handle.partition("/")
        try:
            run = self._kept.run(handle)
        except FileNotFoundError as error:
            raise InternalFailure(f"The runner of {host} could not be started: {error}.") from error
        seats = self._kept.seats(job_uid)
        seat = self._kept.seat(handle)
        if seat is None:
            raise InternalFailure(
                f"The runner of {host} could not be started: it has no place in the cluster."
            )
        at = {name: seats[place].address for name in run.hosts if (place := index(name)) < len(seats)}
        many = len({one.node for one in seats})
        # On one node they have addresses of its loopback, as on a server's own machine.
        run = replace(run, addresses=at if many > 1 else {}, gpus=tuple(seat.gpus))
        try:
            refused = self._link.call("ask", seat, "start", run.to_json(), patient=True)
        except Unanswered as error:
            if handle not in self._unsure:
                # It may live. Its node tells whoever probes it, and as long as that can't be asked its lease runs.
                self._unsure.add(handle)
                _log.warning(
                    "Whether run %s was started on node %s is not known: %s", handle, seat.address, error
                )
                return
            refused = f"Ray says of its node {seat.address}: {error}"
        if refused is not None:
            raise InternalFailure(f"The runner of {host} could not be started: {refused.rstrip('.')}.")

    def probe(self, handle: str) -> Life:
        """Ask its node; unknown as long as that is away."""
        seat = self._kept.seat(handle)
        if seat is None:
            return Life.NEVER_STARTED
        if not self._link.has(seat.node):
            return Life.UNKNOWN
        try:
            life: Life = self._link.call("probe", seat, handle)
        except Unanswered:
            return Life.UNKNOWN
        return life

    def stop(self, handle: str) -> None:
        """Have its node ask it. Where that is away it hears it with its lease."""
        seat = self._kept.seat(handle)
        if seat is not None:
            self._link.ask("ask", seat, "stop", handle)

    def remains(self, handle: str, log_from: int) -> Remains:
        """Read them on its node."""
        seat = self._kept.seat(handle)
        if seat is None:
            return Remains([], b"", "")
        found: Remains = self._link.call("ask", seat, "remains", handle, log_from)
        return found

    def manifest(self, handle: str, start: int) -> bytes:
        """Read on in it on its node."""
        seat = self._kept.seat(handle)
        found: bytes = b"" if seat is None else self._link.call("ask", seat, "manifest", handle, start)
        return found

    def forget(self, handle: str) -> None:
        """Have its node remove the run's folder, and give the job's room back with its last run.

        A node that is away keeps the folder until a sweep that it is there for.
        """
        seat = self._kept.seat(handle)
        if seat is not None and self._link.has(seat.node):
            try:
                self._link.call("ask", seat, "forget", handle)
            except Unanswered as error:
                _log.warning("The folder of run %s stays on node %s for now: %s", handle, seat.address, error)
        self._unsure.discard(handle)
        if self._kept.forget(handle):
            self._rooms.cancel(handle.partition("/")[0])

    def sweep(self, keep: set[str]) -> None:
        """Look through all runs and all nodes; as soon as the cluster can be asked."""
        if self._link.away is not None:
            self._owed = keep
            return
        self._owed = None
        for handle in self._kept.handles() - keep:
            if self.probe(handle) is not Life.ALIVE:
                self.forget(handle)
        self._link.ask("sweep", keep | self._kept.handles())

    def tidy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have each node do it by its own settings."""
        self._link.wait()
        try:
            told: Mapping[str, Any] = self._link.call_within(_TIDIED, "tidy", dict(asked))
        except Unanswered as error:
            return {self._address: {"failed": str(error)}}
        return told

    def _seen(self, before: Sequence[Node], back: bool) -> None:
        """The nodes have been looked at, for the first time after the cluster was away when it is `back`."""
        nodes = self._link.nodes
        if back:
            self._rooms.clear()
        if self._owed is not None:
            # What has begun since is not for those to judge who looked before.
            fresh = self._rooms.fresh
            self.sweep(self._owed | {one for one in self._kept.handles() if one.partition("/")[0] in fresh})
        elif {node.id for node in nodes} - {node.id for node in before}:
            # One that was away may have what was to be removed meanwhile.
            self._link.ask("sweep", self._kept.handles())
        if back or before != nodes:
            self._changed()
