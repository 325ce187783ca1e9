"""Trackers and runs of the SDK, on the server's own code."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from jobs_on_record import create_part
from wire_client import LENDER, WireClient, signed
from wired_boto import WiredBoto

from penstock.api.callers import LIFETIME
from penstock.client import current_run, own_job
from penstock.clock import now
from penstock.errors import PenstockError
from penstock.experiments import (
    Experiment,
    Run,
    SortByType,
    SortOrderType,
    Tracker,
    Trial,
    TrialComponent,
    list_runs,
    load_run,
)
from penstock.experiments.api_types import TrialComponentArtifact, TrialComponentStatus
from penstock.processing import Processor
from penstock.session import Session

pytestmark = pytest.mark.usefixtures("wired_session")


@pytest.fixture
def in_job(wire: WireClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this process think that it is the program of a job, which is put on record."""

    def become(name: str, **config: str) -> None:
        create_part(wire.context, name, config)
        path = tmp_path / "processingjobconfig.json"
        arn = wire.store.job(name).arn
        path.write_text(json.dumps({"ProcessingJobArn": arn}))
        monkeypatch.setattr(own_job, "CONFIG", path)

    return become


def names(found: Iterator[Any], member: str) -> list[str]:
    return [getattr(one, member) for one in found]


@contextmanager
def as_program(wired: WiredBoto, wire: WireClient, job: str) -> Iterator[None]:
    """What is asked meanwhile is asked with the credentials of a job."""
    lent = LENDER.lend(wire.store.job(job).uid, now() // 1000 + LIFETIME).key
    key = Credentials(lent.access_key_id, lent.secret, lent.token)
    own = wire.deliver

    def deliver(method: str, path: str, headers: Any, body: bytes) -> Any:
        named = {name.decode().lower(): value.decode() for name, value in headers}
        kept = {name: named[name] for name in ("content-type", "x-amz-target") if name in named}
        target = kept.pop("x-amz-target", "")
        return own(*signed(method, path, body, target, key=key, headers=kept))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "deliver", deliver)
        yield


# Trackers


