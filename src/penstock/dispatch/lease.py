"""The right of a server to begin jobs and to carry them on, and which of them are its own.

A server that shares its database holds a lease (`store/servers.py`), which a thread of its own renews: a pass of the
dispatcher may take long. What the lease guards is guarded by the database; that its end is noticed here, too, only
spares work in vain.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from penstock import clock
from penstock.engines.base import Engine
from penstock.errors import ConfigurationError, Conflict
from penstock.job.life import ALONE, Carrier, Job
from penstock.store.servers import Entered, Occupied, Server, Servers

_log = logging.getLogger(__name__)

#: How often a lease is renewed while it lasts once, and the most seconds between.
_BEATS, _LONGEST_BEAT = 4, 5.0
#: Seconds by which a lease is over for certain.
_MOMENT = 0.05
#: After so many beats that were missed, runners may have been unable to reach any server, too.
_MISSED = 3
#: In how many seconds runners that live have found a server that is back, at the latest; less with a short lease.
_SETTLING = 30.0
#: For how many seconds a server that works is not asked at the most, unless it, or its machine, was held up.
_PAUSE = 15.0


class Right(Protocol):
    """What the dispatcher asks before it writes."""

    runner_ms: int | None
    """For how long runners may go on without word from a server; None: for ever."""

    def held(self) -> Carrier | None:
        """By what this server writes; None: it must not at present."""
        ...

    def settled(self) -> bool:
        """Whether this server has been there for so long that it has heard each runner that can reach it."""
        ...

    def gather(self, begun: Sequence[Job], by: Carrier) -> list[Job]:
        """The jobs that have been begun, with those taken over that nobody carries on any more."""
        ...

    def reach(self, place: str) -> Engine | None:
        """The engine of another server's machine; None where it is out of reach."""
        ...


class Alone:
    """A server that has a database of its own."""

    def __init__(self, runner_ms: int | None = None, elapsed: Callable[[], float] = clock.elapsed) -> None:
        """`runner_ms` is as for any `Right`: runners may be on other machines all the same."""
        self.runner_ms = runner_ms
        self._settling = min(_SETTLING, (runner_ms or 0) / 2000)
        self._elapsed = elapsed
        self._since = self._asked = elapsed()

    def held(self) -> Carrier | None:
        """Always; it is asked in each pass, and after a long pause runners could not be heard meanwhile."""
        now = self._elapsed()
        if now - self._asked > _PAUSE:
            self._since = now
        self._asked = now
        return ALONE

    def settled(self) -> bool:
        """Whether it has been there, without a pause, for as long as runners need to find it."""
        return self._elapsed() - self._since >= self._settling

    def gather(self, begun: Sequence[Job], by: Carrier) -> list[Job]:  # noqa: ARG002 - as the protocol has it
        """All are its own."""
        return list(begun)

    def reach(self, place: str) -> Engine | None:  # noqa: ARG002
        """There is no other machine."""
        return None


