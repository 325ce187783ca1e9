"""Alembic migrations of the database, newest last. See docs/checklists/change-the-schema.md."""
