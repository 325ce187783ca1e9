"""The servers that share a database, their leases, and who carries which job.

A server may carry jobs as long as its lease runs, by the database's clock: no two machines' clocks are compared.
Each time that it takes the lease anew its epoch grows, and what it writes to jobs names that epoch
(`job.life.Carrier`): a server that was held up for longer than its lease writes nothing to what others have taken
over meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, exists, select, true, update

from penstock.errors import ConfigurationError, Conflict
from penstock.job.claim import Resources
from penstock.job.life import ALONE, Carrier, Job
from penstock.store.dialect import Dialect
from penstock.store.rows import carrier_row
from penstock.store.tables import BEGUN, hosts, jobs, servers

#: What to do where servers do not agree.
_REMEDIES = {
    "account": "Set PENSTOCK_ACCOUNT and PENSTOCK_REGION as there.",
    "keys": "Copy keys.json from that home to this one.",
    "object store": "All need one that all reach: set PENSTOCK_S3_ENDPOINT on each (docs/s3.md).",
    "default bucket": "Set PENSTOCK_BUCKET as there.",
}


@dataclass(frozen=True)
class Server:
    """A server as it enters itself."""

    id: str
    url: str
    """Where runners reach it."""
    machine: str
    """The machine on which it runs; equal for two that see the same processes."""
    home: str
    capacity: Resources
    shared: Mapping[str, str]
    """What must be the same on all servers of a database, name -> value, in words that an error may show."""


class Occupied(ConfigurationError):
    """A server of another home, or of another machine, goes by the same id, and its lease runs."""

    def __init__(self, mine: Server, other: Server, left_ms: int) -> None:
        """`left_ms` is for how many milliseconds that lease runs, unless it is renewed."""
        where = f"The server at {other.url} (home {other.home} on {_where(mine, other)})"
        super().__init__(
            f"{where} goes by the same id as the one of {mine.home} here, and works. If one of these homes was copied "
            "from the other, remove the file server.id in the copy; if it was moved, end the server there first."
        )
        self.left_ms = left_ms


@dataclass(frozen=True)
class Entered:
    """A server on record."""

    server: Server
    carrier: Carrier
    alive: bool
    """Whether its lease runs."""


class Servers:
    """Rows of servers. A part of the `Store`, with its connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._engine = dialect.engine
        self._reader = dialect.reader
        self._now = dialect.now
        self._queue_up = dialect.lock_schema
        self._put = dialect.insert(servers)

    def enter(self, server: Server, lease_ms: int) -> Carrier:
        """Take a lease, with a new epoch, and take (back) the jobs that were begun on this server's machine.

        A lease of its own that still runs is of an earlier life, which has ended: a home's lock lets in one at a time.

        Raises:
            Occupied: That lease is another home's, or another machine's.
            ConfigurationError: Another server whose lease runs does not share with it what it must.
        """
        row = {**_row(server), "epoch": 1, "lease_until": self._now + lease_ms}
        again = self._put.values(row).on_conflict_do_update(
            index_elements=[servers.c.id], set_={**row, "epoch": servers.c.epoch + 1}
        )
        with self._engine.begin() as c:
            self._queue_up(c)  # of two that enter at once with different settings, one sees the other
            at = c.execute(select(self._now)).scalar_one()
            for known in c.execute(select(servers).where(servers.c.lease_until > at)):
                other = _server(known)
                if other.id != server.id:
                    _check_shared(server, other)
                elif (other.machine, other.home) != (server.machine, server.home):
                    raise Occupied(server, other, known.lease_until - at)
            epoch = c.execute(again.returning(servers.c.epoch)).scalar_one()
            carrier = Carrier(server.id, epoch)
            # Those without a place were begun before servers shared a database, by the only one.
            mine = and_(BEGUN, jobs.c.place.in_([server.id, ALONE.server]))
            c.execute(
                update(jobs)
                .where(mine)
                .values(**carrier_row(carrier), place=server.id, version=jobs.c.version + 1)
            )
        return carrier

    def renew(self, carrier: Carrier, lease_ms: int) -> bool:
        """Have the lease run for so much longer from now on; False: it is over, and `enter` gives a new one."""
        with self._engine.begin() as c:
            until = {"lease_until": self._now + lease_ms}
            return (
                c.execute(
                    update(servers).where(runs(self._now, carrier.server, carrier.epoch)).values(until)
                ).rowcount
                == 1
            )

    def leave(self, carrier: Carrier) -> None:
        """End the lease: others may take over at once."""
        with self._engine.begin() as c:
            mine = and_(servers.c.id == carrier.server, servers.c.epoch == carrier.epoch)
            c.execute(update(servers).where(mine).values(lease_until=0))

    def all(self) -> list[Entered]:
        """All that have ever been, by their ids."""
        with self._reader.connect() as c:
            rows = c.execute(select(servers, (servers.c.lease_until > self._now).label("alive")))
            found = [Entered(_server(row), Carrier(row.id, row.epoch), bool(row.alive)) for row in rows]
        return sorted(found, key=lambda one: one.server.id)

    def adopt(self, job: Job, by: Carrier) -> None:
        """Take over a begun job whose carrier's lease is over. It is on record with its next version.

        Raises:
            Conflict: It has moved since it was read, or its carrier's lease runs, or that of `by` does not.
        """
        theirs = exists().where(runs(self._now, job.carrier.server, job.carrier.epoch))
        same = and_(jobs.c.uid == job.uid, jobs.c.version == job.version, BEGUN, ~theirs, self.holds(by))
        with self._engine.begin() as c:
            changed = c.execute(
                update(jobs).where(same).values(**carrier_row(by), version=jobs.c.version + 1)
            )
            if changed.rowcount != 1:
                raise Conflict(f"Job {job.name} is carried on by somebody else, or has moved on.")

    def holds(self, carrier: Carrier) -> ColumnElement[bool]:
        """That a server's lease runs, as a condition; always so for one that has a database of its own."""
        if carrier == ALONE:
            return true()
        return exists().where(runs(self._now, carrier.server, carrier.epoch))

    # Leases of runners

    def renew_runner(self, job_uid: str, host: str, lease_ms: int) -> int | None:
        """Let a runner go on; for how many milliseconds, from when it asked. None: its host has ended.

        A lease that has just been renewed is left: it is asked for far more often than it ends. So nine tenths of it
        are sure. Eight are promised: a runner's end takes a moment, and clocks do not go equally fast.
        """
        promised = lease_ms * 8 // 10
        one = and_(hosts.c.job_uid == job_uid, hosts.c.name == host, hosts.c.outcome.is_(None))
        until = self._now + lease_ms
        fresh = hosts.c.lease_until > self._now + lease_ms * 9 // 10
        with self._reader.connect() as c:
            left = c.execute(select(fresh).where(one)).first()
        if left is None or left[0]:
            return None if left is None else promised
        with self._engine.begin() as c:
            longer = case((hosts.c.lease_until > until, hosts.c.lease_until), else_=until)
            renewed = c.execute(update(hosts).where(one).values(lease_until=longer)).rowcount == 1
        return promised if renewed else None


def runs(now: ColumnElement[int], server: Any, epoch: Any) -> ColumnElement[bool]:
    """That a server's lease of that epoch is not over; each a value or a parameter of the statement."""
    return and_(servers.c.id == server, servers.c.epoch == epoch, servers.c.lease_until > now)


def _check_shared(mine: Server, other: Server) -> None:
    for name, value in mine.shared.items():
        theirs = other.shared.get(name, "")
        if theirs != value:
            raise ConfigurationError(
                f"The server at {other.url} (home {other.home}) works on the same database with {name}: {theirs}; "
                f"here it is: {value}. {_REMEDIES.get(name, '')}".rstrip()
            )


def _where(mine: Server, other: Server) -> str:
    return "this machine" if mine.machine == other.machine else "another machine, or in another container"


def _row(server: Server) -> dict[str, Any]:
    return {
        "id": server.id,
        "url": server.url,
        "machine": server.machine,
        "home": server.home,
        "capacity": json.dumps(asdict(server.capacity)),
        "shared": json.dumps(dict(server.shared)),
    }


def _server(row: Row[Any]) -> Server:
    capacity = Resources(**json.loads(row.capacity))
    return Server(row.id, row.url, row.machine, row.home, capacity, json.loads(row.shared))
