"""SQLite in a file: the database of one machine, and the default."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Engine,
    FromClause,
    Select,
    String,
    bindparam,
    create_engine,
    event,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from penstock.store.dialect import Dialect

#: So many free pages (of 4 KiB) are given back at once: some milliseconds, in which nobody else writes.
_PAGES = 256
#: So many letters at each end of a part of a name find nearly as few jobs as all of it, at a fifth of the price.
_END = 8


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
        connection.create_function("has_bits", 2, _has_all, deterministic=True)
        # Only a new file can be made such that `_give_back` shortens it; in another this would wait for its writer.
        if not connection.execute("PRAGMA page_count").fetchone()[0]:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            "BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE"
        )

    reader = engine.execution_options(reading=True)
    return Dialect(
        engine=engine,
        reader=reader,
        searching=reader.connect,
        in_process=True,
        insert=insert,
        lock_schema=lambda _: None,  # whoever writes has locked all of it
        now=literal_column("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)", BigInteger),
        names_with=_names_with,
        position=func.instr,
        has_bits=lambda value, _: func.has_bits(value, bindparam("bits", type_=String), type_=Boolean),
        bits=lambda wanted: {"bits": json.dumps(list(wanted.items()))},
        give_back=lambda: _give_back(engine),
        lateral=False,
    )


def _give_back(engine: Engine) -> None:
    """A file of an older Penstock keeps its length; its pages are used again."""
    with closing(engine.raw_connection()) as c:
        # A page for each step of the statement, and of what has no columns `execute` takes one step.
        c.cursor().executescript(f"PRAGMA incremental_vacuum({_PAGES})")


def _has_all(value: bytes, wanted: str) -> bool:
    return all(value[at] & bits == bits for at, bits in _loaded(wanted))


@lru_cache(16)
def _loaded(wanted: str) -> list[tuple[int, int]]:
    return [(at, bits) for at, bits in json.loads(wanted)]


def _names_with(part: str) -> Select[Any] | None:
    if len(part) < 3:
        return None
    # Each trigram is looked for in a list of all jobs that have it, so a long part is sought by its two ends.
    ends = (part,) if len(part) <= 2 * _END else (part[:_END], part[-_END:])
    phrases = " AND ".join('"' + end.replace('"', '""') + '"' for end in ends)
    found = text(
        "SELECT name FROM job_names WHERE job_names MATCH :phrases AND instr(name, :part) > 0"
        " UNION ALL SELECT name FROM job_names_new WHERE instr(name, :part) > 0"
    ).columns(name=String)
    return select(found.bindparams(phrases=phrases, part=part).subquery().c.name)
