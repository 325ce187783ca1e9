"""Experiments, trials, components and DataFrames of the SDK, on the server's own code."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from wired_boto import WiredBoto

from penstock.analytics import ExperimentAnalytics
from penstock.api import search
from penstock.experiments import (
    Experiment,
    Run,
    Tracker,
    Trial,
    TrialComponent,
    charts,
)
from penstock.experiments.api_types import TrialComponentArtifact, TrialComponentStatus
from penstock.experiments.search_expression import (
    BooleanOperator,
    Filter,
    NestedFilter,
    Operator,
    SearchExpression,
)

pytestmark = pytest.mark.usefixtures("wired_session")


def names(found: Iterator[Any], member: str) -> list[str]:
    return [getattr(one, member) for one in found]


# Experiments, trials, components


def test_what_a_tutorial_does() -> None:
    with pytest.raises(ClientError, match="ResourceNotFound"):
        Experiment.load("tutorial")
    made = Experiment.create(experiment_name="tutorial", description="first", tags={"team": 1})
    trial = Trial.create(trial_name="tutorial-1", experiment_name="tutorial")
    found = Experiment.load("Tutorial")
    assert (found.experiment_name, found.description) == ("tutorial", "first")
    assert found.experiment_arn == made.experiment_arn
    assert names(found.list_trials(), "trial_name") == [trial.trial_name]
    assert names(Experiment.list(), "experiment_name") == ["tutorial"]
    assert Trial.load("tutorial-1").experiment_name == "tutorial"
    tags = made.sagemaker_boto_client.list_tags(ResourceArn=made.experiment_arn)["Tags"]
    assert tags == [{"Key": "team", "Value": "1"}]
    with pytest.raises(ClientError, match="already exists"):
        Experiment.create("TUTORIAL")


def test_what_is_saved_is_what_may_be_changed() -> None:
    experiment = Experiment.create("e", display_name="shown")
    experiment.description, experiment.display_name = "about", "other"
    experiment.save()
    assert (Experiment.load("e").description, Experiment.load("e").display_name) == ("about", "other")
    trial = experiment.create_trial(trial_name_prefix="pre")
    assert trial.trial_name.startswith("pre-20")
    trial.display_name = "shown"
    trial.save()
    assert Trial.load(trial.trial_name).display_name == "shown"


def test_the_members_of_a_component_come_back_as_they_were_given(wired: WiredBoto) -> None:
    made = TrialComponent.create("c", display_name="shown", tags=[{"Key": "a", "Value": "b"}])
    made.parameters = {
        "float": np.float64(0.5),
        "int": np.int64(3),
        "bool": True,
        "text": "t",
        "path": Path("/a"),
    }
    made.input_artifacts = {"in": TrialComponentArtifact("s3://b/in", "text/csv")}
    made.output_artifacts = {"out": TrialComponentArtifact("s3://b/out")}
    made.status = TrialComponentStatus("InProgress", "half of it")
    made.start_time = datetime(2026, 1, 2, tzinfo=UTC)
    made.save()
    found = TrialComponent.load("C", wired.client("sagemaker"))
    assert found.parameters == {"float": 0.5, "int": 3.0, "bool": 1.0, "text": "t", "path": "/a"}
    assert found.input_artifacts == {"in": TrialComponentArtifact("s3://b/in", "text/csv")}
    assert found.output_artifacts == {"out": TrialComponentArtifact("s3://b/out")}
    assert found.status == TrialComponentStatus("InProgress", "half of it")
    assert found.start_time == made.start_time
    found.parameters_to_remove = ["int"]
    found.save()
    assert "int" not in (TrialComponent.load("c").parameters or {})
    assert "trial_component_name='c'" in repr(found)


def test_a_trial_takes_whatever_names_a_component() -> None:
    Experiment.create("e")
    component, by_name = TrialComponent.create("one"), TrialComponent.create("two")
    told = Tracker.create("three")
    trial = Trial.create("e", "t", trial_components=[component, by_name.trial_component_name, told])
    listed = [*trial.list_trial_components(sort_by="Name", sort_order="Ascending")]
    assert [str(one.trial_component_name)[:5] for one in listed] == ["one", "three", "two"]
    for one in (listed[0], told, "two"):
        trial.remove_trial_component(one)
    assert [*trial.list_trial_components()] == []
    assert [*component.list_trials()] == []


def test_all_pages_are_read(wired: WiredBoto) -> None:
    for number in range(13):
        TrialComponent.create(f"c-{number:02}")
    found = names(TrialComponent.list(sort_by="Name", sort_order="Ascending"), "trial_component_name")
    assert found == [f"c-{number:02}" for number in range(13)]
    assert wired.count("ListTrialComponents") == 2
    assert len([*TrialComponent.search(max_results=5)]) == 13
    assert wired.count("Search") == 3


def test_pages_on_which_nothing_is_found_are_not_the_last(
    wired: WiredBoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "JUDGED", 2)
    trial = Experiment.create("e").create_trial("t")
    for name, value in [*((f"c-{number}", 3) for number in range(9)), ("d", 1.25)]:
        wired.client("sagemaker").create_trial_component(
            TrialComponentName=name, Parameters={"rate": {"NumberValue": value}}
        )
        if name != "d":
            trial.add_trial_component(name)
    by_name = {"sort_by": "TrialComponentName", "sort_order": "Ascending"}
    # How a number is written only records tell, and only of the last one it is so.
    wanted = Filter("Parameters.rate", Operator.CONTAINS, ".25")
    found = TrialComponent.search(SearchExpression([wanted]), **by_name)
    assert names(found, "trial_component_name") == ["d"]
    assert wired.count("Search") == 5
    trial.add_trial_component("d")
    conditions = {"Filters": [{"Name": "Parameters.rate", "Operator": "Contains", "Value": ".25"}]}
    frame = ExperimentAnalytics("e", search_expression=conditions, **by_name).dataframe()
    assert frame["TrialComponentName"].tolist() == ["d"]
    assert wired.count("Search") == 10


def test_a_whole_experiment_goes_when_that_is_said() -> None:
    experiment = Experiment.create("e")
    other = Experiment.create("other").create_trial("kept")
    for number in range(2):
        trial = experiment.create_trial(f"t-{number}")
        trial.add_trial_component(TrialComponent.create(f"c-{number}"))
    other.add_trial_component("c-0")
    with pytest.raises(ClientError, match="is linked to"):
        TrialComponent.load("c-1").delete()
    for action in ("", "force"):
        with pytest.raises(ValueError, match="deleted for good: say delete_all"):
            experiment.delete_all(action)
    experiment.delete_all("--force")
    assert names(Experiment.list(), "experiment_name") == ["other"]
    assert names(Trial.list(), "trial_name") == ["kept"]
    assert [*TrialComponent.list()] == []


def test_searches() -> None:
    experiment = Experiment.create("e")
    for number in range(3):
        component = TrialComponent.create(f"c-{number}")
        component.parameters = {"size": number}
        component.save()
        experiment.create_trial(f"t-{number}").add_trial_component(component)
    larger = SearchExpression([Filter("Parameters.size", Operator.GREATER_THAN, "0")])
    found = TrialComponent.search(larger, sort_by="TrialComponentName", sort_order="Ascending")
    assert names(found, "trial_component_name") == ["c-1", "c-2"]
    inside = NestedFilter("Parents", [Filter("Parents.TrialName", Operator.EQUALS, "t-2")])
    either = SearchExpression(
        [Filter("Parameters.size", value="0")],
        sub_expressions=[SearchExpression(nested_filters=[inside])],
        boolean_operator=BooleanOperator.OR,
    )
    assert sorted(names(TrialComponent.search(either), "trial_component_name")) == ["c-0", "c-2"]
    assert names(
        Experiment.search(SearchExpression([Filter("ExperimentName", value="e")])), "experiment_name"
    ) == ["e"]
    assert len([*Trial.search(SearchExpression([Filter("ExperimentName", value="e")]))]) == 3
    with pytest.raises(ValueError, match="at least one"):
        SearchExpression()


# DataFrames and charts


def test_a_dataframe_has_a_row_for_each_component(tmp_path: Path) -> None:
    experiment = Experiment.create("e")
    for number in range(3):
        with Tracker.create(f"c{number}") as told:
            told.log_parameters({"size": number, "other": "x"})
            told.log_metric("loss", 3 - number)
            told.log_input("in", "s3://b/k", "text/csv")
        experiment.create_trial(f"t{number}").add_trial_component(told)
    frame = experiment.dataframe(sort_by="Metrics.loss.Last", sort_order="Ascending")
    assert frame["size"].tolist() == [2.0, 1.0, 0.0]
    assert frame["loss - Last"].tolist() == [1.0, 2.0, 3.0]
    assert frame["in - Value"].tolist() == ["s3://b/k"] * 3
    assert frame["Trials"].tolist() == [["t2"], ["t1"], ["t0"]]
    only = ExperimentAnalytics(
        search_expression={"Filters": [{"Name": "Parameters.size", "Operator": "Equals", "Value": "1"}]},
        parameter_names=["size"],
        metric_names=["none"],
        input_artifact_names=["none"],
    )
    assert [*only.dataframe().columns] == [
        "TrialComponentName",
        "DisplayName",
        "size",
        "Trials",
        "Experiments",
    ]
    only.export_csv(str(tmp_path / "f.csv"))
    assert "c1-" in (tmp_path / "f.csv").read_text()
    with pytest.raises(ValueError, match="Either experiment_name or search_expression"):
        ExperimentAnalytics()


def test_a_dataframe_is_what_it_was_until_it_is_asked_for_anew() -> None:
    experiment = Experiment.create("e")
    analytics = ExperimentAnalytics("e")
    assert len(analytics.dataframe()) == 0
    experiment.create_trial("t").add_trial_component(TrialComponent.create("c"))
    assert len(analytics.dataframe()) == 0
    assert len(analytics.dataframe(force_refresh=True)) == 1


def test_without_pandas_a_dataframe_says_so_and_all_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in {"pandas", "sklearn"}:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    experiment = Experiment.create("e")
    with pytest.raises(ImportError, match="pip install pandas"):
        experiment.dataframe()
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        charts.roc_curve("t", [1], [1])


def test_charts_are_as_studio_reads_them() -> None:
    import pandas as pd

    chart = charts.table("T", data_frame=pd.DataFrame({"n": [1, 2], "s": ["a", "b"]}))
    assert chart == {
        "type": "Table",
        "version": 0,
        "title": "T",
        "fields": [{"name": "n", "type": "number"}, {"name": "s", "type": "string"}],
        "data": {"n": [1, 2], "s": ["a", "b"]},
    }
    for given in ({}, {"values": {}, "data_frame": pd.DataFrame()}, {"values": {"x": (1,)}}):
        with pytest.raises(ValueError, match="table"):
            charts.table("T", **given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="2 true labels and 1 predicted"):
        charts.confusion_matrix("T", [1, 2], [1])


def test_a_notebook_is_shown_what_the_server_knows() -> None:
    experiment = Experiment.create("e")
    trial = experiment.create_trial("filled")
    experiment.create_trial("bare")
    with Tracker.create("c", display_name="first-step") as told:
        told.log_parameter("depth", 3)
        told.log_metric("mse", 0.25)
        trial.add_trial_component(told)
    for shown in (experiment, trial):
        html = shown._repr_html_()
        for said in ("first-step", ">Completed<", ">depth<", ">0.25<", "1 component,"):
            assert said in html, said
    assert "2 trials" in experiment._repr_html_()
    assert ">bare<" in experiment._repr_html_()
    assert "mse = 0.25" in told.trial_component._repr_html_()
    assert "does not exist" in Trial(trial_name="none")._repr_html_()
    assert "e-r" in Run("e", "r")._repr_html_()


def test_the_older_package_is_these_modules() -> None:
    from penstock.client import alias

    before = set(sys.modules)
    alias.install()
    try:
        import smexperiments
        from smexperiments.experiment import Experiment as Named
        from smexperiments.tracker import Tracker as Other

        assert (Named, Other, smexperiments.Trial) == (Experiment, Tracker, Trial)
        with pytest.raises(ImportError):
            import smexperiments.nothing
    finally:
        alias.uninstall()
        for name in set(sys.modules) - before:
            if name.startswith("smexperiments"):
                del sys.modules[name]
