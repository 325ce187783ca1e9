"""The connection to the cluster: a helper that is started anew when it ends, and what it sees of the nodes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from penstock.engines.ray.helper import Helper, Unanswered
from penstock.engines.ray.nodes import Node
from penstock.job.claim import Resources

_log = logging.getLogger(__name__)

#: Seconds: how often the nodes are looked at; how long a connection may take, and an answer; how long the cluster may
#: be silent before nobody waits for it.
_LOOK, _CONNECT, _ANSWER = 1.0, 60.0, 30.0
SILENCE = 5.0


class Link:
    """Connected from `start` to `close`, as far as the cluster is there."""

    def __init__(self, address: str, server: str) -> None:
        self._address = address
        self._server = server
        self.nodes: Sequence[Node] = ()
        """Those that there are."""
        self.known: Mapping[str, Node] = {}
        """All that there were, by their ids."""
        self.away: str | None = "the server is just connecting"
        """Why the cluster can't be asked."""
        self._helper: Helper | None = None
        self._heard_at = time.monotonic()
        self._looked = threading.Event()
        """Set once the nodes have been looked at, or could not be."""
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, seen: Callable[[Sequence[Node], bool], None], parted: Callable[[], None]) -> None:
        """Connect, and stay connected.

        Args:
            seen: Called after each look, with the nodes before it, and whether the cluster was away until then.
            parted: Called when a helper has ended, which knows nothing more of what it was told. Both are called from
                another thread.
        """
        self._thread = threading.Thread(target=self._loop, args=(seen, parted), name="ray", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection."""
        self._ending.set()
        if self._helper is not None:
            self._helper.close()
        if self._thread is not None:
            self._thread.join(_LOOK)

    def total(self) -> Resources:
        """Of all nodes together, as they announce it to Ray."""
        return sum((node.total for node in self.nodes), Resources())

    def has(self, node: str) -> bool:
        """Whether a node is there, by its id."""
        return any(one.id == node for one in self.nodes)

    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        """Ask the helper, and don't wait for the answer."""
        helper = self._helper
        if helper is not None:
            return helper.ask(what, *arguments)
        future: Future[Any] = Future()
        future.set_exception(self._unconnected())
        return future

    def call(self, what: str, *arguments: Any, patient: bool = False) -> Any:
        """Ask, and wait; where it can be asked again later, only of a cluster that has answered a moment ago.

        Raises:
            Unanswered: There is no answer.
        """
        silent = time.monotonic() - self._heard_at
        if self._helper is not None and not patient and silent > SILENCE:
            raise Unanswered(f"it has not answered for {silent:.0f} s")
        return self.call_within(_ANSWER, what, *arguments)

    def call_within(self, timeout: float, what: str, *arguments: Any) -> Any:
        """The same with another limit, in seconds, and however silent the cluster is."""
        helper = self._helper
        if helper is None:
            raise self._unconnected()
        return helper.call(what, *arguments, timeout=timeout)

    def wait(self) -> None:
        """Return when the cluster has been looked at, or could not be; after a minute in any case."""
        self._looked.wait(_CONNECT)

    def _unconnected(self) -> Unanswered:
        return Unanswered(self.away or "the connection is being made again")

    def _loop(self, seen: Callable[[Sequence[Node], bool], None], parted: Callable[[], None]) -> None:
        while not self._ending.is_set():
            try:
                seen(*self._look())
            except Unanswered as error:
                if self.away != str(error) and not self._ending.is_set():
                    _log.warning("The Ray cluster at %s can't be used: %s", self._address, error)
                self.away = str(error)
                helper, self._helper = self._helper, None
                if helper is not None:
                    helper.close()
                    parted()
            except Exception:  # noqa: BLE001 - the loop must outlive whatever it meets
                _log.exception("The nodes of the Ray cluster can't be looked at; it is tried again")
            self._looked.set()
            self._ending.wait(_LOOK)

    def _look(self) -> tuple[Sequence[Node], bool]:
        """See which nodes there are, by a helper that works; what `seen` is to be told."""
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
        before, self.nodes = self.nodes, found
        self.known = {**self.known, **{node.id: node for node in found}}
        away, self.away = self.away, None
        if away is not None:
            _log.info("Jobs run on the Ray cluster at %s: %s", self._address, self.total())
        return before, away is not None
