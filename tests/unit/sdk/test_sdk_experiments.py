"""Experiments, trials, components, trackers and runs of the SDK, on the server's own code."""

from __future__ import annotations

import builtins
import json
import logging
import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from jobs_on_record import create_part
from wire_client import WireClient
from wired_boto import WiredBoto

from penstock.analytics import ExperimentAnalytics
from penstock.client import current_run
from penstock.errors import PenstockError
from penstock.experiments import (
    Experiment,
    Run,
    SortByType,
    SortOrderType,
    Tracker,
    Trial,
    TrialComponent,
    charts,
    list_runs,
    load_run,
    tracker,
)
from penstock.experiments import run as run_module
from penstock.experiments.api_types import TrialComponentArtifact, TrialComponentStatus
from penstock.experiments.search_expression import (
    BooleanOperator,
    Filter,
    NestedFilter,
    Operator,
    SearchExpression,
)
from penstock.processing import Processor
from penstock.session import Session


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[WireClient]:
    made = WireClient(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def boto_session() -> WiredBoto:
    return WiredBoto()


@pytest.fixture
def boto(boto_session: WiredBoto, wire: WireClient) -> WiredBoto:
    boto_session.wire, boto_session.asked, boto_session.objects = wire, [], {}
    return boto_session


@pytest.fixture
def session(boto: WiredBoto) -> Session:
    return Session(boto_session=boto, default_bucket="bucket")


@pytest.fixture(autouse=True)
def _default(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names no session has this one."""

    def find(*given: Any, **named: Any) -> Session:
        return Session(*given, **named) if any(given) or named else session

    for place in ("penstock.session.Session", "penstock.experiments.tracker.Session"):
        monkeypatch.setattr(place, find)


@pytest.fixture
def in_job(wire: WireClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this process think that it is the program of a job, which is put on record."""

    def become(name: str, **config: str) -> None:
        create_part(wire.context, name, config)
        path = tmp_path / "processingjobconfig.json"
        arn = wire.store.job(name).arn
        path.write_text(json.dumps({"ProcessingJobArn": arn}))
        for module in (tracker, run_module):
            monkeypatch.setattr(module, "JOB_CONFIG", path)

    return become


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


def test_the_members_of_a_component_come_back_as_they_were_given(boto: WiredBoto) -> None:
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
    found = TrialComponent.load("C", boto.client("sagemaker"))
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


def test_all_pages_are_read(boto: WiredBoto) -> None:
    for number in range(13):
        TrialComponent.create(f"c-{number:02}")
    found = names(TrialComponent.list(sort_by="Name", sort_order="Ascending"), "trial_component_name")
    assert found == [f"c-{number:02}" for number in range(13)]
    assert boto.count("ListTrialComponents") == 2
    assert len([*TrialComponent.search(max_results=5)]) == 13
    assert boto.count("Search") == 3


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


# Trackers


def test_a_tracker_tells_of_a_component(boto: WiredBoto, tmp_path: Path) -> None:
    (tmp_path / "made.csv").write_text("1,2")
    with Tracker.create("Step", display_name="shown") as told:
        told.log_parameter("rate", 0.1)
        told.log_parameters({"text": "a", "none": math.nan, "endless": math.inf})
        told.log_input("in", "s3://b/in", "text/csv")
        told.log_output("out", "s3://b/out")
        told.log_artifact(str(tmp_path / "made.csv"))
        told.log_input_artifact(str(tmp_path / "made.csv"), name="used", media_type="a/b")
        told.log_table("Table", {"x": [1, 2]})
        for step in range(23):
            told.log_metric("loss", 1 / (step + 1), iteration_number=step)
        told.log_metric("loss", math.nan)
    assert boto.count("BatchPutMetrics") == 3
    name = told.trial_component.trial_component_name
    found = TrialComponent.load(name)
    assert found.parameters == {"rate": 0.1, "text": "a"}
    place = f"s3://bucket/trial-component-artifacts/{name}/made.csv"
    assert found.output_artifacts == {
        "out": TrialComponentArtifact("s3://b/out"),
        "made.csv": TrialComponentArtifact(place, "text/csv"),
    }
    assert found.input_artifacts == {
        "in": TrialComponentArtifact("s3://b/in", "text/csv"),
        "used": TrialComponentArtifact(place, "a/b"),
    }
    assert found.status == TrialComponentStatus("Completed")
    assert found.start_time <= found.end_time
    (loss,) = found.metrics or ()
    assert (loss.metric_name, loss.count, loss.max) == ("loss", 23, 1.0)
    folder = f"/bucket/trial-component-artifacts/{name}"
    assert boto.objects[f"{folder}/made.csv"] == b"1,2"
    assert json.loads(boto.objects[f"{folder}/Table.json"])["data"] == {"x": [1, 2]}
    client = boto.client("sagemaker")
    made = client.list_associations(SourceArn=found.trial_component_arn)["AssociationSummaries"]
    assert {(one["DestinationName"], one["AssociationType"]) for one in made} == {
        ("made-csv", "Produced"),
        ("Table", "Produced"),
    }


def test_a_block_that_fails_leaves_a_failed_component() -> None:
    told = Tracker.create()
    told.log_parameter("a", 1)
    with pytest.raises(ZeroDivisionError), told:
        _ = 1 / 0
    found = TrialComponent.load(told.trial_component.trial_component_name)
    assert found.status == TrialComponentStatus("Failed", "division by zero")
    assert found.parameters == {"a": 1.0}


def test_metrics_are_kept_when_the_component_is_refused() -> None:
    told = Tracker.create("Mixed")
    told.log_parameter("long", "x" * 3000)
    told.log_metric("m", 1)
    with pytest.raises(ClientError, match="ValidationException"):
        told.close()
    (metric,) = TrialComponent.load(told.trial_component.trial_component_name).metrics or ()
    assert metric.last == 1.0


def test_a_value_that_is_not_stored_is_said_to_be(session: Session) -> None:
    told = Tracker.create("c")
    told.log_metric("bad", 1)
    told.trial_component.delete()
    with pytest.raises(ClientError, match=r"ValidationException|ResourceNotFound"):
        told.close()
    refusing = SimpleNamespace(
        batch_put_metrics=lambda **_: {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]}
    )
    other = Tracker.create(
        "d", sagemaker_session=Session(session.boto_session, sagemaker_metrics_client=refusing)
    )
    other.log_metric("bad", 1)
    with pytest.raises(PenstockError, match=r"1 of 1 values .* among them bad: VALIDATION_ERROR"):
        other.close()


@pytest.mark.parametrize("days", [-15, 1])
def test_a_time_that_the_service_refuses_is_refused_where_it_is_given(days: int) -> None:
    with pytest.raises(ValueError, match="between two weeks before and two hours from now"):
        Tracker.create().log_metric("m", 1, datetime.now(UTC) + timedelta(days=days))
    with pytest.raises(ValueError, match="step of a metric is an int"):
        Tracker.create().log_metric("m", 1, iteration_number="1")  # type: ignore[arg-type]


def test_too_many_artifacts_and_files_that_are_not_there(tmp_path: Path) -> None:
    told = Tracker.create()
    for number in range(30):
        told.log_input(f"in-{number}", "s3://b/k")
    told.log_input("in-3", "s3://b/other")  # is there already
    with pytest.raises(ValueError, match="has 30 input artifacts, and no room for more"):
        told.log_input("more", "s3://b/k")
    with pytest.raises(ValueError, match="does not exist or is not a file"):
        told.log_artifact(str(tmp_path))


def test_a_tracker_of_the_job_that_it_runs_in(in_job: Any) -> None:
    with pytest.raises(ValueError, match="Could not load TrialComponent"):
        Tracker.load()
    in_job("job", ExperimentName="e", TrialName="t")
    with Tracker.load() as told:
        told.log_parameter("rate", 0.1)
    assert told.trial_component.trial_component_name == "job-aws-processing-job"
    found = TrialComponent.load("job-aws-processing-job")
    assert (found.parameters or {})["rate"] == 0.1
    assert found.status is not None
    assert found.status.primary_status == "InProgress"  # the job says how far it is
    assert (
        Tracker.load(processing_job_name="job").trial_component.trial_component_arn
        == found.trial_component_arn
    )


def test_a_job_without_a_component_is_told_what_it_lacks(in_job: Any) -> None:
    in_job("job")
    with pytest.raises(ValueError, match="has no trial component: start it with an experiment_config"):
        Tracker.load()
    with pytest.raises(RuntimeError, match="belongs to no run"):
        load_run()


# Runs


def test_a_run_is_made_with_all_around_it() -> None:
    with Run("My-Exp", "First", tags={"team": "a"}, run_display_name="shown") as run:
        run.log_parameters({"a": 1})
        run.log_metric("m", 2, step=1)
        run.log_artifact("model", "s3://b/m")
    component = TrialComponent.load("my-exp-first")
    assert (component.parameters, component.display_name) == ({"a": 1.0}, "shown")
    assert component.status == TrialComponentStatus("Completed")
    assert names(component.list_trials(), "trial_name") == ["Default-Run-Group-my-exp"]
    tags = component.sagemaker_boto_client.list_tags(ResourceArn=component.trial_component_arn)["Tags"]
    assert {one["Key"] for one in tags} == {"team", "sagemaker:trial-component-source"}
    with Run("my-exp", "first") as again:
        again.log_parameter("b", 2)
    assert TrialComponent.load("my-exp-first").parameters == {"a": 1.0, "b": 2.0}


def test_a_run_outside_of_its_block_takes_nothing() -> None:
    with pytest.raises(RuntimeError, match="inside context of 'with'"):
        Run("e", "r").log_parameter("a", 1)
    with pytest.raises(ValueError, match=r"run_name \(length: 60\)"):
        Run("e", "r" * 60)


def test_the_run_around_is_loaded_and_ends_once() -> None:
    with Run("e", "r") as run:
        with load_run() as same:
            assert same is run
            same.log_metric("m", 1)
        assert TrialComponent.load("e-r").status == TrialComponentStatus("InProgress", "Within a run context")
        with load_run("other", "e") as other:
            assert load_run() is other
        assert load_run() is run
    assert TrialComponent.load("e-r").status == TrialComponentStatus("Completed")
    with pytest.raises(RuntimeError, match=r"neither within a run's `with` block nor in a job"):
        load_run()
    with pytest.raises(ValueError, match="experiment_name is missing"):
        load_run("r")


def test_a_run_is_not_begun_within_another() -> None:
    with Run("e", "outer"), pytest.raises(RuntimeError, match="nested"), Run("e", "inner"):
        pass
    assert current_run.ENTERED == []
    with pytest.raises(ZeroDivisionError), Run("e", "fails"):
        _ = 1 / 0
    assert TrialComponent.load("e-fails").status == TrialComponentStatus("Failed", "division by zero")


def test_the_run_of_the_job_that_this_is(in_job: Any) -> None:
    run = Run("e", "r")
    in_job("job", **run.experiment_config)
    with load_run() as found:
        found.log_metric("m", 1)
    assert (found.experiment_name, found.run_name) == ("e", "r")
    assert (TrialComponent.load("e-r").metrics or [])[0].last == 1.0


def test_runs_are_listed_without_other_components() -> None:
    for name in ("b", "a"):
        Run("e", name)
    Trial.load("Default-Run-Group-e").add_trial_component(TrialComponent.create("by-hand"))
    listed = list_runs("e", sort_by=SortByType.NAME, sort_order=SortOrderType.ASCENDING)
    assert [run.run_name for run in listed] == ["a", "b"]
    with listed[0] as run:
        run.log_parameter("a", 1)
    assert TrialComponent.load("e-a").parameters == {"a": 1.0}


def test_jobs_that_are_started_within_a_run_belong_to_it(
    session: Session, wire: WireClient, caplog: pytest.LogCaptureFixture
) -> None:
    def start(name: str, config: dict[str, str] | None = None) -> Any:
        processor = Processor(
            "arn:aws:iam::111122223333:role/r",
            "python:3.11",
            1,
            "ml.m5.large",
            ["true"],
            sagemaker_session=session,
        )
        processor.run(job_name=name, wait=False, logs=False, experiment_config=config)
        return wire.store.job(name).request.get("ExperimentConfig")

    Experiment.create("other")
    with Run("e", "r") as run:
        assert start("inside") == run.experiment_config
        with caplog.at_level(logging.WARNING, "penstock"):
            assert start("elsewhere", {"ExperimentName": "other"}) == {"ExperimentName": "other"}
    assert "within the run r" in caplog.text
    assert start("outside") is None


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
