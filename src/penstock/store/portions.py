"""Long lists of values for `in_`: a statement takes 65,535 parameters in PostgreSQL, and in SQLite 32,766."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Value = TypeVar("_Value")

#: So many in one statement, which may name each of them twice.
MOST = 10_000


def portions(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """The values in their order, as many at a time as a statement takes; nothing of none."""
    left = iter(values)
    while some := list(islice(left, MOST)):
        yield some
