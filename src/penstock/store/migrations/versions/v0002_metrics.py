"""Trial components of jobs, and their metrics.

Revision ID: 0002
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give jobs that are part of an experiment their component, and make a table of metrics."""
    op.add_column("jobs", sa.Column("trial_component", sa.String(120)))
    there = sa.text("trial_component IS NOT NULL")
    op.create_index(
        "jobs_by_trial_component", "jobs", ["trial_component"], sqlite_where=there, postgresql_where=there
    )
    op.create_table(
        "metrics",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("trial_component", sa.String(120), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("step", sa.Integer),
        sa.Column("value", sa.Double, nullable=False),
    )
    op.create_index("metrics_by_component", "metrics", ["trial_component", "name", "at"])
    _name_components(op.get_bind())


def _name_components(connection: sa.Connection) -> None:
    jobs = sa.table("jobs", sa.column("name"), sa.column("request"), sa.column("trial_component"))
    found = connection.execute(
        sa.select(jobs.c.name, jobs.c.request).where(jobs.c.request.contains("ExperimentConfig"))
    ).all()
    for name, request in found:
        if json.loads(request).get("ExperimentConfig"):
            component = f"{name}-aws-processing-job".lower()
            connection.execute(sa.update(jobs).where(jobs.c.name == name).values(trial_component=component))


def downgrade() -> None:
    """Drop both again."""
    op.drop_table("metrics")
    op.drop_index("jobs_by_trial_component", "jobs")
    op.drop_column("jobs", "trial_component")
