"""Servers on record and their leases, in memory, by a clock of the database's own; and each server's own home."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from penstock.errors import Conflict
from penstock.job.life import ALONE, Carrier, Job
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
    """The machine's engine as one home has it: nobody sweeps away what lies in another's."""

    def __init__(self, engine: SimulatedEngine, homes: dict[str, str], place: str) -> None:
        self._engine = engine
        self._homes = homes
        self._place = place

    def __getattr__(self, name: str) -> Any:
        """All else is the machine's."""
        return getattr(self._engine, name)

    def prepare(self, run: Any) -> str:
        """Remember where it lies."""
        handle = self._engine.prepare(run)
        self._homes[handle] = self._place
        return handle

    def sweep(self, keep: set[str]) -> None:
        """Only what lies in this home."""
        self._engine.sweep(keep | {handle for handle, place in self._homes.items() if place != self._place})
