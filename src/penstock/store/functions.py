"""What both databases can do, and say in words of their own: these are found when a statement is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import JSON, ColumnElement, Text, cast, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

#: More texts than that are one parameter: to put each into a statement takes longer than to look for it.
FEW = 20

#: What LIKE does not take as it is.
_PATTERN = re.compile("[/%_]")
#: SQLite has JSON in texts, and PostgreSQL takes them for it.
_JSON = JSON().with_variant(Text(), "sqlite")
#: Compared and sorted by its code points, as columns are.
_SORTED = Text().with_variant(Text(collation="C"), "postgresql")


def among(column: ColumnElement[str], texts: Iterable[str]) -> ColumnElement[bool]:
    """That a column is one of these texts, of which there may be any number. They hold no character 0."""
    listed = list(texts)
    return (
        column.in_(listed) if len(listed) <= FEW else in_list(column, literal(orjson.dumps(listed).decode()))
    )


def in_list(column: ColumnElement[str], listed: ColumnElement[str]) -> ColumnElement[bool]:
    """That a column is one of the texts in a JSON list."""
    return _Listed(column, listed)


def contains(column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """That a text has a part, by its letters as they are."""
    escaped = _PATTERN.sub(r"/\g<0>", part)
    return _Contains(column, literal(part), literal(f"%{escaped}%"))


def text_at(column: ColumnElement[str], path: Sequence[str]) -> ColumnElement[str]:
    """The text that is there in a column's JSON; NULL where there is none."""
    return cast(cast(column, _JSON)[tuple(path)].as_string(), _SORTED)


def first_word(column: ColumnElement[str]) -> ColumnElement[str]:
    """What of a text stands before its first blank."""
    return cast(_FirstWord(column), _SORTED)


class _Listed(FunctionElement[Any]):
    """That a text is in a JSON list."""

    type = NullType()  # of a Boolean SQLite would be asked whether it is 1, which no index tells
    inherit_cache = True


class _Contains(FunctionElement[Any]):
    """That a text has a part, which is given as it is and as a pattern."""

    type = NullType()
    inherit_cache = True


class _FirstWord(FunctionElement[str]):
    type = Text()
    inherit_cache = True


def _parts(element: FunctionElement[Any], compiler: Any, more: Any) -> list[str]:
    return [compiler.process(one, **more) for one in element.clauses]


@compiles(_Listed, "sqlite")
def _listed_in_sqlite(element: _Listed, compiler: Any, **more: Any) -> str:
    text, listed = _parts(element, compiler, more)
    return f"{text} IN (SELECT value FROM json_each({listed}))"  # noqa: S608 - a column and a parameter


@compiles(_Listed, "postgresql")
def _listed_in_postgres(element: _Listed, compiler: Any, **more: Any) -> str:
    text, listed = _parts(element, compiler, more)
    return f"{text} IN (SELECT json_array_elements_text(CAST({listed} AS json)))"


@compiles(_Contains, "sqlite")
def _contains_in_sqlite(element: _Contains, compiler: Any, **more: Any) -> str:
    text, part, _ = element.clauses  # LIKE is without regard to case here
    return f"instr({compiler.process(text, **more)}, {compiler.process(part, **more)}) > 0"


@compiles(_Contains, "postgresql")
def _contains_in_postgres(element: _Contains, compiler: Any, **more: Any) -> str:
    text, _, pattern = element.clauses  # of LIKE it can tell how many rows will fit
    return f"{compiler.process(text, **more)} LIKE {compiler.process(pattern, **more)} ESCAPE '/'"


@compiles(_FirstWord, "sqlite")
def _first_word_in_sqlite(element: _FirstWord, compiler: Any, **more: Any) -> str:
    [text] = _parts(element, compiler, more)
    return f"substr({text}, 1, instr({text} || ' ', ' ') - 1)"


@compiles(_FirstWord, "postgresql")
def _first_word_in_postgres(element: _FirstWord, compiler: Any, **more: Any) -> str:
    [text] = _parts(element, compiler, more)
    return f"split_part({text}, ' ', 1)"
