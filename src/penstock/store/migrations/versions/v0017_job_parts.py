"""What of the requests of jobs is a single value, as rows, by which a search finds the jobs' components.

And the trials of a component in their order, by which it sorts them.

Revision ID: 0017
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TEXTS = (
    "AppSpecification.ImageUri",
    "ExperimentConfig.ExperimentName",
    "ExperimentConfig.RunName",
    "ExperimentConfig.TrialComponentDisplayName",
    "ExperimentConfig.TrialName",
    "ProcessingOutputConfig.KmsKeyId",
    "ProcessingResources.ClusterConfig.InstanceType",
    "ProcessingResources.ClusterConfig.SelectedInstanceType",
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
    "RoleArn",
)
_NUMBERS = (
    "ProcessingResources.ClusterConfig.InstanceCount",
    "ProcessingResources.ClusterConfig.SelectedInstanceCount",
    "ProcessingResources.ClusterConfig.VolumeSizeInGB",
    "StoppingCondition.MaxRuntimeInSeconds",
)


def _key(length: int | None = None) -> sa.types.TypeEngine[str]:
    plain, by_bytes = (
        (sa.Text(), sa.Text(collation="C"))
        if length is None
        else (sa.String(length), sa.String(length, collation="C"))
    )
    return plain.with_variant(by_bytes, "postgresql")


def upgrade() -> None:
    """Make the table, and in it the parts of the jobs on record that have components; and the index."""
    made = op.create_table(
        "job_parts",
        sa.Column("job_uid", _key(80), primary_key=True),
        sa.Column("name", _key(64), primary_key=True),
        sa.Column("number", sa.Double),
        sa.Column("text", _key()),
        sqlite_with_rowid=False,
    )
    _index("component", "trial", "experiment")
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.create_index("job_parts_by_name", "job_parts", ["name", "job_uid"])
    rows = _rows(connection)
    while some := list(islice(rows, 1000)):
        connection.execute(made.insert(), some)


def downgrade() -> None:
    """Drop it again: the jobs have their requests themselves."""
    op.drop_table("job_parts")
    _index("component")


def _index(*columns: str) -> None:
    op.drop_index("members_by_component", "members")
    op.create_index("members_by_component", "members", list(columns))


def _rows(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    asked = "SELECT uid, request FROM jobs WHERE uid IN (SELECT job_uid FROM components)"
    for uid, request in connection.execute(sa.text(asked)).all():
        given = json.loads(request)
        for paths, column in ((_TEXTS, "text"), (_NUMBERS, "number")):
            for path in paths:
                value: Any = given
                for name in path.split("."):
                    value = (value or {}).get(name)
                if value is not None:
                    row = {"job_uid": uid, "name": path.lower(), "number": None, "text": None}
                    yield {**row, column: value}
