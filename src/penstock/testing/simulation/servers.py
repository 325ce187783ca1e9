"""Servers on record and their leases, in memory, by a clock of the database's own; and each server's own home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock.engines.base import Life
from penstock.errors import Conflict
from penstock.job.life import ALONE, Carrier, Job
from penstock.job.run import Run
from penstock.store.servers import Entered, Server
from penstock.testing.simulation.engine import SimulatedEngine

if TYPE_CHECKING:
    from penstock.testing.simulation.store import MemoryStore

#: How long a server's lease is, in milliseconds: some pauses are longer.
LEASE = 3000


class MemoryServers:
    """What `penstock.store.servers.Servers` does."""

    def __init__(self, store: MemoryStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._rows: dict[str, tuple[Server, int, int]] = {}

    def enter(self, server: Server, lease_ms: int) -> Carrier:
        """Take a lease, and the jobs that were begun on this server's machine."""
        _, epoch, _ = self._rows.get(server.id, (server, 0, 0))
        self._rows[server.id] = server, epoch + 1, self._now() + lease_ms
        carrier = Carrier(server.id, epoch + 1)
        for job in self._store.begun_jobs():
            if job.place == server.id:
                self._store.put(replace(job, carrier=carrier, version=job.version + 1))
        return carrier

    def renew(self, carrier: Carrier, lease_ms: int) -> bool:
        """Have the lease run on; False: it is over."""
        if not self.runs(carrier):
            return False
        self._rows[carrier.server] = (*self._rows[carrier.server][:2], self._now() + lease_ms)
        return True

    def all(self) -> list[Entered]:
        """All that have ever been."""
        carriers = [(server, Carrier(server.id, epoch)) for server, epoch, _ in self._rows.values()]
        return [Entered(server, carrier, self.runs(carrier)) for server, carrier in carriers]

    def renew_runner(self, job_uid: str, host: str, lease_ms: int) -> int | None:
        """Let a runner go on; None: its host has ended."""
        found = self._store.host(job_uid, host)
        if found is None or found.ended:
            return None
        if self._store.leases.get((job_uid, host), 0) <= self._now() + lease_ms * 9 // 10:
            self._store.leases[job_uid, host] = self._now() + lease_ms
        return lease_ms * 8 // 10

    def adopt(self, job: Job, by: Carrier) -> None:
        """Take over a begun job whose carrier's lease is over.

        Raises:
            Conflict: It has moved, or its carrier's lease runs, or that of `by` does not.
        """
        found = self._store.job_of_uid(job.uid)
        if found != job or self.runs(job.carrier) or not self.runs(by):
            raise Conflict(f"Job {job.name} is carried on by somebody else, or has moved on.")
        self._store.put(replace(job, carrier=by, version=job.version + 1))

    def may_begin(self, by: Carrier) -> bool:
        """Whether a server may begin jobs."""
        return self.runs(by)

    def runs(self, carrier: Carrier) -> bool:
        """Whether that lease runs."""
        if carrier == ALONE:
            return not self._rows
        _, epoch, until = self._rows.get(carrier.server, (None, 0, 0))
        return epoch == carrier.epoch and until > self._now()


class OfHome:
    """The machine's engine as one server's home has it. What several have prepared lies in each of their homes."""

    def __init__(self, engine: SimulatedEngine, homes: dict[str, dict[str, Run]], place: str) -> None:
        """`homes` has the runs by their handle and home, for all."""
        self._engine = engine
        self._homes = homes
        self._place = place

    def __getattr__(self, name: str) -> Any:
        """All else is the machine's."""
        return getattr(self._engine, name)

    def prepare(self, run: Run) -> str:
        """Put it into this home."""
        handle = self._engine.prepare(run)
        self._homes.setdefault(handle, {})[self._place] = run
        return handle

    def start(self, handle: str) -> None:
        """Start what lies in this home, whoever else has prepared it."""
        run = self._homes.get(handle, {}).get(self._place)
        if run is not None and handle in self._engine.runs:
            self._engine.runs[handle].run = self._engine.disks[handle].run = run
        self._engine.start(handle)

    def forget(self, handle: str) -> None:
        """Remove it from this home."""
        homes = self._homes.get(handle, {})
        homes.pop(self._place, None)
        if not homes:
            self._engine.forget(handle)

    def sweep(self, keep: set[str]) -> None:
        """Only what lies in this home."""
        mine = [handle for handle, homes in self._homes.items() if self._place in homes]
        for handle in mine:
            if handle not in keep and self._engine.probe(handle) is not Life.ALIVE:
                self.forget(handle)
