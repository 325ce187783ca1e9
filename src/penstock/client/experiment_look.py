"""A look at an experiment, a trial or a trial component: its card, of what its server tells at this moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.client import card, experiment_card, experiment_view
from penstock.errors import PenstockError

#: How many components and trials are shown.
_SHOWN = 20


def experiment(client: Any, name: str) -> str:
    """The card of an experiment, or one that says why it can't be had: to show something must not fail."""
    return _or_why(name, lambda: _experiment(client, name))


def trial(client: Any, name: str) -> str:
    """The card of a trial, or why it can't be had."""
    return _or_why(name, lambda: _trial(client, name))


def component(client: Any, name: str) -> str:
    """The card of a trial component, or why it can't be had."""

    def look() -> str:
        told = client.describe_trial_component(TrialComponentName=name)
        return experiment_card.component(experiment_view.component(told))

    return _or_why(name, look)


def _experiment(client: Any, name: str) -> str:
    told = client.describe_experiment(ExperimentName=name)
    trials, count = _newest(client, "ExperimentTrial", "ExperimentName", name)
    components, total = _newest(client, "ExperimentTrialComponent", "Parents.ExperimentName", name)
    empty = tuple(
        one["Trial"]["TrialName"] for one in trials if not one["Trial"].get("TrialComponentSummaries")
    )
    return experiment_card.group(
        experiment_view.Group(
            kind="Experiment",
            name=told["ExperimentName"],
            created=told["CreationTime"],
            display_name=told.get("DisplayName", ""),
            description=told.get("Description", ""),
            trials=count,
            empty=empty,
            components=tuple(experiment_view.component(one["TrialComponent"]) for one in components),
            total=total,
        )
    )


def _trial(client: Any, name: str) -> str:
    told = client.describe_trial(TrialName=name)
    components, total = _newest(client, "ExperimentTrialComponent", "Parents.TrialName", name)
    return experiment_card.group(
        experiment_view.Group(
            kind="Trial",
            name=told["TrialName"],
            created=told["CreationTime"],
            display_name=told.get("DisplayName", ""),
            experiment=told["ExperimentName"],
            components=tuple(experiment_view.component(one["TrialComponent"]) for one in components),
            total=total,
        )
    )


def _newest(client: Any, resource: str, member: str, name: str) -> tuple[list[dict[str, Any]], int]:
    """The newest that are part of something, and how many there are."""
    told = client.search(
        Resource=resource,
        SearchExpression={"Filters": [{"Name": member, "Operator": "Equals", "Value": name}]},
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=_SHOWN,
    )
    found = told.get("Results", [])
    return found, told.get("TotalHits", {}).get("Value", len(found))


def _or_why(name: str, look: Callable[[], str]) -> str:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

    try:
        return look()
    except (PenstockError, BotoCoreError, ClientError) as error:
        return card.message(name, str(error))