class Lease:
    """One server's lease, from `take` to `close`."""

    def __init__(
        self,
        servers: Servers,
        me: Server,
        lease_ms: int,
        runner_ms: int,
        reach: Callable[[Server], Engine | None],
        heard: Callable[[Sequence[Entered]], None] = lambda _: None,
        elapsed: Callable[[], float] = clock.elapsed,
    ) -> None:
        """`reach` finds the engine of another server's runs; `heard`, at the start and each beat, who lives."""
        self.runner_ms: int | None = runner_ms
        self._settling = min(_SETTLING, runner_ms / 2000)
        self._servers = servers
        self._me = me
        self._lease_ms = lease_ms
        self._reach = reach
        self._heard = heard
        self._elapsed = elapsed
        self._held: Carrier | None = None
        self._until = 0.0
        self._asked = -math.inf
        self._since = 0.0
        self._beat_seconds = min(lease_ms / 1000 / _BEATS, _LONGEST_BEAT)
        self._known: Mapping[str, Entered] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)

    def take(self) -> None:
        """Take it for the first time. One of a home that has moved is waited for: the server there may have died.

        Raises:
            ConfigurationError: Another server works on the database with other settings than must be, or is this one.
        """
        try:
            self._enter()
        except Occupied as occupied:
            seconds = occupied.left_ms / 1000
            _log.warning("%s This one waits for %.0f s to see whether it does.", occupied, seconds)
            self._ending.wait(seconds + _MOMENT)
            self._enter()
        self._look()

    def start(self) -> None:
        """Tell who lives before the first job begins: this server may not see its second beat. Renew it from now on."""
        self._tell()
        self._thread.start()

    def close(self) -> None:
        """Give it up: others may take over at once."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        held, self._held = self._held, None
        if held is not None:
            self._servers.leave(held)

    def held(self) -> Carrier | None:
        """By what this server writes, while its lease runs by its own clock, which began to count earlier."""
        return self._held if self._elapsed() < self._until else None

    def settled(self) -> bool:
        """Whether it has been renewed without a gap for so long that runners have found this server since."""
        return self._elapsed() - self._since >= self._settling

    def beat(self) -> None:
        """Renew the lease; where it is over, take a new one."""
        asked = self._elapsed()
        held = self._held
        if held is None or not self._servers.renew(held, self._lease_ms):
            if held is not None:
                self._held = None
                _log.warning("This server's lease was over: others may have taken its jobs over meanwhile")
            self._enter()
        else:
            self._runs_from(asked)
        self._look()

    def gather(self, begun: Sequence[Job], by: Carrier) -> list[Job]:
        """Take over what nobody carries on, but for what somebody closer to its runners can."""
        if all(job.carrier == by for job in begun):
            return list(begun)
        self._look()
        alive = {one.carrier for one in self._known.values() if one.alive}
        return [job if job.carrier in alive or self._left(job) else self._adopt(job, by) for job in begun]

    def reach(self, place: str) -> Engine | None:
        """The engine of another server's runs, when its machine is this one."""
        known = self._known.get(place)
        return None if known is None else self._reach(known.server)

    def known(self) -> Mapping[str, Entered]:
        """All servers that were known at the last look, by their ids."""
        return self._known

    def _left(self, job: Job) -> bool:
        """Whether a job is left to another server, on the machine of its runners."""
        where = self._known.get(job.place)
        if where is None or self._reach(where.server) is not None:
            return False
        return any(one.alive and one.server.machine == where.server.machine for one in self._known.values())

    def _adopt(self, job: Job, by: Carrier) -> Job:
        try:
            self._servers.adopt(job, by)
        except Conflict:
            return job  # somebody was quicker
        _log.warning("job %s: taken over from the server %s", job.name, self._name(job.carrier.server))
        return replace(job, carrier=by, version=job.version + 1)

    def _name(self, server: str) -> str:
        known = self._known.get(server)
        return known.server.url if known else server

    def _enter(self) -> None:
        asked = self._elapsed()
        self._held = self._servers.enter(self._me, self._lease_ms)
        self._runs_from(asked)

    def _runs_from(self, asked: float) -> None:
        if asked - self._asked > _MISSED * self._beat_seconds:
            self._since = asked
        self._asked, self._until = asked, asked + self._lease_ms / 1000

    def _look(self) -> None:
        self._known = {one.server.id: one for one in self._servers.all()}

    def _tell(self) -> None:
        self._heard([one for one in self._known.values() if one.alive])

    def _loop(self) -> None:
        while not self._ending.wait(self._beat_seconds):
            try:
                self.beat()
                self._tell()
            except ConfigurationError as error:
                _log.error("This server begins and carries no jobs: %s", error)
            except Exception:  # noqa: BLE001 - the database may be away; it is tried again until it is back
                _log.exception("The lease can't be renewed; it is tried again")
