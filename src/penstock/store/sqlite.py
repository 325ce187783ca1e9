"""SQLite in a file: the database of one machine, and the default."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from penstock.store.dialect import Dialect
from penstock.store.tables import jobs


class _Compiler(SQLiteCompiler):
    """Has `INDEXED BY`, which SQLAlchemy leaves out of SQLite's statements."""

    def get_from_hint_text(self, _table: FromClause, text: str | None) -> str | None:
        return text


def connect(path: Path) -> Dialect:
    """The database in that file, made when it is not there.

    WAL, so that readers never wait for the writer; synchronous=FULL, so that what was acknowledged survives a
    power cut (some 0.2 ms a write).
    """
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False, "timeout": 30},
        pool_size=8,
        max_overflow=32,
        hide_parameters=True,  # an error's text is logged, and a job's request may hold secrets
    )

    engine.dialect.statement_compiler = _Compiler

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver's own idea of transactions begins them late and shared; two such readers that then write
        # deadlock at once. We begin them ourselves, as writers.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            "BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE"
        )

    return Dialect(
        engine=engine,
        reader=engine.execution_options(reading=True),
        in_process=True,
        insert=insert,
        lock_schema=lambda _: None,  # whoever writes has locked all of it
        hold=lambda: None,  # the file lies in a home, which one server holds
        name_holds=_name_holds,
        names_with=_names_with,
        lateral=False,
    )


def _name_holds(part: str) -> ColumnElement[bool] | None:
    return None if len(part) < 3 else jobs.c.name.in_(_names_with(part))


def _names_with(part: str) -> Select[Any]:
    phrase = '"' + part.replace('"', '""') + '"'
    found = text(
        "SELECT name FROM job_names WHERE job_names MATCH :phrase"
        " UNION ALL SELECT name FROM job_names_new WHERE instr(name, :part) > 0"
    ).columns(name=String)
    return select(found.bindparams(phrase=phrase, part=part).subquery().c.name)
