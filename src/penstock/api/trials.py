"""CreateTrial, DescribeTrial, ListTrials, UpdateTrial, DeleteTrial, (Dis)AssociateTrialComponent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.api import entities
from penstock.api.context import Context
from penstock.errors import InUse, Missing
from penstock.job.experiments import Component, Experiment, Trial, key_of
from penstock.store.conditions import Condition, Value


def create(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put a trial of an experiment on record."""
    name, experiment, at = params["TrialName"], params["ExperimentName"], context.clock()
    new = Trial(
        name=name,
        arn=entities.arn_of(context, Trial, name),
        experiment=experiment,
        display_name=params.get("DisplayName", name),
        created_at=at,
        modified_at=at,
        metadata=params.get("MetadataProperties") or {},
        created_by=entities.who(context),
        modified_by=entities.who(context),
    )
    try:
        context.store.experiments.add(new, entities.tags_of(params))
    except Missing as error:
        raise entities.missing(context, Experiment, experiment) from error
    except InUse as error:
        raise entities.taken(Trial, name) from error
    return {"TrialArn": new.arn}


def describe(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of a trial."""
    return record(entities.find(context, Trial, params["TrialName"]))


def list_trials(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of trials, of an experiment or with a component if such is named; the newest first."""
    conditions = []
    if name := params.get("ExperimentName"):
        entities.find(context, Experiment, name)
        conditions.append(Condition(Value("experiment_key"), "=", key_of(name)))
    if name := params.get("TrialComponentName"):
        entities.find(context, Component, name)
        conditions.append(Condition(Value("component", "member"), "=", key_of(name)))
    found, following = entities.listed(context, Trial, params, conditions, _summary)
    return {"TrialSummaries": found, "NextToken": following}


def update(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give a trial another display name."""
    at, by = context.clock(), entities.who(context)

    def changed(old: Trial) -> Trial:
        return replace(
            old,
            display_name=params.get("DisplayName", old.display_name),
            modified_at=max(at, old.modified_at),
            modified_by=by,
        )

    return {"TrialArn": entities.change(context, Trial, params["TrialName"], changed)}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a trial that has no components."""
    return {"TrialArn": entities.delete(context, Trial, params["TrialName"])}


def associate(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put a component into a trial, as into any number of others."""
    component, trial = params["TrialComponentName"], params["TrialName"]
    try:
        context.store.experiments.associate(component, trial)
    except Missing as error:
        raise _missing(context, component, trial) from error
    return _both(context, component, trial)


def disassociate(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Take a component out of a trial; where it is not in it, nothing happens."""
    component, trial = params["TrialComponentName"], params["TrialName"]
    try:
        context.store.experiments.disassociate(component, trial)
    except Missing as error:
        raise _missing(context, component, trial) from error
    return _both(context, component, trial)


def record(one: Trial) -> dict[str, Any]:
    """A trial as Describe tells it, and Search."""
    return {
        "TrialName": one.name,
        "TrialArn": one.arn,
        "DisplayName": one.display_name,
        "ExperimentName": one.experiment,
        "CreationTime": one.created_at,
        "CreatedBy": entities.user(one.created_by),
        "LastModifiedTime": one.modified_at,
        "LastModifiedBy": entities.user(one.modified_by),
        "MetadataProperties": one.metadata or None,
    }


def _summary(one: Trial) -> dict[str, Any]:
    return {
        "TrialArn": one.arn,
        "TrialName": one.name,
        "DisplayName": one.display_name,
        "CreationTime": one.created_at,
        "LastModifiedTime": one.modified_at,
    }


def _missing(context: Context, component: str, trial: str) -> Exception:
    """Which of the two is not there: the trial, if both are not."""
    if context.store.experiments.get(Trial, trial) is None:
        return entities.missing(context, Trial, trial)
    return entities.missing(context, Component, component)


def _both(context: Context, component: str, trial: str) -> dict[str, Any]:
    return {
        "TrialComponentArn": entities.arn_of(context, Component, component),
        "TrialArn": entities.arn_of(context, Trial, trial),
    }
