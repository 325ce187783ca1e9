"""Which waiting job the cluster is shown, so that its autoscaler makes nodes for it.

One at a time, the next of the queue: each that is shown gets the room that comes, and if all were, Ray's order would
count and not the queue's. Whom no node comes for gives its turn to those behind it after a while: what it asks for
may be more than the autoscaler may ever make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.engines.ray.nodes import Gang

#: Seconds: longer than a machine of a cloud takes to come.
TURN = 600.0


class Demand:
    """What is shown, and for how long each has been."""

    def __init__(self, show: Callable[[str, Gang], None], withdraw: Callable[[str], None]) -> None:
        self._show = show
        self._withdraw = withdraw
        self._now: tuple[str, Gang] | None = None
        self._since: dict[str, float] = {}
        self._again = False

    def shown(self) -> set[str]:
        """The uid of the job that is, if one is."""
        return set() if self._now is None else {self._now[0]}

    def follow(self, waiting: Sequence[tuple[str, Gang]], at: float) -> None:
        """Show whoever is due.

        Args:
            waiting: The uids of the jobs that have no room, and what they want, the next first.
            at: Seconds, by a clock that never goes back.
        """
        there = {uid for uid, _ in waiting}
        self._since = {uid: since for uid, since in self._since.items() if uid in there}
        due = next((one for one in waiting if at - self._since.get(one[0], at) < TURN), None)
        if due is None and waiting:  # all have had their turns
            self._since.clear()
            due = waiting[0]
        before = self._now
        if due == before and not self._again:
            return
        if before is not None and due != before:
            self._withdraw(before[0])
            self._now = None
            if due is not None and due[0] == before[0]:
                return  # it wants something else now, which is shown when what it wanted is withdrawn
        if due is not None:
            self._since.setdefault(due[0], at)
            self._show(*due)
        self._now, self._again = due, False

    def forgotten(self) -> None:
        """Who was asked is no more: what is due is shown again."""
        self._again = True
