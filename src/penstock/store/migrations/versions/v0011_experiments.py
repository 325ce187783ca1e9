"""Experiments, trials and components as rows of their own, and what components' metrics come to.

Revision ID: 0011
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = ("members", "components", "trials", "experiments", "metric_summaries", "artifacts", "associations")


def _key(length: int = 120) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables, and in them what jobs on record are part of."""
    made = {}
    made["experiments"] = op.create_table(
        "experiments",
        *_named(),
        sa.Column("description", sa.Text),
        *_authors(),
    )
    made["trials"] = op.create_table(
        "trials",
        *_named(sa.Column("experiment_key", _key(), nullable=False)),
        sa.Column("metadata", sa.Text, nullable=False),
        *_authors(),
    )
    made["components"] = op.create_table(
        "components",
        *_named(),
        sa.Column("job_uid", _key(80)),
        sa.Column("source", _key(256)),
        sa.Column("source_key", _key(256)),
        sa.Column("run_name", _key()),
        sa.Column("status", _key(16)),
        sa.Column("message", sa.Text),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        *(sa.Column(n, sa.Text, nullable=False) for n in ("parameters", "inputs", "outputs", "metadata")),
        *_authors(),
    )
    made["members"] = op.create_table(
        "members",
        sa.Column("trial", _key(), primary_key=True),
        sa.Column("component", _key(), primary_key=True),
        sa.Column("experiment", _key(), nullable=False),
    )
    made["metric_summaries"] = op.create_table(
        "metric_summaries",
        sa.Column("component", _key(), primary_key=True),
        sa.Column("name", _key(255), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        *(sa.Column(n, sa.Double) for n in ("minimum", "maximum", "last", "mean", "deviation")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "artifacts",
        sa.Column("key", _key(32), primary_key=True),
        sa.Column("arn", _key(256), nullable=False),
        sa.Column("name", _key()),
        sa.Column("type", _key(256), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("uri_key", _key(64), nullable=False),
        sa.Column("source_types", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("properties", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        *_authors(),
    )
    op.create_table(
        "associations",
        sa.Column("source", _key(256), primary_key=True),
        sa.Column("destination", _key(256), primary_key=True),
        sa.Column("type", _key(32)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("source_type", _key(256), nullable=False),
        sa.Column("destination_type", _key(256), nullable=False),
    )
    op.create_index("artifacts_by_uri", "artifacts", ["uri_key"])
    op.create_index("associations_by_destination", "associations", ["destination"])
    op.create_index("associations_by_creation", "associations", ["created_at", "source", "destination"])
    for table in ("experiments", "trials", "components", "artifacts"):
        op.create_index(f"{table}_by_creation", table, ["created_at", "key"])
    op.create_index("trials_by_experiment", "trials", ["experiment_key", "created_at", "key"])
    op.create_index("components_by_modification", "components", ["modified_at", "key"])
    op.create_index("components_by_source", "components", ["source_key"])
    op.create_index("members_by_component", "members", ["component"])
    op.create_index("members_by_experiment", "members", ["experiment", "component"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "metric_summaries_by_name",
            "metric_summaries",
            ["name", "component"],
            postgresql_include=["minimum", "maximum", "last", "mean", "deviation", "size"],
        )
    _fill(op.get_bind(), made)
    op.drop_index("jobs_by_trial_component", "jobs")
    op.drop_column("jobs", "trial_component")


def downgrade() -> None:
    """Name the components of jobs on record in the jobs again; what was made by hand is lost."""
    op.add_column("jobs", sa.Column("trial_component", _key()))
    there = sa.text("trial_component IS NOT NULL")
    op.create_index(
        "jobs_by_trial_component", "jobs", ["trial_component"], sqlite_where=there, postgresql_where=there
    )
    op.execute(
        "UPDATE jobs SET trial_component ="
        " (SELECT components.key FROM components WHERE components.job_uid = jobs.uid)"
    )
    op.execute(
        "DELETE FROM metrics WHERE NOT EXISTS"
        " (SELECT 1 FROM jobs WHERE jobs.trial_component = metrics.trial_component)"
    )
    op.execute(
        "DELETE FROM tags WHERE arn IN (SELECT arn FROM experiments UNION ALL SELECT arn FROM trials"
        " UNION ALL SELECT arn FROM components UNION ALL SELECT arn FROM artifacts)"
    )
    for table in _TABLES:
        op.drop_table(table)


def _named(*more: sa.Column[Any]) -> Iterator[sa.Column[Any]]:
    yield sa.Column("key", _key(), primary_key=True)
    yield sa.Column("name", _key(), nullable=False)
    yield sa.Column("arn", _key(256), nullable=False)
    yield from more
    yield sa.Column("display_name", _key(), nullable=False)
    yield sa.Column("created_at", sa.BigInteger, nullable=False)
    yield sa.Column("modified_at", sa.BigInteger, nullable=False)


def _authors() -> Iterator[sa.Column[Any]]:
    yield sa.Column("created_by", sa.Text)
    yield sa.Column("modified_by", sa.Text)


_JOBS = sa.table(
    "jobs",
    *map(
        sa.column,
        (
            "arn",
            "uid",
            "request",
            "created_at",
            "modified_at",
            "status",
            "failure_reason",
            "started_at",
            "ended_at",
        ),
    ),
    sa.column("trial_component"),
)
_TAGS = sa.table("tags", *map(sa.column, ("arn", "key", "value")))
_METRICS = sa.table("metrics", *map(sa.column, ("id", "trial_component", "name", "at", "value")))


def _fill(c: sa.Connection, tables: Mapping[str, sa.Table]) -> None:
    """What components were made of until now, as rows. A trial or experiment that was only named is made."""
    made: dict[str, dict[str, dict[str, Any]]] = {t: {} for t in ("experiments", "trials", "components")}
    members: dict[tuple[str, str], str] = {}
    tags: dict[tuple[str, str], str] = {}
    with_one = sa.select(_JOBS).where(_JOBS.c.trial_component.is_not(None)).order_by(_JOBS.c.created_at)
    for job in c.execute(with_one).all():
        given = json.loads(job.request)
        config = given["ExperimentConfig"]
        component = _component(job, given, config)
        # Of two jobs whose names differ in case alone the newer one has had it.
        made["components"][component["key"]] = component
        experiment = config.get("ExperimentName") or config.get("TrialName")
        if experiment:
            trial = config.get("TrialName") or experiment
            made["experiments"].setdefault(experiment.lower(), _entity(job, "experiment", experiment))
            new = {
                **_entity(job, "experiment-trial", trial),
                "experiment_key": experiment.lower(),
                "metadata": "{}",
            }
            kept = made["trials"].setdefault(trial.lower(), new)
            members[kept["key"], component["key"]] = kept["experiment_key"]
        for tag in c.execute(sa.select(_TAGS).where(_TAGS.c.arn == job.arn)):
            tags[component["arn"], tag.key] = tag.value
    for table, rows in made.items():
        _insert(c, tables[table], rows.values())
    parts = ({"trial": t, "component": m, "experiment": e} for (t, m), e in members.items())
    _insert(c, tables["members"], parts)
    _insert(c, _TAGS, ({"arn": arn, "key": key, "value": value} for (arn, key), value in tags.items()))
    _insert(c, tables["metric_summaries"], _summaries(c))


def _insert(c: sa.Connection, table: sa.TableClause, rows: Iterable[dict[str, Any]]) -> None:
    all_of_them = iter(rows)
    while batch := list(islice(all_of_them, 1000)):
        c.execute(sa.insert(table), batch)


def _entity(job: Any, kind: str, name: str) -> dict[str, Any]:
    return {
        "key": name.lower(),
        "name": name,
        "arn": f"{job.arn.partition(':processing-job/')[0]}:{kind}/{name.lower()}",
        "display_name": name,
        "created_at": job.created_at,
        "modified_at": job.created_at,
    }


def _component(job: Any, given: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    cluster = (given.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    kind = cluster.get("InstanceType") or cluster.get("SelectedInstanceType")
    numbers = {"SageMaker.InstanceCount": "InstanceCount", "SageMaker.VolumeSizeInGB": "VolumeSizeInGB"}
    image = (given.get("AppSpecification") or {}).get("ImageUri")
    inputs = given.get("ProcessingInputs")
    outputs = (given.get("ProcessingOutputConfig") or {}).get("Outputs")
    return {
        **_entity(job, "experiment-trial-component", job.trial_component),
        "display_name": config.get("TrialComponentDisplayName", job.trial_component),
        "modified_at": job.modified_at,
        "job_uid": job.uid,
        "source": job.arn,
        "source_key": job.arn.lower(),
        "run_name": config.get("RunName"),
        "status": job.status,
        "message": job.failure_reason,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "parameters": json.dumps(
            {name: {"NumberValue": float(cluster[n])} for name, n in numbers.items() if n in cluster}
            | ({"SageMaker.InstanceType": {"StringValue": kind}} if kind else {})
        ),
        "inputs": json.dumps(
            ({"SageMaker.ImageUri": {"Value": image}} if image else {})
            | {i["InputName"]: {"Value": i["S3Input"]["S3Uri"]} for i in inputs or () if "S3Input" in i}
        ),
        "outputs": json.dumps(
            {o["OutputName"]: {"Value": o["S3Output"]["S3Uri"]} for o in outputs or () if "S3Output" in o}
        ),
        "metadata": "{}",
    }  # fmt: skip


def _summaries(c: sa.Connection) -> list[dict[str, Any]]:
    m = _METRICS.c
    ordered = sa.select(_METRICS).order_by(m.trial_component, m.name, m.at, m.id)
    return [
        _summary(component, name, list(rows))
        for (component, name), rows in groupby(c.execute(ordered), key=lambda r: (r.trial_component, r.name))
    ]


def _summary(component: str, name: str, rows: list[Any]) -> dict[str, Any]:
    values = [row.value for row in rows]
    finite = all(map(math.isfinite, values))
    return {
        "component": component,
        "name": name,
        "at": rows[-1].at,
        "size": len(values),
        "minimum": min(values),
        "maximum": max(values),
        "last": values[-1],
        "mean": statistics.mean(values) if finite else None,
        "deviation": statistics.pstdev(values) if finite else None,
    }
