"""Indexes for every list of jobs, and keys that are sorted by their code points in every database.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: Where PostgreSQL would sort by the rules of a language: column -> length (None: any).
_KEYS: dict[str, dict[str, int | None]] = {
    "jobs": {"name": 63, "uid": 80, "arn": 256, "phase": 16, "status": 16, "trial_component": 120},
    "hosts": {"job_uid": 80, "name": 16, "job_name": 63, "log_stream": 128, "phase": 16},
    "uploads": {"job_uid": 80, "uri": None, "host": 16, "output": 64},
    "tags": {"arn": 256, "key": 128},
    "metrics": {"trial_component": 120, "name": 255},
}

_ACTIVE = sa.text("status IN ('InProgress', 'Stopping')")


def upgrade() -> None:
    """Add them, and what finds a part of a name: a table of trigrams in SQLite, an index in PostgreSQL."""
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        _collate("C")
    op.drop_index("jobs_by_status", "jobs")
    op.create_index("jobs_by_status", "jobs", ["status", "created_at", "name"])
    op.create_index("jobs_by_status_and_name", "jobs", ["status", "name"])
    op.create_index("jobs_by_span", "jobs", [sa.text("(modified_at - created_at)")])
    op.create_index(
        "jobs_active", "jobs", ["created_at", "name"], sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    for statement in _POSTGRES_NAMES if postgres else _SQLITE_NAMES:
        op.execute(statement)


def _collate(collation: str) -> None:
    for table, columns in _KEYS.items():
        changes = (
            f'ALTER COLUMN "{name}" TYPE {"TEXT" if length is None else f"VARCHAR({length})"} COLLATE "{collation}"'
            for name, length in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {', '.join(changes)}")


_POSTGRES_NAMES = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX jobs_by_part_of_name ON jobs USING gin (name gin_trgm_ops)",
)

#: Texts of less than three letters have no trigram. The row that goes is found by its own ones: the table has no other
#: index, and SQLite may give the jobs' rows new numbers.
_SQLITE_NAMES = (
    "CREATE VIRTUAL TABLE job_names USING fts5(name, tokenize='trigram case_sensitive 1')",
    "INSERT INTO job_names (name) SELECT name FROM jobs WHERE length(name) >= 3",
    """CREATE TRIGGER jobs_named AFTER INSERT ON jobs WHEN length(new.name) >= 3 BEGIN
         INSERT INTO job_names (name) VALUES (new.name);
       END""",
    """CREATE TRIGGER jobs_unnamed AFTER DELETE ON jobs WHEN length(old.name) >= 3 BEGIN
         DELETE FROM job_names WHERE rowid IN (
           SELECT rowid FROM job_names
           WHERE job_names MATCH '"' || replace(old.name, '"', '""') || '"' AND name = old.name
         );
       END""",
)


def downgrade() -> None:
    """Drop them again."""
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.drop_index("jobs_by_part_of_name", "jobs")
    else:
        for statement in ("DROP TRIGGER jobs_unnamed", "DROP TRIGGER jobs_named", "DROP TABLE job_names"):
            op.execute(statement)
    for name in ("jobs_active", "jobs_by_span", "jobs_by_status_and_name", "jobs_by_status"):
        op.drop_index(name, "jobs")
    op.create_index("jobs_by_status", "jobs", ["status", "created_at"])
    if postgres:
        _collate("default")
