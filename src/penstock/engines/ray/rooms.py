"""Room in the cluster: who has asked for it, has it, and is giving it back; and whom an autoscaler is shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from penstock.engines.base import Reservation
from penstock.engines.ray import nodes as cluster
from penstock.engines.ray.demand import Demand
from penstock.engines.ray.helper import Unanswered
from penstock.engines.ray.kept import Kept
from penstock.engines.ray.link import SILENCE, Link
from penstock.engines.ray.nodes import Seat
from penstock.job.claim import Claim, Resources, counted

#: After how many seconds a gang that found no room is tried again.
_AGAIN = 2.0


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


class Rooms:
    """A part of the `RayEngine`, with whose words it is described."""

    def __init__(self, link: Link, kept: Kept, changed: Callable[[], None], autoscaler: bool) -> None:
        self._link = link
        self._kept = kept
        self._changed = changed
        self._demand = Demand(self._show, self._withdraw) if autoscaler else None
        self._keeping: tuple[str, frozenset[str]] = "", frozenset()
        """The job for which nodes are kept free, and which."""
        self._showing: Future[Any] = Future()
        """Done when all is that was asked to be shown."""
        self._showing.set_result(None)
        self._wishes: dict[str, _Wish] = {}
        self._leaving: set[str] = set()
        """The jobs that have given room back which the cluster may not have taken yet."""
        self.fresh: set[str] = set()
        """The jobs that have been given room since this was made."""

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:
        """Have Ray place a gang, and Penstock answer on each of its nodes."""
        if seats := self._kept.seats(job_uid):
            # They are kept on disk: the server may have been away since, and a node may have ended meanwhile.
            if all(self._link.has(seat.node) for seat in seats):
                self.fresh.add(job_uid)
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
            self.fresh.add(job_uid)
            self._kept.keep_seats(job_uid, found)
            del self._wishes[job_uid]
            return _ready(found)
        wish.pieces = found is None
        if found is None:
            rest = [node for node in self._link.nodes if node.id not in wish.kept]
            wish.refused = cluster.refused(wish.gang, rest)
            if beside is not None and wish.kept:
                kept = counted(len(self._link.nodes) - len(rest), "node")
                wish.refused += f"; {kept} are kept free for {beside.name}"
        else:
            wish.refused = f"needs Penstock on its nodes: {found.rstrip('.')}"
        return Reservation(ready=False, lacking=wish.refused, pieces=wish.pieces)

    def cancel(self, job_uid: str) -> None:
        """Give a job's room back, once it is there; on a cluster that is away, later."""
        self.fresh.discard(job_uid)
        wish = self._wishes.pop(job_uid, None)
        if wish is not None or self._kept.seats(job_uid):
            self._leaving.add(job_uid)
        self._kept.forget_job(job_uid)

        if wish is not None:
            wish.answer.add_done_callback(lambda _: self._leave(job_uid))
        elif job_uid in self._leaving:
            self._leave(job_uid)

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """Have Ray know of one of them, where that may bring nodes."""
        if self._demand is not None and self._link.away is None:
            asked = [(one.uid, cluster.gang(one.resources, self._link.nodes)) for one in waiting()]
            if self._leaving.isdisjoint(uid for uid, _ in asked):  # else it is asked again when that is done
                self._demand.follow(asked, time.monotonic())

    def clear(self) -> None:
        """Have groups removed that no job of ours has: what could not be asked for while the cluster was away."""
        groups = self._link.call("jobs")
        # In this order: who asks for room is among the wishes until it is kept.
        known = self._leaving | set(self._wishes) | self._shown()
        known |= self._kept.jobs()
        for job_uid in groups - known:
            self._leaving.add(job_uid)
            self._leave(job_uid)

    def parted(self) -> None:
        """Who was asked to show something is no more."""
        if self._demand is not None:
            self._demand.forgotten()

    def close(self) -> None:
        """For who waits no more nodes are asked for."""
        for job_uid in self._shown():
            if not self._kept.seats(job_uid):
                with suppress(Unanswered, TimeoutError):
                    self._showing.result(SILENCE)
                    self._link.ask("cancel", job_uid).result(SILENCE)

    def _shown(self) -> set[str]:
        return self._demand.shown() if self._demand else set()

    def _wish(self, job_uid: str, wanted: Resources, before: _Wish | None, kept: frozenset[str]) -> _Wish:
        nodes = self._link.nodes
        gang = cluster.gang(wanted, nodes)
        rest = [node for node in nodes if node.id not in kept]
        if rest:
            answer = self._link.ask("reserve", job_uid, gang, cluster.spreads(gang, rest), sorted(kept))
            answer.add_done_callback(lambda _: self._changed())
        else:  # there is nothing to ask for
            answer = Future()
            answer.set_result(None)
        wish = _Wish(answer, gang, time.monotonic(), kept=kept)
        if before is not None:
            wish.refused, wish.pieces = before.refused, before.pieces
        return wish

    def _kept_for(self, first: Claim | None) -> frozenset[str]:
        """The nodes that are kept free for a job."""
        if first is None:
            return frozenset()
        job_uid, before = self._keeping
        gang = cluster.gang(first.resources, self._link.nodes)
        kept = cluster.keep(gang, self._link.nodes, before if job_uid == first.uid else frozenset())
        self._keeping = first.uid, kept
        return kept

    def _show(self, job_uid: str, gang: cluster.Gang) -> None:
        before, asked = self._showing, (job_uid, gang, cluster.spreads(gang, self._link.nodes))
        self._showing = Future()

        def show(_: object, done: Future[Any] = self._showing) -> None:
            self._link.ask("show", *asked).add_done_callback(lambda _: done.set_result(None))

        before.add_done_callback(show)

    def _withdraw(self, job_uid: str) -> None:
        """Unless it has got what it wanted."""
        wish = self._wishes.get(job_uid)
        if self._kept.seats(job_uid) or (wish is not None and not wish.lost):
            return
        self._leaving.add(job_uid)
        self._leave(job_uid)

    def _leave(self, job_uid: str) -> None:
        """Have the cluster take the room back of a job that is leaving."""

        def left(_: object) -> None:
            self._leaving.discard(job_uid)
            self._changed()

        # The helper does things side by side: what is still to be shown can't be withdrawn before it is.
        self._showing.add_done_callback(lambda _: self._link.ask("cancel", job_uid).add_done_callback(left))


def _ready(seats: Sequence[Seat]) -> Reservation:
    nodes = len({seat.node for seat in seats})
    share = f"{counted(len(seats), 'instance')} share {counted(nodes, 'node')} of the cluster."
    return Reservation(notes=(share,) if nodes < len(seats) else ())
