"""Stretches of jobs, of which a list passes over those that can have none of its jobs.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ALWAYS = 1 << 62


def upgrade() -> None:
    """Make the tables, each with one stretch of which nothing is known: the Store cuts it at once.

    The index of the longest span between a job's creation and its last change is needed no more.
    """
    name = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")
    for table, key, first in (("name_stretches", name, ""), ("time_stretches", sa.BigInteger(), 0)):
        made = op.create_table(
            table,
            sa.Column("begins", key, primary_key=True, autoincrement=False),
            sa.Column("jobs", sa.Integer, nullable=False),
            sa.Column("created_first", sa.BigInteger, nullable=False),
            sa.Column("created_last", sa.BigInteger, nullable=False),
            sa.Column("modified_first", sa.BigInteger, nullable=False),
            sa.Column("modified_last", sa.BigInteger, nullable=False),
            sa.Column("letters", sa.LargeBinary, nullable=False),
        )
        times = {"created_first": -1, "created_last": _ALWAYS, "modified_first": -1, "modified_last": _ALWAYS}
        op.bulk_insert(made, [{"begins": first, "jobs": -1, "letters": b"\xff" * 4096, **times}])
        if op.get_bind().dialect.name == "postgresql":
            # In the row itself: they are read with it, and letters in a place of their own are slow to fetch.
            op.execute(f"ALTER TABLE {table} ALTER COLUMN letters SET STORAGE PLAIN")
    op.drop_index("jobs_by_span", "jobs")


def downgrade() -> None:
    """Drop them again."""
    op.create_index("jobs_by_span", "jobs", [sa.text("(modified_at - created_at)")])
    op.drop_table("time_stretches")
    op.drop_table("name_stretches")
