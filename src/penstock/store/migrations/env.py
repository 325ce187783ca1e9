"""Alembic's entry: runs the steps on the connection that `schema.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from penstock.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
