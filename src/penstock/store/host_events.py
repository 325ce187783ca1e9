"""What runners tell of their hosts, put on record: each event once, and what it is for elsewhere along with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from penstock.errors import Conflict
from penstock.job.events import Host, HostEvent, apply
from penstock.job.life import Carrier
from penstock.store import job_components
from penstock.store.bare import Cursors
from penstock.store.dialect import Dialect
from penstock.store.locks import Locks
from penstock.store.rows import host_move_row, to_host
from penstock.store.statements import Statements

_log = logging.getLogger(__name__)


class HostEvents:
    """A part of the `Store`, with its connections."""

    def __init__(self, dialect: Dialect, cursors: Cursors, say: Statements, locks: Locks) -> None:
        self._dialect = dialect
        self._cursors = cursors
        self._say = say
        self._locks = locks

    def apply(
        self, job_uid: str, name: str, events: Sequence[HostEvent], by: Carrier | None = None
    ) -> Host | None:
        """As `Store.apply_events`."""
        if not any(map(job_components.tells_metrics, events)):
            with self._cursors.write() as cursor:
                return self._move(cursor, job_uid, name, events, by)[0]
        with self._dialect.engine.begin() as c, closing(c.connection.cursor()) as cursor:
            job = job_components.hold(c, job_uid)
            host, taken = self._move(cursor, job_uid, name, events, by)
            if job is not None and not job_components.put_metrics(c, self._dialect, job, taken):
                _log.warning("No trial component takes the metrics of %s: another one has its name.", job.arn)
        return host

    def end_lapsed(self, job_uid: str, name: str, ended: HostEvent, by: Carrier) -> bool:
        """As `Store.end_lapsed`."""
        one = {"of_uid": job_uid, "of_name": name}
        with self._cursors.write() as cursor:
            self._check_carrier(cursor, job_uid, by)
            rows = self._say.host_lapsed.rows(cursor, **one)
            if not rows:
                return False
            self._say.move_host.run(cursor, **one, **host_move_row(apply(to_host(rows[0]), ended)))
        return True

    def _move(
        self, cursor: Any, job_uid: str, name: str, events: Sequence[HostEvent], by: Carrier | None
    ) -> tuple[Host | None, list[HostEvent]]:
        """What the host becomes, and the events that had not been applied before."""
        one = {"of_uid": job_uid, "of_name": name}
        if by is not None:
            self._check_carrier(cursor, job_uid, by)
        rows = self._say.host_locked.rows(cursor, **one)
        if not rows:
            return None, []
        host, taken = to_host(rows[0]), []
        for event in self._locks.shortened(cursor, events):
            moved = apply(host, job_components.without_metrics(event))
            taken += [] if moved is host else [event]
            host = moved
        self._say.move_host.run(cursor, **one, **host_move_row(host))
        return host, taken

    def _check_carrier(self, cursor: Any, job_uid: str, by: Carrier) -> None:
        # Locked, so that nobody takes it over before this transaction has ended.
        if not self._say.carried_locked.rows(cursor, of_uid=job_uid, by_server=by.server, by_epoch=by.epoch):
            raise Conflict(f"The job {job_uid} is carried on by somebody else.")
