"""Components' parameters as rows, by which a search finds components.

Revision ID: 0013
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def _key(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table, and in it the parameters of the components on record."""
    made = op.create_table(
        "parameters",
        sa.Column("component", _key(120), primary_key=True),
        sa.Column("name", _key(320), primary_key=True),
        sa.Column("number", sa.Double),
        sa.Column("text", sa.Text),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.create_index("parameters_by_name", "parameters", ["name", "number", "component"])
    rows = _rows(connection)
    while some := list(islice(rows, 1000)):
        connection.execute(made.insert(), some)


def downgrade() -> None:
    """Drop it again: the components have their parameters themselves."""
    op.drop_table("parameters")


def _rows(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    components = connection.execute(sa.text("SELECT key, parameters FROM components")).all()
    for component, given in components:
        # A database that can't hold the character 0 has another one in its place.
        named = {name.replace("\0", "\ufffd"): value for name, value in json.loads(given).items()}
        for name, value in named.items():
            number, text = value.get("NumberValue"), value.get("StringValue")
            yield {"component": component, "name": name, "number": number, "text": text}
