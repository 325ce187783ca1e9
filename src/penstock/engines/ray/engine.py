"""A Ray cluster as an engine: jobs get room on its nodes, and there a runner for each instance.

This side holds no connection to Ray, and keeps on disk what must not be asked of it: which run is to be started, and
on which node it has its seat. When a node is away, or the cluster down, it is not known whether runners live: they have
a lease, report to the server by HTTP, and need nothing of Ray while they work.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from penstock.engines.base import Life, Machine, Remains, Reservation
from penstock.engines.ray import nodes as cluster
from penstock.engines.ray.demand import Demand
from penstock.engines.ray.helper import Helper, Unanswered
from penstock.engines.ray.nodes import Node, Seat
from penstock.errors import InternalFailure
from penstock.job.claim import Claim, Resources, counted
from penstock.job.life import from_key
from penstock.job.run import Run

_log = logging.getLogger(__name__)

#: Seconds: how often the nodes are looked at; how long a connection may take, and an answer; how long the cluster may
#: be silent before nobody waits for it; when a gang that found no room is tried again.
_LOOK, _CONNECT, _ANSWER, _SILENCE, _AGAIN = 1.0, 60.0, 30.0, 5.0, 2.0
#: Seconds in which nodes remove what they keep no longer, or tell what that would be.
_TIDIED = 60.0


@dataclass
class _Wish:
    """Room that was asked for."""

    answer: Future[Any]
    gang: cluster.Gang
    at: float
    refused: str | None = None
    """Why there was none before."""
    kept: frozenset[str] = frozenset()
    """The nodes on which it is others'."""
    pieces: bool = False
    """Whether there was none before because what is free lies in pieces."""

    @property
    def lost(self) -> bool:
        """Whether it is known that there is none."""
        return self.answer.done() and not (
            self.answer.exception() is None and isinstance(self.answer.result(), list)
        )


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
        self._folder = folder
        self._server = server
        self._address = address
        self._reachable = reachable
        self._changed = changed
        self._demand = Demand(self._show, self._withdraw) if autoscaler else None
        self._known: dict[str, Node] = {}
        """All nodes that there were, by their ids."""
        self._kept: tuple[str, frozenset[str]] = "", frozenset()
        """The job for which nodes are kept free, and which."""
        self._showing: Future[Any] = Future()
        """Done when all is that was asked to be shown."""
        self._showing.set_result(None)
        self._helper: Helper | None = None
        self._nodes: Sequence[Node] = ()
        self._heard_at = time.monotonic()
        self._away: str | None = "the server is just connecting"
        self._wishes: dict[str, _Wish] = {}
        self._leaving: set[str] = set()
        """The jobs that have given room back which the cluster may not have taken yet."""
        self._fresh: set[str] = set()
        """The jobs that have been given room since this was made."""
        self._unsure: set[str] = set()
        """The runs whose start was not answered."""
        self._owed: set[str] | None = None
        """What a sweep that could not reach the cluster is to keep."""
        self._looked = threading.Event()
        """Set once the nodes have been looked at, or could not be."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="ray", daemon=True)

    def warm_up(self) -> None:
        """Connect to the cluster, and stay connected."""
        self._thread.start()

    def close(self) -> None:
        """End the connection. Runners go on; for who waits no more nodes are asked for."""
        self._ending.set()
        for job_uid in self._demand.shown() if self._demand else ():
            if not self._seats(job_uid):
                with suppress(Unanswered, TimeoutError):
                    self._showing.result(_SILENCE)
                    self._ask("cancel", job_uid).result(_SILENCE)
        if self._helper is not None:
            self._helper.close()
        if self._thread.is_alive():
            self._thread.join(_LOOK)

    def capacity(self) -> Resources:
        """Of all nodes together, as they announce it to Ray."""
        return sum((node.total for node in self._nodes), Resources())

    def parts(self) -> Sequence[RayEngine]:
        """It is of one piece."""
        return (self,)

    def machines(self) -> Sequence[Machine]:
        """The nodes that there are, and those that are gone with instances of ours."""
        jobs: dict[str, dict[str, list[str]]] = {}
        addresses: dict[str, str] = {}
        for handle in self._handles():
            if (seat := self._seat(handle)) is not None:
                addresses[seat.node] = seat.address
                jobs.setdefault(seat.node, {}).setdefault(seat.job, []).append(handle.partition("/")[2])
        found = {node.id: node for node in self._nodes}
        gone = {
            one: self._known.get(one, Node(one, address, Resources(), Resources()))
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
                node.id in found and self._away is None,
            )
            for node in sorted([*found.values(), *gone.values()], key=lambda node: (node.name, node.id))
        ]

    def lacking(self, wanted: Resources) -> str | None:
        """Why a gang of instances could not be placed on the nodes that there are."""
        if self._away is not None:
            return f"needs the Ray cluster at {self._address}: {self._away}"
        if not self._reachable and not all(node.driver for node in self._nodes):
            return (
                "needs a server that the cluster's nodes reach: set PENSTOCK_HOST, and PENSTOCK_REPORT_URL to its "
                "address there"
            )
        return cluster.lacking(cluster.gang(wanted, self._nodes), self._nodes)

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:
        """Have Ray place a gang, and Penstock answer on each of its nodes."""
        if seats := self._seats(job_uid):
            # They are kept on disk: the server may have been away since, and a node may have ended meanwhile.
            if {seat.node for seat in seats} <= {node.id for node in self._nodes}:
                self._fresh.add(job_uid)
                return _ready(seats)
            self.cancel(job_uid)
        if job_uid in self._leaving:
            return Reservation(ready=False)
        wish = self._wishes.get(job_uid)
        if wish is None or (wish.answer.done() and wish.refused and time.monotonic() - wish.at > _AGAIN):
            wish = self._wishes[job_uid] = self._wish(job_uid, wanted, wish, self._kept_for(beside))
        if not wish.answer.done():
            return Reservation(ready=False, lacking=wish.refused, pieces=wish.pieces)
        try:
            found = wish.answer.result()
        except Unanswered as error:
            found = str(error)
        if isinstance(found, list):
            self._fresh.add(job_uid)
            self._write(self._job(job_uid) / "seats", json.dumps([asdict(seat) for seat in found]))
            del self._wishes[job_uid]
            return _ready(found)
        wish.pieces = found is None
        if found is None:
            rest = [node for node in self._nodes if node.id not in wish.kept]
            wish.refused = cluster.refused(wish.gang, rest)
            if beside is not None and wish.kept:
                wish.refused += (
                    f"; {counted(len(self._nodes) - len(rest), 'node')} are kept free for {beside.name}"
                )
        else:
            wish.refused = f"needs Penstock on its nodes: {found.rstrip('.')}"
        return Reservation(ready=False, lacking=wish.refused, pieces=wish.pieces)

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """Have Ray know of one of them, where that may bring nodes."""
        if self._demand is not None and self._away is None:
            asked = [(one.uid, cluster.gang(one.resources, self._nodes)) for one in waiting()]
            if self._leaving.isdisjoint(uid for uid, _ in asked):  # else it is asked again when that is done
                self._demand.follow(asked, time.monotonic())

    def _show(self, job_uid: str, gang: cluster.Gang) -> None:
        before, asked = self._showing, (job_uid, gang, cluster.spreads(gang, self._nodes))
        self._showing = Future()

        def show(_: object, done: Future[Any] = self._showing) -> None:
            self._ask("show", *asked).add_done_callback(lambda _: done.set_result(None))

        before.add_done_callback(show)

    def _withdraw(self, job_uid: str) -> None:
        """Unless it has got what it wanted."""
        wish = self._wishes.get(job_uid)
        if self._seats(job_uid) or (wish is not None and not wish.lost):
            return
        self._leaving.add(job_uid)
        self._leave(job_uid)

    def _leave(self, job_uid: str) -> None:
        """Have the cluster take the room back of a job that is leaving."""

        def left(_: object) -> None:
            self._leaving.discard(job_uid)
            self._changed()

        # The helper does things side by side: what is still to be shown can't be withdrawn before it is.
        self._showing.add_done_callback(lambda _: self._ask("cancel", job_uid).add_done_callback(left))

    def _kept_for(self, first: Claim | None) -> frozenset[str]:
        """The nodes that are kept free for a job."""
        if first is None:
            return frozenset()
        job_uid, before = self._kept
        gang = cluster.gang(first.resources, self._nodes)
        kept = cluster.keep(gang, self._nodes, before if job_uid == first.uid else frozenset())
        self._kept = first.uid, kept
        return kept

    def cancel(self, job_uid: str) -> None:
        """Remove the placement group and the doors, once it is there; on a cluster that is away, later."""
        self._fresh.discard(job_uid)
        wish = self._wishes.pop(job_uid, None)
        if wish is not None or self._seats(job_uid):
            self._leaving.add(job_uid)
        shutil.rmtree(self._job(job_uid), ignore_errors=True)

        if wish is not None:
            wish.answer.add_done_callback(lambda _: self._leave(job_uid))
        elif job_uid in self._leaving:
            self._leave(job_uid)

    def prepare(self, run: Run) -> str:
        """Keep what the runner is to be told."""
        self._write(self._folder / run.handle, run.to_json())
        return run.handle

    def knows(self, handle: str) -> bool:
        """Whether it is kept what its runner is to be told."""
        return (self._folder / handle).exists()

    def start(self, handle: str) -> None:
        """Start the runner on its node, with the addresses of all.

        One start without an answer is not told of: it is asked for again when the node says that nothing was started.
        """
        job_uid, _, host = handle.partition("/")
        try:
            run = Run.from_json((self._folder / handle).read_text())
        except FileNotFoundError as error:
            raise InternalFailure(f"The runner of {host} could not be started: {error}.") from error
        seats = self._seats(job_uid)
        seat = self._seat(handle)
        if seat is None:
            raise InternalFailure(
                f"The runner of {host} could not be started: it has no place in the cluster."
            )
        at = {name: seats[place].address for name in run.hosts if (place := _index(name)) < len(seats)}
        many = len({one.node for one in seats})
        # On one node they have addresses of its loopback, as on a server's own machine.
        run = replace(run, addresses=at if many > 1 else {}, gpus=tuple(seat.gpus))
        try:
            refused = self._call("ask", seat, "start", run.to_json(), patient=True)
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
        seat = self._seat(handle)
        if seat is None:
            return Life.NEVER_STARTED
        if seat.node not in {node.id for node in self._nodes}:
            return Life.UNKNOWN
        try:
            life: Life = self._call("probe", seat, handle)
        except Unanswered:
            return Life.UNKNOWN
        return life

    def stop(self, handle: str) -> None:
        """Have its node ask it. Where that is away it hears it with its lease."""
        seat = self._seat(handle)
        if seat is not None:
            self._ask("ask", seat, "stop", handle)

    def remains(self, handle: str, log_from: int) -> Remains:
        """Read them on its node."""
        seat = self._seat(handle)
        if seat is None:
            return Remains([], b"", "")
        found: Remains = self._call("ask", seat, "remains", handle, log_from)
        return found

    def manifest(self, handle: str, start: int) -> bytes:
        """Read on in it on its node."""
        seat = self._seat(handle)
        found: bytes = b"" if seat is None else self._call("ask", seat, "manifest", handle, start)
        return found

    def forget(self, handle: str) -> None:
        """Have its node remove the run's folder, and give the job's room back with its last run.

        A node that is away keeps the folder until a sweep that it is there for.
        """
        job_uid = handle.partition("/")[0]
        seat = self._seat(handle)
        if seat is not None and seat.node in {node.id for node in self._nodes}:
            try:
                self._call("ask", seat, "forget", handle)
            except Unanswered as error:
                _log.warning("The folder of run %s stays on node %s for now: %s", handle, seat.address, error)
        (self._folder / handle).unlink(missing_ok=True)
        self._unsure.discard(handle)
        if not any(self._job(job_uid).glob("algo-*")):
            self.cancel(job_uid)

    def sweep(self, keep: set[str]) -> None:
        """Look through all runs and all nodes; as soon as the cluster can be asked."""
        if self._away is not None:
            self._owed = keep
            return
        self._owed = None
        for handle in self._handles() - keep:
            if self.probe(handle) is not Life.ALIVE:
                self.forget(handle)
        self._ask("sweep", keep | self._handles())

    def tidy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have each node do it by its own settings."""
        self._looked.wait(_CONNECT)
        helper = self._helper
        if helper is None:
            return {self._address: {"failed": self._away or "the connection is being made again"}}
        try:
            told: Mapping[str, Any] = helper.call("tidy", dict(asked), timeout=_TIDIED)
        except Unanswered as error:
            return {self._address: {"failed": str(error)}}
        return told

    def _clear(self) -> None:
        """Have groups removed that no job of ours has: what could not be asked for while the cluster was away."""
        groups = self._call("jobs")
        # In this order: who asks for room is among the wishes until it is in the folder.
        known = self._leaving | set(self._wishes) | (self._demand.shown() if self._demand else set())
        known |= {path.name for path in self._folder.glob("*")}
        for job_uid in groups - known:
            self._leaving.add(job_uid)
            self._leave(job_uid)

    def _handles(self) -> set[str]:
        return {f"{path.parent.name}/{path.name}" for path in self._folder.glob("*/algo-*")}

    def _wish(self, job_uid: str, wanted: Resources, before: _Wish | None, kept: frozenset[str]) -> _Wish:
        gang = cluster.gang(wanted, self._nodes)
        rest = [node for node in self._nodes if node.id not in kept]
        if rest:
            answer = self._ask("reserve", job_uid, gang, cluster.spreads(gang, rest), sorted(kept))
            answer.add_done_callback(lambda _: self._changed())
        else:  # there is nothing to ask for
            answer = Future()
            answer.set_result(None)
        wish = _Wish(answer, gang, time.monotonic(), kept=kept)
        if before is not None:
            wish.refused, wish.pieces = before.refused, before.pieces
        return wish

    def _loop(self) -> None:
        while not self._ending.is_set():
            try:
                self._look()
            except Unanswered as error:
                if self._away != str(error) and not self._ending.is_set():
                    _log.warning("The Ray cluster at %s can't be used: %s", self._address, error)
                self._away = str(error)
                self._end_helper()
            except Exception:  # noqa: BLE001 - the loop must outlive whatever it meets
                _log.exception("The nodes of the Ray cluster can't be looked at; it is tried again")
            self._looked.set()
            self._ending.wait(_LOOK)

    def _look(self) -> None:
        """See which nodes there are, by a helper that works."""
        if self._helper is None:
            helper = Helper("penstock.engines.ray.driver", self._address, self._server)
            try:
                helper.ready(_CONNECT)
            except Unanswered:
                helper.close()
                raise
            self._helper = helper
        found = self._helper.call("nodes", timeout=_ANSWER)
        self._heard_at = time.monotonic()
        before, self._nodes = self._nodes, found
        self._known |= {node.id: node for node in found}
        away, self._away = self._away, None
        if away is not None:
            _log.info("Jobs run on the Ray cluster at %s: %s", self._address, self.capacity())
            self._clear()
        if self._owed is not None:
            # What has begun since is not for those to judge who looked before.
            self.sweep(self._owed | {one for one in self._handles() if one.partition("/")[0] in self._fresh})
        elif {node.id for node in found} - {node.id for node in before}:
            self._ask("sweep", self._handles())  # one that was away may have what was to be removed meanwhile
        if away is not None or before != found:
            self._changed()

    def _end_helper(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()
            if self._demand is not None:
                self._demand.forgotten()

    def _ask(self, what: str, *arguments: Any) -> Future[Any]:
        helper = self._helper
        if helper is not None:
            return helper.ask(what, *arguments)
        future: Future[Any] = Future()
        future.set_exception(Unanswered(self._away or "the connection is being made again"))
        return future

    def _call(self, what: str, *arguments: Any, patient: bool = False) -> Any:
        """Ask, and wait; where it can be asked again later, only of a cluster that has answered a moment ago."""
        helper = self._helper
        silent = time.monotonic() - self._heard_at
        if helper is not None and not patient and silent > _SILENCE:
            raise Unanswered(f"it has not answered for {silent:.0f} s")
        if helper is None:
            raise Unanswered(self._away or "the connection is being made again")
        return helper.call(what, *arguments, timeout=_ANSWER)

    def _job(self, job_uid: str) -> Path:
        return self._folder / job_uid

    def _seats(self, job_uid: str) -> list[Seat]:
        """Where a job's instances are; none when it has no room."""
        try:
            return [Seat(**one) for one in json.loads((self._job(job_uid) / "seats").read_text())]
        except (FileNotFoundError, ValueError):
            return []

    def _seat(self, handle: str) -> Seat | None:
        job_uid, _, host = handle.partition("/")
        seats = self._seats(job_uid)
        there = (self._folder / handle).exists() and _index(host) < len(seats)
        return seats[_index(host)] if there else None

    def _write(self, path: Path, text: str) -> None:
        """A file of our own, with a run's token perhaps; whole or not at all."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.parent / f".{path.name}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def _ready(seats: Sequence[Seat]) -> Reservation:
    nodes = len({seat.node for seat in seats})
    share = f"{counted(len(seats), 'instance')} share {counted(nodes, 'node')} of the cluster."
    return Reservation(notes=(share,) if nodes < len(seats) else ())


def _index(key: str) -> int:
    return int(from_key(key)[0].rpartition("-")[2]) - 1
