"""Experiments, trials and components as HTML: what is shown, and that nothing of their own words becomes markup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_job_card import EVIL, Balanced

from penstock.client import experiment_card, experiment_look, experiment_view
from penstock.client.experiment_view import Group

BEGUN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def component(name: str = "c", **more: Any) -> experiment_view.Component:
    told = {
        "TrialComponentName": name,
        "Status": {"PrimaryStatus": "Completed"},
        "StartTime": BEGUN,
        "EndTime": BEGUN + timedelta(seconds=90),
        "Parameters": {"depth": {"NumberValue": 3.0}, "SageMaker.InstanceCount": {"NumberValue": 1.0}},
        "Metrics": [{"MetricName": "mse", "Last": 0.25, "Count": 2}],
        "Parents": [{"TrialName": "t", "ExperimentName": "e"}],
    }
    return experiment_view.component({**told, **more})


def group(*components: experiment_view.Component, kind: str = "Experiment", **more: Any) -> str:
    return experiment_card.group(
        Group(kind, "e", BEGUN, **{"components": components, "total": len(components), **more})
    )


def test_an_experiment_shows_its_components_side_by_side() -> None:
    other = component("d", DisplayName="shown", Metrics=[], Status={}, EndTime=None, Parameters={})
    html = group(component(), other, trials=2, description="about it", empty=("bare",), total=30)
    shown = Balanced(html)
    assert shown.open == []
    text = " ".join(shown.text.split())
    for said in ("2 trials, 30 components", "about it", "and 28 more", "without components bare", "90 s"):
        assert said in text, said
    for said in (">mse</th>", ">depth</th>", ">0.25</td>", ">3</td>", ">shown</td>", ">Completed</span>"):
        assert said in html, said
    assert "InstanceCount" not in html
    assert html.count(">t</td>") == 1  # the trial, once for all that follow


def test_a_trial_shows_no_column_of_trials() -> None:
    html = group(component(), kind="Trial", experiment="of")
    assert ">trial</th>" not in html
    assert ">of</td>" in html


def test_what_would_make_a_table_too_wide_is_told_to_be_elsewhere() -> None:
    many = {f"p{number}": {"StringValue": "x" * 50} for number in range(9)}
    html = group(component(Parameters=many))
    assert "and 3 more parameters and metrics: experiment.dataframe() has all" in html
    assert f'title="{"x" * 50}">{"x" * 23}…<' in html


def test_what_most_have_comes_first() -> None:
    of: list[Mapping[str, int]] = [{"b": 1, "a": 1}, {"b": 1}, {"c": 1}]
    assert experiment_view.names(of) == ["b", "a", "c"]


def test_a_component_shows_all_but_the_variables_of_its_job() -> None:
    html = experiment_card.component(
        component(
            Status={"PrimaryStatus": "Failed", "Message": "no such column"},
            Parameters={"SageMaker.Environment.TOKEN": {"StringValue": "secret"}, "a": {"StringValue": "b"}},
            InputArtifacts={"in": {"Value": "s3://b/in"}},
            OutputArtifacts={"out": {"Value": "s3://b/out"}},
        )
    )
    for said in (
        ">Failed</span>",
        "no such column",
        "a = b",
        "mse = 0.25",
        "s3://b/in",
        "s3://b/out",
        "took 90 s",
    ):
        assert said in html, said
    assert "secret" not in html


def test_a_card_stays_small_whatever_was_logged() -> None:
    huge = component(
        Parameters={f"p{n:03}": {"StringValue": "x" * 2500} for n in range(300)},
        Metrics=[{"MetricName": f"m{n:04}", "Last": 1.0} for n in range(2000)],
    )
    html = experiment_card.component(huge)
    assert len(html) < 40_000
    for said in ("p059 = xx", "and 240 more parameters", "m0059 = 1", "and 1,940 more metrics"):
        assert said in html, said
    assert "p060" not in html
    assert len(group(*[huge] * 20)) < 80_000


def test_nothing_becomes_markup() -> None:
    evil = component(
        EVIL,
        Status={"PrimaryStatus": "Failed", "Message": EVIL},
        Parameters={EVIL: {"StringValue": EVIL * 3}},
        Metrics=[{"MetricName": EVIL, "Last": 1.0}],
        InputArtifacts={EVIL: {"Value": EVIL}},
        Parents=[{"TrialName": EVIL, "ExperimentName": EVIL}],
    )
    whole = group(evil, description=EVIL, display_name=EVIL, empty=(EVIL,)) + experiment_card.component(evil)
    shown = Balanced(whole)
    assert shown.open == []
    assert "script" not in shown.tags
    assert "<script" not in whole


def test_what_can_not_be_had_is_said_in_its_place() -> None:
    from botocore.exceptions import ClientError

    class Refusing:
        def describe_trial(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "ResourceNotFound", "Message": "gone"}}, "DescribeTrial")

        def describe_experiment(self, **_: Any) -> Any:
            raise ZeroDivisionError

    assert "gone" in experiment_look.trial(Refusing(), "t")
    with pytest.raises(ZeroDivisionError):
        experiment_look.experiment(Refusing(), "e")
