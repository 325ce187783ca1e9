"""Metrics of trial components: single values as they were put, in the order of their times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, select

from penstock.errors import Conflict
from penstock.store.dialect import Dialect
from penstock.store.tables import jobs, metrics


@dataclass(frozen=True)
class Metric:
    """One value. `at` is milliseconds since the epoch."""

    name: str
    at: int
    step: int | None
    value: float


class Metrics:
    """The metrics on record. A part of the `Store`, with its connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._engine = dialect.engine
        self._reader = dialect.reader

    def put(self, component: str, new: Sequence[Metric]) -> None:
        """Add values.

        Raises:
            Conflict: There is no such trial component.
        """
        with self._engine.begin() as c:
            job = select(jobs.c.uid).where(jobs.c.trial_component == component).with_for_update()
            if c.execute(job).first() is None:
                raise Conflict(f"There is no trial component {component}.")
            if new:
                c.execute(insert(metrics), [{"trial_component": component, **asdict(m)} for m in new])

    def of(self, component: str, name: str) -> list[Metric]:
        """A component's values of one name, by time; of one time, as they came."""
        where = [metrics.c.trial_component == component, metrics.c.name == name]
        return [m for _, m in self._read(where)]

    def of_all(self, components: Sequence[str] | None = None) -> Mapping[str, list[Metric]]:
        """The values of several components, or of all."""
        found = self._read([] if components is None else [metrics.c.trial_component.in_(components)])
        return {name: [m for _, m in rows] for name, rows in groupby(found, key=lambda row: row[0])}

    def _read(self, where: list[Any]) -> Iterator[tuple[str, Metric]]:
        statement = (
            select(metrics).where(*where).order_by(metrics.c.trial_component, metrics.c.at, metrics.c.id)
        )
        with self._reader.connect() as c:
            for row in c.execute(statement):
                yield row.trial_component, Metric(row.name, row.at, row.step, row.value)


def forget(c: Connection, component: str) -> None:
    """Remove a component's values, unless another job has it too (whose name differs in case alone)."""
    shared = exists().where(jobs.c.trial_component == component)
    c.execute(delete(metrics).where(metrics.c.trial_component == component, ~shared))
