"""Locks of environments, each kept once however many jobs have run in its environment.

They are some ten KiB each and stay when their jobs are deleted: another job may name one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from penstock.job.events import HostEvent
from penstock.job.lock import sha256_of
from penstock.store.bare import Bare, Cursors
from penstock.store.dialect import Dialect
from penstock.store.tables import locks

if TYPE_CHECKING:
    from penstock.store.database import Store

#: The note by which a runner tells its environment's lock.
NOTE = "lock"


class Locks:
    """Rows of locks, by the SHA-256 of their text (hex)."""

    def __init__(self, dialect: Dialect, cursors: Cursors) -> None:
        self._reader = dialect.reader
        self._cursors = cursors
        engine = dialect.engine
        self._known = Bare(engine, select(locks.c.sha256).where(locks.c.sha256 == bindparam("wanted")))
        self._put = Bare(engine, dialect.insert(locks).on_conflict_do_nothing())

    def add(self, text: str) -> str:
        """Keep a lock; the name by which it is found again."""
        with self._cursors.write() as cursor:
            return self._keep(cursor, text)

    def get(self, sha256: str) -> str | None:
        """The text of a lock; None when there is none of that name."""
        with self._reader.connect() as c:
            found = c.execute(select(locks.c.text).where(locks.c.sha256 == sha256)).scalar()
            return None if found is None else str(found)

    def shortened(self, cursor: Any, events: Sequence[HostEvent]) -> list[HostEvent]:
        """The events with the name of a lock in the place of its text, which is kept in the same transaction."""
        return [
            replace(one, data={**one.data, NOTE: self._keep(cursor, text)})
            if one.kind == "note" and isinstance(text := one.data.get(NOTE), str)
            else one
            for one in events
        ]

    def _keep(self, cursor: Any, text: str) -> str:
        sha256 = sha256_of(text)
        # Most jobs run in an environment that is known: to look is cheaper than to send the text.
        if not self._known.rows(cursor, wanted=sha256):
            self._put.run(cursor, sha256=sha256, text=text)
        return sha256


def find(store: Store, said: str) -> str | None:
    """The lock that `said` means: by its SHA-256, or the name of a job that has run in its environment."""
    if re.fullmatch(r"[0-9a-f]{64}", said):
        return store.locks.get(said)
    job = store.job(said)
    names = (host.notes.get(NOTE) for host in store.hosts(job.uid)) if job else ()
    return next((store.locks.get(name) for name in names if isinstance(name, str)), None)
