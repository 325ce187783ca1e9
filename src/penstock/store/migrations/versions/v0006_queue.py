"""What the queue needs of jobs: owner, priority, and what they claim of the machine.

Revision ID: 0006
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from penstock.job.claim import resources_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BEGUN = sa.text("phase IN ('preparing', 'downloading', 'running', 'uploading', 'stopping')")
_QUEUED = sa.text("phase = 'queued'")


def upgrade() -> None:
    """Add the columns, and indexes of the jobs that wait and that work; fill them for those."""
    owner = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
    for column in (
        sa.Column("owner", owner, nullable=False, server_default=""),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cpus", sa.Integer, nullable=False, server_default="1"),
        sa.Column("memory", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("gpus", sa.Integer, nullable=False, server_default="0"),
        sa.Column("instances", sa.Integer, nullable=False, server_default="1"),
    ):
        op.add_column("jobs", column)
    op.create_index(
        "jobs_begun", "jobs", ["created_at", "name"], sqlite_where=_BEGUN, postgresql_where=_BEGUN
    )
    op.create_index(
        "jobs_queued",
        "jobs",
        ["priority", "owner", "created_at", "uid"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    _claim(op.get_bind())


def _claim(connection: sa.Connection) -> None:
    names = ("uid", "request", "status", "cpus", "memory", "gpus", "instances")
    jobs = sa.table("jobs", *map(sa.column, names))
    active = jobs.c.status.in_(("InProgress", "Stopping"))
    for uid, request in connection.execute(sa.select(jobs.c.uid, jobs.c.request).where(active)).all():
        wanted = resources_of(json.loads(request))
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.uid == uid)
            .values(cpus=wanted.cpus, memory=wanted.memory, gpus=wanted.gpus, instances=wanted.instances)
        )


def downgrade() -> None:
    """Drop them again."""
    op.drop_index("jobs_queued", "jobs")
    op.drop_index("jobs_begun", "jobs")
    for name in ("instances", "gpus", "memory", "cpus", "priority", "owner"):
        op.drop_column("jobs", name)
