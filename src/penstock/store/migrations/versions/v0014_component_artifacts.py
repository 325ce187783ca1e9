"""Components' artifacts as rows, by which a search finds components; and texts that a search may sort by.

Revision ID: 0014
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

#: Sorted by their code points from now on, as SQLite has them. No index has them, and no row is written anew.
_SORTED = {
    ("parameters", "text"): "TEXT",
    ("experiments", "description"): "TEXT",
    ("components", "message"): "TEXT",
    ("jobs", "failure_reason"): "TEXT",
    ("jobs", "exit_message"): "TEXT",
    ("tags", "value"): "VARCHAR(256)",
}


def _key(length: int | None = None) -> sa.types.TypeEngine[str]:
    plain, by_bytes = (
        (sa.Text(), sa.Text(collation="C"))
        if length is None
        else (sa.String(length), sa.String(length, collation="C"))
    )
    return plain.with_variant(by_bytes, "postgresql")


def upgrade() -> None:
    """Make the table, and in it the artifacts of the components on record."""
    made = op.create_table(
        "component_artifacts",
        sa.Column("component", _key(120), primary_key=True),
        sa.Column("side", _key(8), primary_key=True),
        sa.Column("name", _key(128), primary_key=True),
        sa.Column("value", _key(), nullable=False),
        sa.Column("media_type", _key(64)),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    rows = _rows(connection)
    while some := list(islice(rows, 1000)):
        connection.execute(made.insert(), some)
    if connection.dialect.name == "postgresql":
        op.create_index("component_artifacts_by_name", "component_artifacts", ["side", "name", "component"])
        _sort('COLLATE "C"')


def downgrade() -> None:
    """Drop it again: the components have their artifacts themselves."""
    op.drop_table("component_artifacts")
    if op.get_bind().dialect.name == "postgresql":
        _sort('COLLATE "default"')


def _sort(collation: str) -> None:
    for (table, column), kind in _SORTED.items():
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} {collation}")


def _rows(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    components = connection.execute(sa.text("SELECT key, inputs, outputs FROM components")).all()
    for component, *sides in components:
        for side, given in zip(("input", "output"), sides, strict=True):
            # A database that can't hold the character 0 has another one in its place.
            named = {name.replace("\0", "\ufffd"): value for name, value in json.loads(given).items()}
            for name, value in named.items():
                media_type = value.get("MediaType")
                yield {
                    "component": component,
                    "side": side,
                    "name": name,
                    "value": value["Value"],
                    "media_type": media_type,
                }
