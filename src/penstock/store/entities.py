"""Experiments, trials, components and artifacts as rows, and back.

Fields and columns have the same names. `key` is the name in lower case (an artifact's: the end of its ARN); what is
only kept is JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Select, Table, select

from penstock.errors import Missing
from penstock.job.experiments import Component, Experiment, Trial, key_of
from penstock.job.lineage import Artifact, uri_key
from penstock.store.tables import artifacts, components, experiments, trials

Entity = TypeVar("Entity", Experiment, Trial, Component, Artifact)

TABLES: Mapping[type[Any], Table] = {
    Experiment: experiments,
    Trial: trials,
    Component: components,
    Artifact: artifacts,
}

_FIELDS = {kind: [f.name for f in fields(kind)] for kind in TABLES}
_JSON = {"parameters", "inputs", "outputs", "metadata", "properties", "source_types"}


def lock(c: Connection, table: Table, name: str) -> str:
    """Keep a row from being removed or changed until the transaction ends; its ARN.

    Raises:
        Missing: It is not there.
    """
    row = c.execute(select(table.c.arn).where(table.c.key == key_of(name)).with_for_update()).first()
    if row is None:
        raise Missing(f"There is no {name} among the {table.name}.")
    return str(row.arn)


def to_row(entity: Experiment | Trial | Component | Artifact) -> dict[str, Any]:
    """The columns of an entity."""
    values = {name: getattr(entity, name) for name in _FIELDS[type(entity)]}
    row = {name: json.dumps(value) if name in _JSON else value for name, value in values.items()}
    row["key"] = entity.arn.rpartition("/")[2] if isinstance(entity, Artifact) else key_of(entity.name)
    if isinstance(entity, Trial):
        row["experiment_key"] = key_of(row.pop("experiment"))
    if isinstance(entity, Artifact):
        row["uri_key"] = uri_key(entity.uri)
    if isinstance(entity, Component):
        row["source_key"] = None if entity.source is None else entity.source.lower()
    return row


def parameter_rows(component: Component) -> list[dict[str, Any]]:
    """The rows of a component's parameters."""
    return [
        {
            "component": key_of(component.name),
            "name": name,
            "number": value.get("NumberValue"),
            "text": value.get("StringValue"),
        }
        for name, value in component.parameters.items()
    ]


def artifact_rows(component: Component) -> list[dict[str, Any]]:
    """The rows of a component's artifacts."""
    return [
        {
            "component": key_of(component.name),
            "side": side,
            "name": name,
            "value": value["Value"],
            "media_type": value.get("MediaType"),
        }
        for side, given in (("input", component.inputs), ("output", component.outputs))
        for name, value in given.items()
    ]


def to_entity(kind: type[Entity], row: Any, without: Collection[str] = ()) -> Entity:
    """The entity of a row that `entities` selects."""
    told = dict(zip(row._fields, row, strict=True))
    return kind(**{name: from_column(name, told[name]) for name in _FIELDS[kind] if name not in without})


def from_column(name: str, value: Any) -> Any:
    """The value of a field of which this is in the column of its name."""
    if name not in _JSON:
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:  # infinite numbers and halves of characters are more than it takes
        return json.loads(value)


def entities(kind: type[Any], without: Collection[str] = ()) -> Select[Any]:
    """All rows of a kind, without some columns. A trial's has its experiment's name, as that one is written."""
    columns = [column for column in TABLES[kind].c if column.name not in without]
    if kind is Trial:
        named = trials.join(experiments, experiments.c.key == trials.c.experiment_key)
        return select(*columns, experiments.c.name.label("experiment")).select_from(named)
    return select(*columns)