def test_a_tracker_tells_of_a_component(wired: WiredBoto, tmp_path: Path) -> None:
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
    assert wired.count("BatchPutMetrics") == 3
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
    assert wired.objects[f"{folder}/made.csv"] == b"1,2"
    assert json.loads(wired.objects[f"{folder}/Table.json"])["data"] == {"x": [1, 2]}
    client = wired.client("sagemaker")
    made = client.list_associations(SourceArn=found.trial_component_arn)["AssociationSummaries"]
    assert {(one["DestinationName"], one["AssociationType"]) for one in made} == {
        ("made.csv", "Produced"),
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


def test_an_error_of_several_lines_is_told_as_one_of_what_the_service_takes() -> None:
    error = (
        "Error for Processing job a: Failed.\nThe last lines of its log:\n  [penstock] x\u2028y\n"
        + "z" * 2000
    )
    with pytest.raises(ValueError, match="The last lines"), Run("e", "of-a-failed-job"):
        raise ValueError(error)
    status = TrialComponent.load("e-of-a-failed-job").status
    assert status is not None
    assert (status.primary_status, len(status.message)) == ("Failed", 1024)
    told = "Error for Processing job a: Failed. The last lines of its log: [penstock] x y zzz"
    assert status.message.startswith(told)


def test_metrics_are_kept_when_the_component_is_refused() -> None:
    told = Tracker.create("Mixed")
    told.log_parameter("long", "x" * 3000)
    told.log_metric("m", 1)
    with pytest.raises(ClientError, match="ValidationException"):
        told.close()
    (metric,) = TrialComponent.load(told.trial_component.trial_component_name).metrics or ()
    assert metric.last == 1.0


def test_a_value_that_is_not_stored_is_said_to_be(wired_session: Session) -> None:
    told = Tracker.create("c")
    told.log_metric("bad", 1)
    told.trial_component.delete()
    with pytest.raises(ClientError, match=r"ValidationException|ResourceNotFound"):
        told.close()
    refusing = SimpleNamespace(
        batch_put_metrics=lambda **_: {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}]}
    )
    other = Tracker.create(
        "d", sagemaker_session=Session(wired_session.boto_session, sagemaker_metrics_client=refusing)
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


def test_a_file_that_is_logged_again_is_the_artifact_of_its_content(
    wired: WiredBoto, wired_session: Session, tmp_path: Path
) -> None:
    """One URI has an artifact for each content; the same content again is the one that is there, of however many."""
    client = wired.client("sagemaker")
    first = Tracker.create()
    (tmp_path / "f.csv").write_text("1")
    first.log_artifact(str(tmp_path / "f.csv"))
    first.close()
    arn = first.trial_component.trial_component_arn
    [made] = client.list_associations(SourceArn=arn)["AssociationSummaries"]
    assert made["DestinationName"] == "f.csv"
    uri = (first.trial_component.output_artifacts or {})["f.csv"].value
    for number in range(101):  # later contents, which are listed before it
        types = [{"SourceIdType": "S3ETag", "Value": f"{number}"}]
        source = {"SourceUri": uri, "SourceTypes": types}
        client.create_artifact(ArtifactType="t", Source=source)
    first.log_input_artifact(str(tmp_path / "f.csv"))
    first.close()
    [used] = client.list_associations(DestinationArn=arn)["AssociationSummaries"]
    assert used["SourceArn"] == made["DestinationArn"]


def test_a_program_logs_its_file_again_and_passes_by_what_another_has_logged(
    wired: WiredBoto, wire: WireClient, in_job: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_job("job", ExperimentName="e", TrialName="t")
    (tmp_path / "f.csv").write_text("1")
    with as_program(wired, wire, "job"):
        for _ in range(2):
            with Tracker.load() as told:
                told.log_artifact(str(tmp_path / "f.csv"))
    arn = told.trial_component.trial_component_arn
    client = wired.client("sagemaker")
    [made] = client.list_associations(SourceArn=arn)["AssociationSummaries"]
    client.delete_association(SourceArn=arn, DestinationArn=made["DestinationArn"])
    client.delete_artifact(ArtifactArn=made["DestinationArn"])
    with Tracker.load() as told:  # by whoever has the home's keys
        told.log_artifact(str(tmp_path / "f.csv"))
    client.delete_association(SourceArn=arn, DestinationArn=made["DestinationArn"])
    with as_program(wired, wire, "job"), caplog.at_level(logging.WARNING, "penstock"), Tracker.load() as told:
        told.log_artifact(str(tmp_path / "f.csv"))
        told.log_parameter("kept", 1)
    assert "an artifact of somebody else's already" in caplog.text
    assert client.list_associations(SourceArn=arn)["AssociationSummaries"] == []
    assert (TrialComponent.load(told.trial_component.trial_component_name).parameters or {})["kept"] == 1.0


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


def test_a_run_that_is_made_by_loading_it_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    load_run("deep-3", "e")
    assert "load_run has made the run deep-3 of e, which was not there" in caplog.text
    caplog.clear()
    load_run("deep-3", "e")
    assert "has made" not in caplog.text


def test_a_tracker_shows_its_component(wired: WiredBoto) -> None:
    with Tracker.create("step") as told:
        told.log_parameter("bins", 32)
    assert "bins = 32" in told._repr_html_()
    assert repr(told) == f"<Tracker of {told.trial_component.trial_component_name}>"


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
    wired_session: Session, wire: WireClient, caplog: pytest.LogCaptureFixture
) -> None:
    def start(name: str, config: dict[str, str] | None = None) -> Any:
        processor = Processor(
            "arn:aws:iam::111122223333:role/r",
            "python:3.11",
            1,
            "ml.m5.large",
            ["true"],
            sagemaker_session=wired_session,
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
