"""Which locks of environments are used, and of which ended jobs the logs are still kept.

Revision ID: 0008
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_WITH_LOGS = sa.text("ended_at IS NOT NULL AND logs_removed_at IS NULL")
_LOCKED = sa.text("lock IS NOT NULL")
_INDEXES = (
    ("jobs_with_logs", "jobs", ["modified_at", "name"], _WITH_LOGS),
    ("jobs_by_lock", "jobs", ["lock"], _LOCKED),
    ("hosts_by_lock", "hosts", ["lock"], _LOCKED),
)
_BATCH = 1000


def upgrade() -> None:
    """Add the columns, fill them, and make their indexes."""
    for table in ("jobs", "hosts"):
        key = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
        op.add_column(table, sa.Column("lock", key))
    op.add_column("jobs", sa.Column("logs_removed_at", sa.BigInteger))
    op.add_column("locks", sa.Column("kept_at", sa.BigInteger, nullable=False, server_default="0"))
    _fill(op.get_bind())
    for name, table, columns, where in _INDEXES:
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _fill(c: sa.Connection) -> None:
    hosts = sa.table("hosts", *map(sa.column, ("job_uid", "name", "notes", "lock")))
    noted = sa.select(hosts.c.job_uid, hosts.c.name, hosts.c.notes).where(hosts.c.notes.like('%"lock": "%'))
    same = sa.and_(hosts.c.job_uid == sa.bindparam("uid"), hosts.c.name == sa.bindparam("host"))
    put = sa.update(hosts).where(same).values(lock=sa.bindparam("sha256"))
    of: dict[str, str] = {}
    rows: list[Mapping[str, Any]] = []
    for uid, name, notes in c.execute(noted).all():
        sha256 = json.loads(notes).get("lock")
        if isinstance(sha256, str):
            of[uid] = sha256
            rows.append({"uid": uid, "host": name, "sha256": sha256})
    for first in range(0, len(rows), _BATCH):
        c.execute(put, rows[first : first + _BATCH])
    _fill_jobs(c, of)


def _fill_jobs(c: sa.Connection, of: Mapping[str, str]) -> None:
    """What jobs that have not ended ask for: a lock by its own name, or by that of a job that ran in it."""
    jobs = sa.table("jobs", *map(sa.column, ("uid", "name", "request", "status", "lock")))
    active = sa.select(jobs.c.uid, jobs.c.request).where(jobs.c.status.in_(("InProgress", "Stopping")))
    for uid, request in c.execute(active).all():
        said = (json.loads(request).get("Environment") or {}).get("PENSTOCK_LOCK")
        if said is not None:
            named = c.execute(sa.select(jobs.c.uid).where(jobs.c.name == said)).scalar()
            sha256 = of.get(named, said) if named is not None else said
            if len(sha256) == 64:
                c.execute(sa.update(jobs).where(jobs.c.uid == uid).values(lock=sha256))


def downgrade() -> None:
    """Drop them again."""
    for name, table, _, _ in reversed(_INDEXES):
        op.drop_index(name, table)
    op.drop_column("locks", "kept_at")
    op.drop_column("jobs", "logs_removed_at")
    for table in ("hosts", "jobs"):
        op.drop_column(table, "lock")
