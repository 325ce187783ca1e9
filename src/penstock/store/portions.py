"""Long lists of values for `in_`: a statement takes 65,535 parameters in PostgreSQL, and in SQLite 32,766."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import orjson
from sqlalchemy import Boolean, ColumnElement, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_Value = TypeVar("_Value")

#: So many in one statement, which may name each of them twice.
MOST = 10_000
#: More than that are one parameter: to put each into a statement takes longer than to look for it.
FEW = 100


def portions(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """The values in their order, as many at a time as a statement takes; nothing of none."""
    left = iter(values)
    while some := list(islice(left, MOST)):
        yield some


def among(column: ColumnElement[str], texts: Collection[str]) -> ColumnElement[bool]:
    """That a column is one of these texts, of which there may be any number. They hold no character 0."""
    if len(texts) <= FEW:
        return column.in_(texts)
    return _Listed(column, literal(orjson.dumps(list(texts)).decode()))


class _Listed(FunctionElement[bool]):
    """That a text is in a JSON list."""

    type = Boolean()
    inherit_cache = True


@compiles(_Listed, "sqlite")
def _listed_in_sqlite(element: _Listed, compiler: Any, **more: Any) -> str:
    text, listed = (compiler.process(one, **more) for one in element.clauses)
    return f"{text} IN (SELECT value FROM json_each({listed}))"


@compiles(_Listed, "postgresql")
def _listed_in_postgres(element: _Listed, compiler: Any, **more: Any) -> str:
    text, listed = (compiler.process(one, **more) for one in element.clauses)
    return f"{text} IN (SELECT json_array_elements_text(CAST({listed} AS json)))"
