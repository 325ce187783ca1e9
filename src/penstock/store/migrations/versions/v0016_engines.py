"""The engine that a job waits for and has: each engine has a line of its own in the queue.

Revision ID: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_QUEUED = sa.text("phase = 'queued'")


def upgrade() -> None:
    """Add the column, and have it first in the index of those that wait. Few wait, so that is quick."""
    name = sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql")
    op.add_column("jobs", sa.Column("engine", name, nullable=False, server_default=""))
    _index("engine", "priority", "owner", "created_at", "uid")


def downgrade() -> None:
    """Drop it again."""
    _index("priority", "owner", "created_at", "uid")
    op.drop_column("jobs", "engine")


def _index(*columns: str) -> None:
    op.drop_index("jobs_queued", "jobs")
    op.create_index("jobs_queued", "jobs", list(columns), sqlite_where=_QUEUED, postgresql_where=_QUEUED)
