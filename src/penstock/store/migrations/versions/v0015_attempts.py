"""Jobs have attempts: those that were lost stand in the job's row.

Revision ID: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a Penstock before it leaves it out."""
    op.add_column("jobs", sa.Column("lost", sa.Text, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Forget what was lost."""
    op.drop_column("jobs", "lost")
