"""CreateExperiment, DescribeExperiment, ListExperiments, UpdateExperiment, DeleteExperiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.errors import InUse
from penstock.job.experiments import Experiment


def create(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put an experiment on record."""
    name, at = params["ExperimentName"], context.clock()
    new = Experiment(
        name=name,
        arn=entities.arn_of(context, Experiment, name),
        display_name=params.get("DisplayName", name),
        created_at=at,
        modified_at=at,
        description=params.get("Description"),
        created_by=entities.who(context),
        modified_by=entities.who(context),
    )
    try:
        context.store.experiments.add(new, entities.tags_of(params))
    except InUse as error:
        raise entities.taken(Experiment, name) from error
    return {"ExperimentArn": new.arn}


def describe(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of an experiment."""
    return record(entities.find(context, Experiment, params["ExperimentName"]))


def list_experiments(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of experiments, the newest first unless told otherwise."""
    found, following = entities.listed(context, Experiment, params, [], _summary)
    return {"ExperimentSummaries": found, "NextToken": following}


def update(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give an experiment another display name or description."""
    at, by = context.clock(), entities.who(context)

    def changed(old: Experiment) -> Experiment:
        return replace(
            old,
            display_name=params.get("DisplayName", old.display_name),
            description=params.get("Description", old.description),
            modified_at=max(at, old.modified_at),
            modified_by=by,
        )

    return {"ExperimentArn": entities.change(context, Experiment, params["ExperimentName"], changed)}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove an experiment that has no trials."""
    return {"ExperimentArn": entities.delete(context, Experiment, params["ExperimentName"])}


def record(one: Experiment) -> dict[str, Any]:
    """An experiment as Describe tells it, and Search."""
    return {
        "ExperimentName": one.name,
        "ExperimentArn": one.arn,
        "DisplayName": one.display_name,
        "Description": one.description,
        "CreationTime": one.created_at,
        "CreatedBy": entities.user(one.created_by),
        "LastModifiedTime": one.modified_at,
        "LastModifiedBy": entities.user(one.modified_by),
    }


def _summary(one: Experiment) -> dict[str, Any]:
    return {
        "ExperimentArn": one.arn,
        "ExperimentName": one.name,
        "DisplayName": one.display_name,
        "CreationTime": one.created_at,
        "LastModifiedTime": one.modified_at,
    }
