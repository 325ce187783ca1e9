"""What a server shares with others, when it shares its database: a part of the composition root.

With SQLite that is nothing: the record is a file of its home, logs are files beside it, and nobody else writes there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock import machine
from penstock.config import Settings
from penstock.data.listing import is_loopback
from penstock.dispatch.lease import Lease
from penstock.engines.choose import capacity, has_far_runs
from penstock.engines.places import Places
from penstock.errors import ConfigurationError
from penstock.home import Home
from penstock.job.life import ALONE
from penstock.runtimes.containers.sockets import let_go
from penstock.store.database import Store, open_postgres, open_sqlite
from penstock.store.logbook import FileLogbook, Logbook
from penstock.store.servers import Entered, Server


@dataclass(frozen=True)
class Shared:
    """The record, the logs, and the right to write, if others have it too."""

    store: Store
    logbook: Logbook
    lease: Lease | None = None
    place: str = ALONE.server
    """By which name other servers know this one."""

    def start(self) -> None:
        """Keep the lease from now on."""
        if self.lease is not None:
            self.lease.start()

    def known(self) -> Sequence[Entered]:
        """All servers of the database, this one first."""
        if self.lease is None:
            return ()
        return sorted(self.lease.known().values(), key=lambda one: one.server.id != self.place)

    def urls(self) -> Mapping[str, str]:
        """Where those are, by their ids."""
        return {one.server.id: one.server.url for one in self.known()}

    def close(self) -> None:
        """Let others take over, and give all connections back."""
        if self.lease is not None:
            self.lease.close()
        self.store.close()


def open_shared(settings: Settings, home: Home, endpoint: str) -> Shared:
    """Open the record, and enter this server among those of its database.

    Args:
        settings: All of the user's settings.
        home: This server's.
        endpoint: Where it serves.

    Raises:
        ConfigurationError: The database can't be used, or another server works on it that does not agree.
    """
    if settings.database_url is None:
        return Shared(open_sqlite(settings.home / "penstock.db"), FileLogbook(settings.home / "logs"))
    store = open_postgres(settings.database_url)
    here = machine.identity()
    me = Server(
        id=home.server_id(),
        url=settings.report_url or endpoint,
        # Whose runners are on other machines shares no processes with anybody.
        machine=f"{here} {home.server_id()}" if has_far_runs(settings) else here,
        home=str(settings.home),
        capacity=capacity(settings),
        shared=_agreed(settings, home),
    )
    places = Places(here, let_go)
    lease = Lease(
        store.servers,
        me,
        settings.server_lease * 1000,
        settings.runner_lease * 1000,
        reach=lambda one: places.reach(one.id, one.machine, one.home),
        heard=lambda alive: places.tell(settings.home / "runs", _within_reach(alive, here)),
    )
    try:
        lease.take()
    except ConfigurationError:
        store.close()
        raise
    return Shared(store, store.logbook(), lease, me.id)


def _within_reach(alive: Sequence[Entered], here: str) -> list[str]:
    """Where runners of this machine reach servers: what is loopback elsewhere is another program's here."""
    near = (one.server for one in alive if one.server.machine == here or not is_loopback(one.server.url))
    return [server.url for server in near]


def _agreed(settings: Settings, home: Home) -> Mapping[str, str]:
    """What all servers of a database must have in common; no secret."""
    keys = home.keys()
    secret = hashlib.sha256(f"{keys.access_key_id} {keys.secret_access_key}".encode()).hexdigest()
    store = (
        f"the embedded one of {settings.home}" if settings.s3 is None else settings.s3.endpoint or "AWS S3"
    )
    return {
        "account": f"{settings.account} in {settings.region}",
        "keys": f"{keys.access_key_id} ({secret[:16]})",
        "object store": store,
        "default bucket": settings.bucket,
    }
