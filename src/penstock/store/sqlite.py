"""SQLite in a file: the database of one machine, and the default."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    create_engine,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects.sqlite import insert

from penstock.store.dialect import Dialect
from penstock.store.tables import jobs


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
        now=literal_column("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)", BigInteger),
        name_holds=_name_holds,
        lateral=False,
    )


def _name_holds(part: str) -> ColumnElement[bool] | None:
    if len(part) < 3:
        return None
    phrase = '"' + part.replace('"', '""') + '"'
    found = text(
        "SELECT name FROM job_names WHERE job_names MATCH :phrase"
        " UNION ALL SELECT name FROM job_names_new WHERE instr(name, :part) > 0"
    ).columns(name=String)
    return jobs.c.name.in_(found.bindparams(phrase=phrase, part=part))
