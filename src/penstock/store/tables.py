"""The tables, as SQLAlchemy Core sees them. `migrations/` makes them; a test holds the two together.

Times are milliseconds since the epoch. What is only ever read whole (a request, notes) is JSON text.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text, text

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("uid", String(80), nullable=False, unique=True),
    Column("arn", String(256), nullable=False),
    Column("request", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("phase", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("phases", Text, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("failure_reason", Text),
    Column("exit_message", Text),
    Column("trial_component", String(120)),
    Index("jobs_by_creation", "created_at", "name"),
    Index("jobs_by_status", "status", "created_at"),
    Index("jobs_by_modification", "modified_at"),
    # Jobs without a component, which are most, cost the index nothing.
    Index(
        "jobs_by_trial_component",
        "trial_component",
        sqlite_where=text("trial_component IS NOT NULL"),
        postgresql_where=text("trial_component IS NOT NULL"),
    ),
)

hosts = Table(
    "hosts",
    metadata,
    Column("job_uid", String(80), primary_key=True),
    Column("name", String(16), primary_key=True),
    Column("job_name", String(63), nullable=False),
    Column("token_digest", String(64), nullable=False),
    Column("log_stream", String(128), nullable=False, unique=True),
    Column("handle", Text),
    Column("phase", String(16), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("phases", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("outcome", Text),
)

uploads = Table(
    "uploads",
    metadata,
    Column("job_uid", String(80), primary_key=True),
    Column("uri", Text, primary_key=True),
    Column("host", String(16), primary_key=True),
    Column("output", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("text", Text, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("arn", String(256), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("value", String(256), nullable=False),
)

metrics = Table(
    "metrics",
    metadata,
    # SQLite counts up by itself in a key of this very type only.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("trial_component", String(120), nullable=False),
    Column("name", String(255), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("step", Integer),
    Column("value", Double, nullable=False),
    Index("metrics_by_component", "trial_component", "name", "at"),
)
