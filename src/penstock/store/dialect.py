"""What differs from one kind of database to the other, as data: `sqlite.py` and `postgres.py` each give one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, Table


@dataclass(frozen=True)
class Dialect:
    """An opened database of one kind."""

    engine: Engine
    """For writing. Of two transactions that lock the same rows (or, in SQLite, that write at all) one waits."""
    reader: Engine
    """The same connections for transactions that only read: nobody waits for them."""
    searching: Callable[[], AbstractContextManager[Connection]]
    """The same for searches, whose best plan depends on the values in question."""
    in_process: bool
    """Whether a row by its key is read without a network between: quicker than a hop to a thread."""
    insert: Callable[[Table], Any]
    """An INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    lock_schema: Callable[[Connection], None]
    """Within a transaction: keeps everybody else from changing the schema until its end."""
    now: ColumnElement[int]
    """The database's own clock at the moment a statement is carried out, in milliseconds since the epoch."""
    name_holds: Callable[[str], ColumnElement[bool] | None]
    """That a job's name holds a text, in a form that the index of names answers; None for a text too short for it."""
    names_with: Callable[[str], Select[Any] | None]
    """The names that hold such a text, where they are found by themselves."""
    give_back: Callable[[], None]
    """Gives a little of the room that removed rows have left back to the disk; nothing where that happens by itself."""
    byte: Callable[[ColumnElement[bytes], int], ColumnElement[int]] | None
    """A byte of a value, where it costs more to have all of them than one."""
    lateral: bool
    """Whether a subquery in FROM may name what stands before it."""
