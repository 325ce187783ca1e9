"""Names of new jobs wait for their trigrams in SQLite, and an index that another one makes needless goes.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ACTIVE = sa.text("status IN ('InProgress', 'Stopping')")

#: The table of trigrams costs a commit as much as all the rest of a new job, and hardly more for many names than for
#: one. So new names are gathered in a plain table, which every search reads as well, and go over some at a time.
_GATHERED = 256
_MOVED = (
    "INSERT INTO job_names (name) SELECT name FROM job_names_new WHERE length(name) >= 3",
    "DELETE FROM job_names_new",
)
_DROP_TRIGGERS = ("DROP TRIGGER jobs_unnamed", "DROP TRIGGER jobs_named")
_FORGET = """
    DELETE FROM job_names WHERE rowid IN (
      SELECT rowid FROM job_names
      WHERE job_names MATCH '"' || replace(old.name, '"', '""') || '"' AND name = old.name
    );"""
_NEW = (
    "CREATE TABLE job_names_new (name TEXT NOT NULL)",
    f"""CREATE TRIGGER job_names_gathered AFTER INSERT ON job_names_new WHEN new.rowid % {_GATHERED} = 0 BEGIN
         {_MOVED[0]}; {_MOVED[1]};
       END""",
    """CREATE TRIGGER jobs_named AFTER INSERT ON jobs BEGIN
         INSERT INTO job_names_new (name) VALUES (new.name);
       END""",
    f"""CREATE TRIGGER jobs_unnamed AFTER DELETE ON jobs BEGIN
         DELETE FROM job_names_new WHERE name = old.name; {_FORGET}
       END""",  # noqa: S608 - constants
)
_OLD = (
    """CREATE TRIGGER jobs_named AFTER INSERT ON jobs WHEN length(new.name) >= 3 BEGIN
         INSERT INTO job_names (name) VALUES (new.name);
       END""",
    f"CREATE TRIGGER jobs_unnamed AFTER DELETE ON jobs WHEN length(old.name) >= 3 BEGIN {_FORGET} END",
)


def upgrade() -> None:
    """Gather them. Those that are there have their trigrams."""
    op.drop_index("jobs_active", "jobs")
    if op.get_bind().dialect.name == "sqlite":
        for statement in (*_DROP_TRIGGERS, *_NEW):
            op.execute(statement)


def downgrade() -> None:
    """Give the new ones their trigrams, and drop the table that they waited in."""
    op.create_index(
        "jobs_active", "jobs", ["created_at", "name"], sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    if op.get_bind().dialect.name == "sqlite":
        gone = ("DROP TRIGGER job_names_gathered", *_MOVED, "DROP TABLE job_names_new")
        for statement in (*_DROP_TRIGGERS, *gone, *_OLD):
            op.execute(statement)
