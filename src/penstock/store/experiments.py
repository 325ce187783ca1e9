"""Experiments, trials, components and artifacts on record: made, read, changed, removed and put together.

Who refers to something locks it first, and who removes something locks it too: so nothing is left that refers to
what is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from penstock.errors import InUse
from penstock.job.experiments import Component, Experiment, Trial, key_of
from penstock.job.lineage import Artifact
from penstock.store import finding, lineage, metrics, tagging
from penstock.store.conditions import Test
from penstock.store.dialect import Dialect
from penstock.store.entities import (
    TABLES,
    Entity,
    artifact_rows,
    entities,
    lock,
    parameter_rows,
    to_entity,
    to_row,
)
from penstock.store.finding import Order
from penstock.store.functions import among
from penstock.store.tables import (
    associations,
    component_artifacts,
    components,
    experiments,
    members,
    parameters,
    tags,
    trials,
)


class Member(NamedTuple):
    """What a trial tells of a component that is in it. A tuple, as its row is: a search reads thousands."""

    name: str
    arn: str
    source: str | None
    created_at: int
    created_by: str | None


class Experiments:
    """What experiments are made of. A part of the `Store`, with its connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def add(self, new: Experiment | Trial | Component | Artifact, its_tags: Mapping[str, str]) -> None:
        """Put something on record, with its tags.

        Raises:
            InUse: Its name is taken.
            Missing: A trial's experiment is not there.
        """
        with self._dialect.engine.begin() as c:
            if isinstance(new, Trial):
                lock(c, experiments, new.experiment)
            put(c, self._dialect, new, its_tags)

    def get(self, kind: type[Entity], name: str) -> Entity | None:
        """The one of that name, in whatever letters."""
        statement = entities(kind).where(TABLES[kind].c.key == key_of(name))
        with self._dialect.reader.connect() as c:
            row = c.execute(statement).first()
        return None if row is None else to_entity(kind, row)

    def named(
        self, kind: type[Entity], keys: Iterable[str], without: Collection[str] = ()
    ) -> dict[str, Entity]:
        """Those with these keys that there are, by them, and empty what of them is named in `without`."""
        with self._dialect.reader.connect() as c:
            return finding.named(c, kind, keys, without)

    def find(
        self,
        kind: type[Entity],
        tests: Sequence[Test],
        order: Order,
        limit: int | None = None,
        after: Sequence[Any] | None = None,
    ) -> tuple[list[Entity], list[Any] | None]:
        """A page of those that fulfil all tests (all of them without `limit`), and the place after it."""
        with self._dialect.searching() as c:
            return finding.find(c, kind, tests, order, limit, after)

    def every(self, kind: type[Entity], tests: Sequence[Test], without: Collection[str] = ()) -> list[Entity]:
        """All that fulfil all tests, in no order, and empty what of them is named in `without`."""
        with self._dialect.searching() as c:
            return list(finding.every(c, kind, tests, without))

    def columns(
        self, kind: type[Any], keys: Collection[str], tests: Sequence[Test], names: Sequence[str]
    ) -> list[list[Any]]:
        """These columns of those with these keys that fulfil all tests, in no order."""
        with self._dialect.searching() as c:
            return finding.columns(c, kind, keys, tests, names)

    def places(
        self,
        kind: type[Any],
        tests: Sequence[Test],
        order: Order,
        limit: int,
        after: Sequence[Any] | None,
    ) -> tuple[list[list[Any]], bool]:
        """The places of those that `find` finds, each a value and a key, and whether there are more."""
        with self._dialect.searching() as c:
            return finding.places(c, kind, tests, order, limit, after)

    def count(self, kind: type[Any], tests: Sequence[Test], most: int | None = None) -> int:
        """How many fulfil all tests; no more than `most` are counted."""
        with self._dialect.searching() as c:
            return finding.count(c, kind, tests, most)

    def change(self, kind: type[Entity], name: str, change: Callable[[Entity], Entity]) -> Entity:
        """Replace one by what `change` makes of it; nobody else changes it meanwhile.

        Raises:
            Missing: There is none of that name.
        """
        table = TABLES[kind]
        with self._dialect.engine.begin() as c:
            lock(c, table, name)
            row = c.execute(entities(kind).where(table.c.key == key_of(name))).one()
            changed = change(to_entity(kind, row))
            c.execute(update(table).where(table.c.key == key_of(name)).values(to_row(changed)))
            if isinstance(changed, Component):
                _put_parts(c, self._dialect, changed)
        return changed

    def delete(self, kind: type[Any], name: str) -> None:
        """Remove one, with its tags and metrics.

        Raises:
            Missing: There is none of that name.
            InUse: An experiment has trials, a trial has components, a component is in a trial, an artifact has
                associations.
        """
        table, key = TABLES[kind], key_of(name)
        held = {
            Experiment: select(func.count()).select_from(trials).where(trials.c.experiment_key == key),
            Trial: select(func.count()).select_from(members).where(members.c.trial == key),
            Component: select(func.count()).select_from(members).where(members.c.component == key),
        }
        with self._dialect.engine.begin() as c:
            arn = lock(c, table, name)
            held[Artifact] = select(func.count()).select_from(associations).where(lineage.of(arn))
            if c.execute(held[kind]).scalar_one():
                raise InUse(f"{arn} is in use.")
            remove(c, table, key, arn)

    def associate(self, component: str, trial: str) -> None:
        """Put a component into a trial; nothing happens when it is there.

        Raises:
            Missing: One of the two is not there.
        """
        with self._dialect.engine.begin() as c:
            lock(c, trials, trial)
            lock(c, components, component)
            put_into(c, self._dialect, component, trial)

    def disassociate(self, component: str, trial: str) -> None:
        """Take a component out of a trial; nothing happens when it is not there.

        Raises:
            Missing: One of the two is not on record.
        """
        with self._dialect.engine.begin() as c:
            lock(c, trials, trial)
            lock(c, components, component)
            one = members.c.trial == key_of(trial), members.c.component == key_of(component)
            c.execute(delete(members).where(*one))

    def parents(self, of: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
        """The trials that components are in, each with its experiment, by the component's key."""
        statement = (
            select(members.c.component, trials.c.name, experiments.c.name)
            .join(trials, trials.c.key == members.c.trial)
            .join(experiments, experiments.c.key == members.c.experiment)
            .order_by(members.c.component, members.c.trial)
        )
        found: dict[str, list[tuple[str, str]]] = {}
        with self._dialect.reader.connect() as c:
            for component, trial, experiment in c.execute(statement.where(among(members.c.component, of))):
                found.setdefault(component, []).append((trial, experiment))
        return found

    def members(self, of: Iterable[str]) -> dict[str, list[Member]]:
        """The components of trials, by the trials' keys."""
        statement = (
            select(members.c.trial, *(components.c[name] for name in Member._fields))
            .join(members, members.c.component == components.c.key)
            .order_by(members.c.trial, components.c.created_at, components.c.key)
        )
        found: dict[str, list[Member]] = {}
        with self._dialect.reader.connect() as c:
            for trial, *values in c.execute(statement.where(among(members.c.trial, of))):
                found.setdefault(trial, []).append(Member._make(values))
        return found

    def tags(self, arns: Iterable[str]) -> dict[str, dict[str, str]]:
        """The tags of many, by their ARNs."""
        statement = select(tags).order_by(tags.c.key)
        found: dict[str, dict[str, str]] = {}
        with self._dialect.reader.connect() as c:
            for row in c.execute(statement.where(among(tags.c.arn, arns))):
                found.setdefault(row.arn, {})[row.key] = row.value
        return found

    def put_tags(
        self, kind: type[Any], name: str, new: Mapping[str, str], most: int
    ) -> dict[str, str] | None:
        """Add tags to one; equal keys are overwritten. As `tagging.put`.

        Raises:
            Missing: There is none of that name.
        """
        with self._dialect.engine.begin() as c:
            return tagging.put(c, lock(c, TABLES[kind], name), new, most)


def put(
    c: Connection,
    dialect: Dialect,
    new: Experiment | Trial | Component | Artifact,
    its_tags: Mapping[str, str],
) -> None:
    """Insert one with its tags.

    Raises:
        InUse: Its name is taken.
    """
    table = TABLES[type(new)]
    added = dialect.insert(table).values(to_row(new)).on_conflict_do_nothing().returning(table.c.key)
    if c.execute(added).first() is None:
        raise InUse(f"There is {new.arn} among the {table.name} already.")
    if isinstance(new, Component):
        _put_parts(c, dialect, new)
    if its_tags:
        c.execute(insert(tags), [{"arn": new.arn, "key": k, "value": v} for k, v in its_tags.items()])


def _put_parts(c: Connection, dialect: Dialect, component: Component) -> None:
    """Have the rows of a component's parameters and artifacts be those that it has now."""
    for table, rows in (
        (parameters, parameter_rows(component)),
        (component_artifacts, artifact_rows(component)),
    ):
        c.execute(delete(table).where(table.c.component == key_of(component.name)))
        if rows:
            # Of names that are the same in a database without the character 0 one is enough: searches pass them by.
            c.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def put_into(c: Connection, dialect: Dialect, component: str, trial: str) -> None:
    """Put a component into a trial; both are locked."""
    key = key_of(trial)
    experiment = select(trials.c.experiment_key).where(trials.c.key == key).scalar_subquery()
    row = {"trial": key, "component": key_of(component), "experiment": experiment}
    c.execute(dialect.insert(members).values(row).on_conflict_do_nothing())


def remove(c: Connection, table: Any, key: str, arn: str) -> None:
    """Delete a row that is locked, with its tags and metrics."""
    c.execute(delete(table).where(table.c.key == key))
    c.execute(delete(tags).where(tags.c.arn == arn))
    c.execute(delete(associations).where(lineage.of(arn)))
    if table is components:
        c.execute(delete(members).where(members.c.component == key))
        c.execute(delete(parameters).where(parameters.c.component == key))
        c.execute(delete(component_artifacts).where(component_artifacts.c.component == key))
        metrics.forget(c, key)
