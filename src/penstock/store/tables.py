"""The tables, as SQLAlchemy Core sees them. `migrations/` makes them; a test holds the two together.

Times are milliseconds since the epoch. What is only ever read whole (a request, notes) is JSON text.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()


def _key(length: int | None = None) -> TypeEngine[str]:
    """A text that is compared and sorted: by its code points, in every database and whatever its language."""
    plain, sorted_by_bytes = (
        (Text(), Text(collation="C")) if length is None else (String(length), String(length, collation="C"))
    )
    return plain.with_variant(sorted_by_bytes, "postgresql")


#: The jobs that have not ended. A text, so that both databases see which index has them.
ACTIVE = text("status IN ('InProgress', 'Stopping')")
#: The others.
ENDED = text("status NOT IN ('InProgress', 'Stopping')")
#: Those of the active ones that have not been started.
QUEUED = text("phase = 'queued'")
#: Ended jobs whose logs are still kept.
WITH_LOGS = text("ended_at IS NOT NULL AND logs_removed_at IS NULL")
#: Those that have been started.
BEGUN = text("phase IN ('preparing', 'downloading', 'running', 'uploading', 'stopping')")

# Of an environment. Rows without one cost the index nothing.
_LOCKED = text("lock IS NOT NULL")

jobs = Table(
    "jobs",
    metadata,
    Column("name", _key(63), primary_key=True),
    Column("uid", _key(80), nullable=False, unique=True),
    Column("arn", _key(256), nullable=False),
    Column("request", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("phase", _key(16), nullable=False),
    Column("status", _key(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("phases", Text, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("failure_reason", _key()),
    Column("exit_message", _key()),
    # What the queue needs of a job, so that it need not read requests. A Penstock before these columns leaves them out.
    Column("owner", _key(256), nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("cpus", Integer, nullable=False, server_default="1"),
    Column("memory", BigInteger, nullable=False, server_default="0"),
    Column("gpus", Integer, nullable=False, server_default="0"),
    Column("instances", Integer, nullable=False, server_default="1"),
    Column("lock", _key(64)),
    Column("logs_removed_at", BigInteger),
    # Who carries it on, and on whose machine it was started.
    Column("server", _key(32), nullable=False, server_default=""),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("place", _key(32), nullable=False, server_default=""),
    # The attempts before this one.
    Column("lost", Text, nullable=False, server_default="[]"),
    # The engine that it waits for, and then has; empty: whichever a server has.
    Column("engine", _key(16), nullable=False, server_default=""),
    Index("jobs_by_creation", "created_at", "name"),
    Index("jobs_by_status", "status", "created_at", "name"),
    Index("jobs_by_status_and_name", "status", "name"),
    Index("jobs_by_modification", "modified_at"),
    # In SQLite a part of a name is found by tables of their own, `job_names` and `job_names_new`. Triggers fill them.
    Index(
        "jobs_by_part_of_name", "name", postgresql_using="gin", postgresql_ops={"name": "gin_trgm_ops"}
    ).ddl_if(dialect="postgresql"),
    Index("jobs_with_logs", "modified_at", "name", sqlite_where=WITH_LOGS, postgresql_where=WITH_LOGS),
    Index("jobs_by_lock", "lock", sqlite_where=_LOCKED, postgresql_where=_LOCKED),
    Index("jobs_begun", "created_at", "name", sqlite_where=BEGUN, postgresql_where=BEGUN),
    Index(
        "jobs_queued",
        "engine",
        "priority",
        "owner",
        "created_at",
        "uid",
        sqlite_where=QUEUED,
        postgresql_where=QUEUED,
    ),
)


def _stretches(name: str, key: TypeEngine[Any]) -> Table:
    return Table(
        name,
        metadata,
        Column("begins", key, primary_key=True, autoincrement=False),
        # How many have come in since it was cut; -1 of one that nothing is known of.
        Column("jobs", Integer, nullable=False),
        Column("created_first", BigInteger, nullable=False),
        Column("created_last", BigInteger, nullable=False),
        Column("modified_first", BigInteger, nullable=False),
        Column("modified_last", BigInteger, nullable=False),
        Column("letters", LargeBinary, nullable=False),
    )


#: What ended jobs that follow each other in an order have in common, see `stretches.py`.
name_stretches = _stretches("name_stretches", _key(63))
time_stretches = _stretches("time_stretches", BigInteger())

hosts = Table(
    "hosts",
    metadata,
    Column("job_uid", _key(80), primary_key=True),
    # With the number of its attempt, but for the first (`job.events.key_of`). So it is with logs.
    Column("name", _key(16), primary_key=True),
    Column("job_name", _key(63), nullable=False),
    Column("token_digest", String(64), nullable=False),
    Column("log_stream", _key(128), nullable=False, unique=True),
    Column("handle", Text),
    Column("phase", _key(16), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("phases", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("outcome", Text),
    Column("lock", _key(64)),
    # Until when its runner may go on without word from a server, by the database's clock.
    Column("lease_until", BigInteger),
    Index("hosts_by_lock", "lock", sqlite_where=_LOCKED, postgresql_where=_LOCKED),
)

uploads = Table(
    "uploads",
    metadata,
    Column("job_uid", _key(80), primary_key=True),
    Column("uri", _key(), primary_key=True),
    Column("host", _key(16), primary_key=True),
    Column("output", _key(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("sha256", _key(64), primary_key=True),
    Column("text", Text, nullable=False),
    # When it was put there or named last.
    Column("kept_at", BigInteger, nullable=False, server_default="0"),
)

#: Servers that share the database. Their leases are judged by the database's clock.
servers = Table(
    "servers",
    metadata,
    Column("id", _key(32), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("url", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("home", Text, nullable=False),
    Column("capacity", Text, nullable=False),
    Column("shared", Text, nullable=False),
)

#: Log events, where servers share them: pieces as runners sent them, each from byte `start` of its host's log on.
log_pieces = Table(
    "log_pieces",
    metadata,
    Column("job_uid", _key(80), primary_key=True),
    Column("host", _key(16), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

tags = Table(
    "tags",
    metadata,
    Column("arn", _key(256), primary_key=True),
    Column("key", _key(128), primary_key=True),
    Column("value", _key(256), nullable=False),
)

metrics = Table(
    "metrics",
    metadata,
    # SQLite counts up by itself in a key of this very type only.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("trial_component", _key(120), nullable=False),
    Column("name", _key(255), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("step", Integer),
    Column("value", Double, nullable=False),
    Index("metrics_by_component", "trial_component", "name", "at"),
)

# What a component's values of one name come to, so that a search need not read them all. What can't be told (the
# deviation of an infinite value) is NULL.
metric_summaries = Table(
    "metric_summaries",
    metadata,
    Column("component", _key(120), primary_key=True),
    Column("name", _key(255), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("minimum", Double),
    Column("maximum", Double),
    Column("last", Double),
    Column("mean", Double),
    Column("deviation", Double),
    # PostgreSQL would rather read all rows than look for one of each component.
    Index(
        "metric_summaries_by_name",
        "name",
        "component",
        postgresql_include=["minimum", "maximum", "last", "mean", "deviation", "size"],
    ).ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,  # by its key in one step
)

# Names of experiments, trials and components are not case-sensitive: `key` is the name in lower case.
experiments = Table(
    "experiments",
    metadata,
    Column("key", _key(120), primary_key=True),
    Column("name", _key(120), nullable=False),
    Column("arn", _key(256), nullable=False),
    Column("display_name", _key(120), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("description", _key()),
    Column("created_by", Text),
    Column("modified_by", Text),
    Index("experiments_by_creation", "created_at", "key"),
)

trials = Table(
    "trials",
    metadata,
    Column("key", _key(120), primary_key=True),
    Column("name", _key(120), nullable=False),
    Column("arn", _key(256), nullable=False),
    Column("experiment_key", _key(120), nullable=False),
    Column("display_name", _key(120), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_by", Text),
    Column("modified_by", Text),
    Index("trials_by_creation", "created_at", "key"),
    Index("trials_by_experiment", "experiment_key", "created_at", "key"),
)

components = Table(
    "components",
    metadata,
    Column("key", _key(120), primary_key=True),
    Column("name", _key(120), nullable=False),
    Column("arn", _key(256), nullable=False),
    Column("display_name", _key(120), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("job_uid", _key(80)),
    Column("source", _key(256)),
    # The ARN of its source in lower case, by which clients ask.
    Column("source_key", _key(256)),
    Column("run_name", _key(120)),
    Column("status", _key(16)),
    Column("message", _key()),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    Column("parameters", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("outputs", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_by", Text),
    Column("modified_by", Text),
    Index("components_by_creation", "created_at", "key"),
    Index("components_by_modification", "modified_at", "key"),
    Index("components_by_source", "source_key"),
)

# The same as in the column of components, for who looks for components by them. Either a number or a text.
parameters = Table(
    "parameters",
    metadata,
    Column("component", _key(120), primary_key=True),
    Column("name", _key(320), primary_key=True),
    Column("number", Double),
    Column("text", _key()),
    Index("parameters_by_name", "name", "number", "component").ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,
)

# The same as in the columns of components, for who looks for components by them.
component_artifacts = Table(
    "component_artifacts",
    metadata,
    Column("component", _key(120), primary_key=True),
    # `input` or `output`.
    Column("side", _key(8), primary_key=True),
    Column("name", _key(128), primary_key=True),
    Column("value", _key(), nullable=False),
    Column("media_type", _key(64)),
    Index("component_artifacts_by_name", "side", "name", "component").ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,
)

# What of the requests of jobs that have components is a single value, by its path in lower case, for who looks for
# components by it. Either a number or a text.
job_parts = Table(
    "job_parts",
    metadata,
    Column("job_uid", _key(80), primary_key=True),
    Column("name", _key(64), primary_key=True),
    Column("number", Double),
    Column("text", _key()),
    Index("job_parts_by_name", "name", "job_uid").ddl_if(dialect="postgresql"),
    sqlite_with_rowid=False,
)

artifacts = Table(
    "artifacts",
    metadata,
    # The last part of its ARN, made of its source.
    Column("key", _key(32), primary_key=True),
    Column("arn", _key(256), nullable=False),
    Column("name", _key(120)),
    Column("type", _key(256), nullable=False),
    Column("uri", Text, nullable=False),
    # Its SHA-256: a URI may be longer than an index takes.
    Column("uri_key", _key(64), nullable=False),
    Column("source_types", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("properties", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_by", Text),
    Column("modified_by", Text),
    Index("artifacts_by_creation", "created_at", "key"),
    Index("artifacts_by_uri", "uri_key"),
)

associations = Table(
    "associations",
    metadata,
    Column("source", _key(256), primary_key=True),
    Column("destination", _key(256), primary_key=True),
    Column("type", _key(32)),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text),
    Column("source_type", _key(256), nullable=False),
    Column("destination_type", _key(256), nullable=False),
    Index("associations_by_destination", "destination"),
    Index("associations_by_creation", "created_at", "source", "destination"),
)

# Which component is in which trial. A trial never changes its experiment, so that one stands here as well.
members = Table(
    "members",
    metadata,
    Column("trial", _key(120), primary_key=True),
    Column("component", _key(120), primary_key=True),
    Column("experiment", _key(120), nullable=False),
    # All of it: the first trial of each is asked for where components are sorted by it.
    Index("members_by_component", "component", "trial", "experiment"),
    Index("members_by_experiment", "experiment", "component"),
)
