"""Statements that SQLAlchemy compiles once and the driver then runs by itself.

SQLAlchemy's own execution of a statement costs ten times what SQLite needs for a row by its key. So the statements
of which a server's speed consists, those that every job needs, are run without it; what they say is still written
once, for every database, in SQLAlchemy's terms.
"""

from __future__ import annotations

import threading
from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import itemgetter
from typing import Any

from sqlalchemy import Engine, Select
from sqlalchemy.sql.expression import Executable

from penstock.store.dialect import Dialect

#: What a driver takes as parameters: by place or by name, as its style demands.
Parameters = tuple[Any, ...] | Mapping[str, Any]


class Bare:
    """A statement, ready for the driver of an engine."""

    def __init__(self, engine: Engine, statement: Executable, sets: Collection[str] | None = None) -> None:
        """`sets`: the columns that an UPDATE sets, each by the parameter of its name."""
        compiled = statement.compile(engine, column_keys=sets)  # type: ignore[attr-defined] # every Executable has it
        self.sql = str(compiled)
        take = _taker(compiled.positiontup)
        own = {name: value for name, value in compiled.params.items() if value is not None}
        self._take = (lambda values: take({**own, **values})) if own else take
        columns = statement.selected_columns.keys() if isinstance(statement, Select) else []
        make: Any = namedtuple("Row", columns)  # type: ignore[misc] # noqa: PYI024 - as the statement has them
        self._row: Callable[[Sequence[Any]], Any] = make._make

    def parameters(self, **values: Any) -> Parameters:
        """The values, as the driver wants them. Names are those of the bind parameters or columns."""
        return self._take(values)

    def run(self, cursor: Any, **values: Any) -> int:
        """Run it; how many rows it has written."""
        cursor.execute(self.sql, self._take(values))
        return int(cursor.rowcount)

    def rows(self, cursor: Any, **values: Any) -> list[Any]:
        """Run a SELECT; its rows, with the columns as attributes."""
        cursor.execute(self.sql, self._take(values))
        return [self._row(row) for row in cursor.fetchall()]


def _taker(order: Sequence[str] | None) -> Callable[[Mapping[str, Any]], Parameters]:
    """What makes parameters of values by name: in `order`, or as they are where there is none."""
    if order is None:
        return lambda values: values
    if len(order) < 2:  # of one name `itemgetter` gives the value alone
        return lambda values: tuple(values[name] for name in order)
    return itemgetter(*order)


class Cursors:
    """The driver's own cursors, for what is run without SQLAlchemy.

    Where no network lies between, their connections are kept: to borrow one takes as long as to read a row.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        kept = dialect.in_process
        self._reader = dialect.engine.raw_connection() if kept else None
        self._writer = dialect.engine.raw_connection() if kept else None
        self._reading, self._writing = threading.Lock(), threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Any]:
        """A cursor for one statement that reads."""
        if self._reader is None:
            with self._dialect.reader.connect() as c, closing(c.connection.cursor()) as cursor:
                yield cursor
        else:
            with self._reading, closing(self._reader.cursor()) as cursor:
                yield cursor

    @contextmanager
    def write(self) -> Iterator[Any]:
        """A cursor within a transaction, which is on disk when this ends without an error."""
        if self._writer is None:
            with self._dialect.engine.begin() as c, closing(c.connection.cursor()) as cursor:
                yield cursor
        else:
            with self._writing, closing(self._writer.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    self._writer.rollback()
                    raise

    def close(self) -> None:
        """Give what is kept back."""
        for kept in (self._reader, self._writer):
            if kept is not None:
                kept.close()
