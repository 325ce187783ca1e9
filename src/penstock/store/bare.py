"""Statements that SQLAlchemy compiles once and the driver then runs by itself.

SQLAlchemy's own execution of a statement costs ten times what SQLite needs for a row by its key. So the two
statements of which a server's speed consists, one job by its name and a new job, are run without it; what they
say is still written once, for every database, in SQLAlchemy's terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.sql.expression import Executable

#: What a driver takes as parameters: by place or by name, as its style demands.
Parameters = tuple[Any, ...] | Mapping[str, Any]


class Bare:
    """A statement, ready for the driver of an engine."""

    def __init__(self, engine: Engine, statement: Executable) -> None:
        compiled = statement.compile(engine)  # type: ignore[attr-defined] # every Executable has it
        self.sql = str(compiled)
        self._order: list[str] | None = compiled.positiontup

    def parameters(self, **values: Any) -> Parameters:
        """The values, as the driver wants them. Names are those of the bind parameters or columns."""
        return values if self._order is None else tuple(values[name] for name in self._order)
