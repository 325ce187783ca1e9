"""Brings a database to the schema of this version. Alembic (0.15 s of import) is loaded only when there is work."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from penstock.errors import ConfigurationError
from penstock.store import stretches
from penstock.store.dialect import Dialect

#: The newest step in `migrations/versions`; a test holds it there.
HEAD = "0017"


def upgrade(dialect: Dialect) -> None:
    """Bring the database to `HEAD`; nothing happens when it is there. Of several at once, one does it; the others wait.

    Raises:
        ConfigurationError: The database is of a newer Penstock.
    """
    with dialect.engine.begin() as connection:
        dialect.lock_schema(connection)
        current = revision(connection)
        if current == HEAD:
            return
        _migrate(connection, current)


def revision(connection: Connection) -> str | None:
    """The step the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(connection: Connection, current: str | None) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import and seldom needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError(
            f"The database is at schema {current}, which a newer Penstock made; this one knows {HEAD}. "
            "Update Penstock, or point PENSTOCK_HOME (or PENSTOCK_DATABASE_URL) elsewhere."
        )
    command.upgrade(config, "head")
    stretches.complete(connection)
