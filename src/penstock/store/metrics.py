"""Metrics of trial components: single values as they were put, in the order of their times, and what they come to.

What a component's values of one name come to is kept beside them, by name, and grows with each batch: a search sorts
ten thousand components by it and reads no single value.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from penstock.job.experiments import key_of
from penstock.job.metrics import Metric
from penstock.store.dialect import Dialect
from penstock.store.entities import lock
from penstock.store.functions import among
from penstock.store.tables import components, metric_summaries, metrics


class Summary(NamedTuple):
    """What values of one name come to. Mean and deviation are None where a value is infinite.

    A tuple, as its row is: a page of components has thousands.
    """

    name: str
    at: int
    """The time of the last one."""
    size: int
    """How many there are."""
    minimum: float
    maximum: float
    last: float
    mean: float | None
    deviation: float | None
    """That of the values themselves, not an estimate for more of their kind."""


class Metrics:
    """The metrics on record. A part of the `Store`, with its connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._engine = dialect.engine
        self._reader = dialect.reader

    def put(self, component: str, new: Sequence[Metric]) -> None:
        """Add values to a component, which is named in whatever letters.

        Raises:
            Missing: There is no such trial component.
        """
        component = key_of(component)
        with self._engine.begin() as c:
            lock(c, components, component)
            add(c, self._dialect, component, new)

    def of(self, component: str, name: str) -> list[Metric]:
        """A component's values of one name, by time; of one time, as they came."""
        where = [metrics.c.trial_component == component, metrics.c.name == name]
        statement = select(metrics).where(*where).order_by(metrics.c.at, metrics.c.id)
        with self._reader.connect() as c:
            return [Metric(row.name, row.at, row.step, row.value) for row in c.execute(statement)]

    def summaries(self, of: Sequence[str] | None = None) -> Mapping[str, Sequence[Summary]]:
        """What the values of components (or of all) come to, by their names in lower case; of each by name."""
        with self._dialect.searching() as c:
            return {component: list(found.values()) for component, found in _summaries(c, of).items()}


def add(c: Connection, dialect: Dialect, component: str, new: Sequence[Metric]) -> None:
    """Add values to a component that is locked."""
    if not new:
        return
    c.execute(insert(metrics), [{"trial_component": component, **asdict(m)} for m in new])
    added = summarize(new)
    there = _summaries(c, [component], list(added)).get(component, {})
    rows = [
        {"component": component, **(_merged(there[name], more) if name in there else more)._asdict()}
        for name, more in added.items()
    ]
    statement = dialect.insert(metric_summaries)
    keys = ["component", "name"]
    changed = {col: statement.excluded[col] for col in rows[0] if col not in keys}
    c.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _summaries(
    c: Connection, of: Sequence[str] | None, names: Sequence[str] | None = None
) -> dict[str, dict[str, Summary]]:
    """By component and name, in their order; of all components and names, where none are given."""
    table = metric_summaries
    statement = select(table).order_by(table.c.component, table.c.name)
    if names is not None:
        statement = statement.where(table.c.name.in_(names))
    if of is not None:
        statement = statement.where(among(table.c.component, of))
    found: dict[str, dict[str, Summary]] = {}
    for component, *values in c.execute(statement).all():
        summary = Summary._make(values)
        found.setdefault(component, {})[summary.name] = summary
    return found


def forget(c: Connection, component: str) -> None:
    """Remove a component's values."""
    c.execute(delete(metrics).where(metrics.c.trial_component == component))
    c.execute(delete(metric_summaries).where(metric_summaries.c.component == component))


def summarize(values: Sequence[Metric]) -> dict[str, Summary]:
    """What values come to, by their names. Of one time the last is the one that came last."""
    ordered = sorted(values, key=lambda m: (m.name, m.at))
    return {name: _summary(name, list(of_one)) for name, of_one in groupby(ordered, key=lambda m: m.name)}


def _summary(name: str, given: Sequence[Metric]) -> Summary:
    values = [m.value for m in given]
    finite = all(map(math.isfinite, values))
    return Summary(
        name,
        given[-1].at,
        len(values),
        min(values),
        max(values),
        values[-1],
        statistics.mean(values) if finite else None,  # exact: a sum of large values could overflow
        statistics.pstdev(values) if finite else None,
    )


def _merged(old: Summary, new: Summary) -> Summary:
    """What both come to. Parts are weighed before they are added, so that large values don't overflow."""
    size = old.size + new.size
    mean = deviation = None
    if (
        old.mean is not None
        and new.mean is not None
        and old.deviation is not None
        and new.deviation is not None
    ):
        a, b = old.size / size, new.size / size
        apart = math.sqrt(a * b)
        mean = old.mean * a + new.mean * b
        deviation = math.hypot(
            old.deviation * math.sqrt(a), new.deviation * math.sqrt(b), new.mean * apart - old.mean * apart
        )
    later = new.at >= old.at
    return Summary(
        old.name,
        max(old.at, new.at),
        size,
        min(old.minimum, new.minimum),
        max(old.maximum, new.maximum),
        new.last if later else old.last,
        mean,
        deviation,
    )
