"""Locks of environments, each kept once however many jobs have run in its environment.

They are some ten KiB each. One goes when no job on record has run in its environment or asks for it, and nobody has put
it there lately: whoever puts one there, or has read its name, will name it in a moment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exists, select, update

from penstock.job.events import HostEvent
from penstock.job.lock import sha256_of
from penstock.store.bare import Bare, Cursors
from penstock.store.dialect import Dialect
from penstock.store.rows import LOCK_NOTE as NOTE
from penstock.store.tables import hosts, jobs, locks

if TYPE_CHECKING:
    from penstock.store.database import Store


class Locks:
    """Rows of locks, by the SHA-256 of their text (hex)."""

    def __init__(self, dialect: Dialect, cursors: Cursors) -> None:
        self._engine = dialect.engine
        self._cursors = cursors
        self._reader = dialect.reader
        add = dialect.insert(locks)
        put = add.on_conflict_do_update(
            index_elements=[locks.c.sha256], set_={"kept_at": add.excluded.kept_at}
        )
        self._put = Bare(dialect.engine, put)
        named = update(locks).where(locks.c.sha256 == bindparam("wanted")).values(kept_at=bindparam("at"))
        self._named = Bare(dialect.engine, named)

    def add(self, text: str, at: int) -> str:
        """Keep a lock, put there at time `at`; the name by which it is found again."""
        with self._cursors.write() as cursor:
            return self._keep(cursor, text, at)

    def get(self, sha256: str) -> str | None:
        """The text of a lock; None when there is none of that name."""
        with self._reader.connect() as c:
            found = c.execute(select(locks.c.text).where(locks.c.sha256 == sha256)).scalar()
            return None if found is None else str(found)

    def name(self, cursor: Any, sha256: str, at: int) -> bool:
        """Keep a lock from being removed until the transaction has put down who needs it; False when it is gone."""
        return self._named.run(cursor, wanted=sha256, at=at) == 1

    def remove_unused(self, before: int) -> int:
        """Remove the locks that no job on record has or asks for, and that were named last before that time.

        Returns:
            How many.
        """
        unused = [~exists().where(table.c.lock == locks.c.sha256) for table in (hosts, jobs)]
        # One that a job names in this moment is locked, and its own time will tell: it is passed over.
        gone = select(locks.c.sha256).where(locks.c.kept_at < before, *unused)
        gone = gone.with_for_update(skip_locked=True, of=locks)
        with self._engine.begin() as c:
            return c.execute(delete(locks).where(locks.c.sha256.in_(gone))).rowcount

    def shortened(self, cursor: Any, events: Sequence[HostEvent]) -> list[HostEvent]:
        """The events with the name of a lock in the place of its text, which is kept in the same transaction."""
        return [
            replace(one, data={**one.data, NOTE: self._keep(cursor, text, one.at)})
            if one.kind == "note" and isinstance(text := one.data.get(NOTE), str)
            else one
            for one in events
        ]

    def _keep(self, cursor: Any, text: str, at: int) -> str:
        sha256 = sha256_of(text)
        # Most jobs run in an environment that is known: to name it is cheaper than to send the text.
        if not self.name(cursor, sha256, at):
            self._put.run(cursor, sha256=sha256, text=text, kept_at=at)
        return sha256


def find(store: Store, said: str) -> str | None:
    """The lock that `said` means: by its SHA-256, or the name of a job that has run in its environment."""
    if re.fullmatch(r"[0-9a-f]{64}", said):
        return store.locks.get(said)
    job = store.job(said)
    names = (host.notes.get(NOTE) for host in store.hosts(job.uid)) if job else ()
    return next((store.locks.get(name) for name in names if isinstance(name, str)), None)
