"""Where a stretch begins lies in its row, too: PostgreSQL had moved it out, to make room for the letters.

Revision ID: 0012
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep it there, and write the rows that are there anew."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE name_stretches ALTER COLUMN begins SET STORAGE PLAIN")
        op.execute("UPDATE name_stretches SET begins = begins || ''")


def downgrade() -> None:
    """Let it be moved out again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE name_stretches ALTER COLUMN begins SET STORAGE EXTENDED")
