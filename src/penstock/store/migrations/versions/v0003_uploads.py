"""The upload manifest.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "uploads",
        sa.Column("job_uid", sa.String(80), primary_key=True),
        sa.Column("uri", sa.Text, primary_key=True),
        sa.Column("host", sa.String(16), primary_key=True),
        sa.Column("output", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("uploads")
