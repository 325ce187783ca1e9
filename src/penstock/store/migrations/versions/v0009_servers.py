"""Servers that share the database, which of them carries a job, and log events for all of them.

Revision ID: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables and add the columns. Jobs that work are the first server's that comes."""
    op.create_table(
        "servers",
        sa.Column("id", _key(32), primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("home", sa.Text, nullable=False),
        sa.Column("capacity", sa.Text, nullable=False),
        sa.Column("shared", sa.Text, nullable=False),
    )
    op.create_table(
        "log_pieces",
        sa.Column("job_uid", _key(80), primary_key=True),
        sa.Column("host", _key(16), primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.add_column("jobs", sa.Column("server", _key(32), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("epoch", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("place", _key(32), nullable=False, server_default=""))
    op.add_column("hosts", sa.Column("lease_until", sa.BigInteger))


def downgrade() -> None:
    """Drop them again."""
    op.drop_column("hosts", "lease_until")
    for name in ("place", "epoch", "server"):
        op.drop_column("jobs", name)
    op.drop_table("log_pieces")
    op.drop_table("servers")
