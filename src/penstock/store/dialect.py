"""What differs from one kind of database to the other, as data: `sqlite.py` and `postgres.py` each give one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    names_with: Callable[[str], Select[Any] | None]
    """The names of jobs that hold a text, by an index of trigrams; None for a text for which that has no use."""
    give_back: Callable[[], None]
    """Gives a little of the room that removed rows have left back to the disk; nothing where that happens by itself."""
    position: Callable[[ColumnElement[str], str], ColumnElement[int]]
    """Where a text begins in another one, by its letters as they are; 0 where it does not."""
    has_bits: Callable[[ColumnElement[bytes], int], ColumnElement[bool]]
    """That a value has some bits, which so many parameters say."""
    bits: Callable[[Mapping[int, int]], dict[str, Any]]
    """Bits, said by the place of their byte, as those parameters. It may be a part of them."""
    lateral: bool
    """Whether a subquery in FROM may name what stands before it."""
