"""Jobs, hosts and tags.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("uid", sa.String(80), nullable=False, unique=True),
        sa.Column("arn", sa.String(256), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("phases", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("failure_reason", sa.Text),
        sa.Column("exit_message", sa.Text),
    )
    op.create_index("jobs_by_creation", "jobs", ["created_at", "name"])
    op.create_index("jobs_by_status", "jobs", ["status", "created_at"])
    op.create_index("jobs_by_modification", "jobs", ["modified_at"])
    op.create_table(
        "hosts",
        sa.Column("job_uid", sa.String(80), primary_key=True),
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("job_name", sa.String(63), nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("log_stream", sa.String(128), nullable=False, unique=True),
        sa.Column("handle", sa.Text),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("phases", sa.Text, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
    )
    op.create_table(
        "tags",
        sa.Column("arn", sa.String(256), primary_key=True),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("value", sa.String(256), nullable=False),
    )


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("tags")
    op.drop_table("hosts")
    op.drop_table("jobs")
