"""Associations on record, and the artifacts of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, or_, select, tuple_

from penstock.errors import InUse, Missing
from penstock.job.experiments import Component, Experiment
from penstock.job.lineage import Artifact, Association
from penstock.store.dialect import Dialect
from penstock.store.entities import TABLES, lock, to_row
from penstock.store.portions import portions
from penstock.store.tables import artifacts, associations

#: In which order rows are locked, so that of two that lock the same ones neither waits for the other in a circle.
_RANKS: Mapping[type[Any], int] = {Experiment: 0, Component: 1, Artifact: 2}


@dataclass(frozen=True)
class AssociationQuery:
    """Which associations, in which order. ARNs are in lower case; times are inclusive milliseconds."""

    source: str | None = None
    destination: str | None = None
    source_type: str | None = None
    destination_type: str | None = None
    type: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    sort_by: Literal["source", "destination", "source_type", "destination_type", "created_at"] = "created_at"
    descending: bool = True


class Lineage:
    """The associations. A part of the `Store`, with its connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def add(self, new: Association, ends: Sequence[tuple[type[Any], str]]) -> None:
        """Put an association on record; `ends` are the kinds and keys of both its ends.

        Raises:
            Missing: One of them is not there.
            InUse: There is one between them, in this direction.
        """
        with self._dialect.engine.begin() as c:
            for kind, key in sorted(ends, key=lambda end: (_RANKS[end[0]], end[1])):
                lock(c, TABLES[kind], key)
            if not _insert(c, self._dialect, new):
                raise InUse(f"{new.source} and {new.destination} are associated.")

    def remove(self, source: str, destination: str) -> None:
        """Remove an association.

        Raises:
            Missing: There is none.
        """
        one = associations.c.source == source, associations.c.destination == destination
        with self._dialect.engine.begin() as c:
            if c.execute(delete(associations).where(*one)).rowcount != 1:
                raise Missing(f"{source} and {destination} are not associated.")

    def find(
        self, query: AssociationQuery, limit: int, after: Sequence[Any] | None
    ) -> tuple[list[Association], list[Any] | None]:
        """A page of associations and the place after it (None when there is no more)."""
        a = associations.c
        order = [a[query.sort_by], a.source, a.destination]
        where = [a[n] == getattr(query, n) for n in _EQUAL if getattr(query, n) is not None]
        if query.created_after is not None:
            where.append(a.created_at >= query.created_after)
        if query.created_before is not None:
            where.append(a.created_at <= query.created_before)
        if after is not None:
            here, place = tuple_(*order), tuple_(*after)
            where.append(here < place if query.descending else here > place)
        directed = [one.desc() if query.descending else one.asc() for one in order]
        statement = select(associations).where(*where).order_by(*directed).limit(limit + 1)
        with self._dialect.reader.connect() as c:
            rows = c.execute(statement).all()
        found = [_to_association(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return found, None
        last = found[-1]
        return found, [getattr(last, query.sort_by), last.source, last.destination]

    def around(self, arns: Iterable[str], *, ascending: bool, descending: bool) -> list[Association]:
        """All associations that lead to one of `arns` (ascending), or away from one (descending), some twice."""
        found: list[Association] = []
        with self._dialect.reader.connect() as c:
            for some in portions(arns):
                either = [
                    *([associations.c.destination.in_(some)] if ascending else []),
                    *([associations.c.source.in_(some)] if descending else []),
                ]
                statement = select(associations).where(or_(*either)).order_by(*associations.primary_key)
                found += [_to_association(row) for row in c.execute(statement)]
        return found


_EQUAL = ("source", "destination", "source_type", "destination_type", "type")
_FIELDS = [f.name for f in fields(Association)]


def enter(c: Connection, dialect: Dialect, made: Iterable[tuple[Artifact, Association]]) -> None:
    """Put what a job has made on record; artifacts of the same source are there once."""
    pairs = list(made)
    by_arn = {artifact.arn: artifact for artifact, _ in pairs}
    if not by_arn:
        return
    missing = [to_row(by_arn[arn]) for arn in sorted(by_arn)]
    keys = select(artifacts.c.key).where(artifacts.c.key.in_([row["key"] for row in missing]))
    while missing:
        c.execute(dialect.insert(artifacts).on_conflict_do_nothing(), missing)
        # So that nobody removes one that was there; who has done so in between has it made once more.
        held = set(c.execute(keys.order_by(artifacts.c.key).with_for_update()).scalars())
        missing = [row for row in missing if row["key"] not in held]
    for _, association in pairs:
        _insert(c, dialect, association)


def of(arn: str) -> ColumnElement[bool]:
    """That an association has the end `arn`."""
    return or_(associations.c.source == arn, associations.c.destination == arn)


def _insert(c: Connection, dialect: Dialect, new: Association) -> bool:
    added = dialect.insert(associations).values(asdict(new)).on_conflict_do_nothing()
    return c.execute(added.returning(associations.c.source)).first() is not None


def _to_association(row: Any) -> Association:
    return Association(**{name: getattr(row, name) for name in _FIELDS})
