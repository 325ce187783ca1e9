"""Run: one go of an experiment, of which parameters, metrics and artifacts are kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from types import TracebackType
from typing import Any, Self

from penstock.client import own_job
from penstock.client.current_run import ENTERED
from penstock.client.entity import session_of
from penstock.client.names import job_name, run_group, tag_list
from penstock.experiments import charts
from penstock.experiments.api_types import TrialComponentStatus
from penstock.experiments.experiment import Experiment
from penstock.experiments.recorder import Recorder
from penstock.experiments.search_expression import Filter, SearchExpression
from penstock.experiments.tracker import end
from penstock.experiments.trial import Trial
from penstock.experiments.trial_component import TrialComponent

logger = logging.getLogger("penstock")

#: What tells the components of runs from others.
_TAG = {"Key": "sagemaker:trial-component-source", "Value": "run"}
#: How long the names of an experiment and a run may be: both are in the component's, with a `-` between.
_LONGEST = 59


class SortByType(Enum):
    """By what `list_runs` sorts."""

    CREATION_TIME = "CreationTime"
    NAME = "Name"


class SortOrderType(Enum):
    """In which direction."""

    ASCENDING = "Ascending"
    DESCENDING = "Descending"


class Run:
    """A run of an experiment; it is made, with its experiment, unless it is there. Its methods want a `with` block.

    Jobs that are started in the block belong to the run, unless they are given an `experiment_config`. What was logged
    is sent at the block's end (metrics as they come, ten at a time), and the run becomes `Completed`, or `Failed` after
    an exception.

    Args:
        experiment_name: The experiment, at most 59 characters; capitals become small.
        run_name: The run, the same; one with the time when None.
        experiment_display_name: What is shown for the experiment, when it is made.
        run_display_name: What is shown for the run, when it is made.
        tags: Tags of what is made, a list of Key and Value, or a mapping.
        sagemaker_session: The session; a new one when None.
        artifact_bucket: Where files go; the session's default bucket when None.
        artifact_prefix: What their keys begin with.

    Attributes:
        experiment_name: The experiment's name, in small letters.
        run_name: The run's name, in small letters.
        run_group_name: The trial that all runs of the experiment are in.

    Raises:
        ValueError: A name is too long.
        botocore.exceptions.ClientError: The server refuses a name.
    """

    def __init__(
        self,
        experiment_name: str,
        run_name: str | None = None,
        experiment_display_name: str | None = None,
        run_display_name: str | None = None,
        tags: Any = None,
        sagemaker_session: Any = None,
        artifact_bucket: str | None = None,
        artifact_prefix: str | None = None,
    ) -> None:
        session = session_of(sagemaker_session)
        self._name(experiment_name, run_name or job_name("sagemaker-run"))
        tags = [*(tag_list(tags) or ())]
        Experiment._create_or_load(  # noqa: SLF001 - of this package
            session,
            experiment_name=self.experiment_name,
            display_name=experiment_display_name,
            tags=tags or None,
        )
        trial, _ = Trial._create_or_load(  # noqa: SLF001 - of this package
            session,
            trial_name=self.run_group_name,
            experiment_name=self.experiment_name,
            tags=tags or None,
        )
        component, existed = TrialComponent._create_or_load(  # noqa: SLF001 - of this package
            session,
            trial_component_name=f"{self.experiment_name}-{self.run_name}",
            display_name=run_display_name,
            tags=[*tags, _TAG],
        )
        if existed:
            logger.info("The run %s of the experiment %s is there already.", self.run_name, experiment_name)
        trial.add_trial_component(component)  # nothing happens where it is so
        self._existed = existed
        self._record(component, artifact_bucket, artifact_prefix)

    def _name(self, experiment: str, run: str) -> None:
        for what, name in (("experiment_name", experiment), ("run_name", run)):
            if len(name) > _LONGEST:
                raise ValueError(
                    f"The {what} (length: {len(name)}) must have length less than or equal to {_LONGEST}: {name}"
                )
        # The metrics service takes small letters only.
        self.experiment_name, self.run_name = experiment.lower(), run.lower()
        self.run_group_name = run_group(self.experiment_name)

    def _record(
        self, component: TrialComponent, bucket: str | None = None, prefix: str | None = None
    ) -> None:
        self._component = component
        self._recorder = Recorder(component, bucket, prefix)
        self._is_loaded = False

    @classmethod
    def _of(cls, experiment_name: str, component: TrialComponent) -> Self:
        """The run whose component has been loaded."""
        run = cls.__new__(cls)
        name = component.trial_component_name
        run._name(experiment_name, _run_of(name, experiment_name))  # noqa: SLF001 - its own
        run._record(component)  # noqa: SLF001 - its own
        return run

    @property
    def experiment_config(self) -> dict[str, str]:
        """What makes a job part of the run: `experiment_config=` of a processor's `run`."""
        return {
            "ExperimentName": self.experiment_name,
            "TrialName": self.run_group_name,
            "RunName": self._component.trial_component_name,
        }

    def log_parameter(self, name: str, value: Any) -> None:
        """A number or a text that the run was given."""
        self._entered().add_parameters({name: value})

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """The same, several by their names."""
        self._entered().add_parameters(parameters)

    def log_metric(
        self, name: str, value: float, timestamp: datetime | None = None, step: int | None = None
    ) -> None:
        """A value of a metric.

        Args:
            name: The metric.
            value: The value.
            timestamp: When it was measured; now when None.
            step: Of which step it is, as an epoch's number.

        Raises:
            ValueError: The value, the step or the time can't be.
            PenstockError: The server has not stored a value.
        """
        self._entered().add_metric(name, value, timestamp, step)

    def log_artifact(
        self, name: str, value: str, media_type: str | None = None, is_output: bool = True
    ) -> None:
        """Something that was made or used, by its place. Raises a ValueError when there are 30 already."""
        self._entered().add_artifact(name, value, media_type, is_output=is_output)

    def log_file(
        self,
        file_path: str,
        name: str | None = None,
        media_type: str | None = None,
        is_output: bool = True,
        extra_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Upload a file that was made or used.

        Args:
            file_path: The file.
            name: Of the artifact; the file's when None.
            media_type: Its MIME type; guessed from the name when None.
            is_output: Whether it was made, and not used.
            extra_args: For boto3's `upload_file`.

        Raises:
            ValueError: There is no such file, or there are 30 artifacts already.
        """
        self._entered().add_file(file_path, name, media_type, is_output=is_output, extra_args=extra_args)

    def log_precision_recall(
        self,
        y_true: Any,
        predicted_probabilities: Any,
        positive_label: Any = None,
        title: str | None = None,
        is_output: bool = True,
        no_skill: Any = None,
    ) -> None:
        """The curve of precision and recall, computed by scikit-learn."""
        chart = charts.precision_recall(title, y_true, predicted_probabilities, positive_label, no_skill)
        self._entered().add_chart(chart, is_output=is_output)

    def log_roc_curve(
        self, y_true: Any, y_score: Any, title: str | None = None, is_output: bool = True
    ) -> None:
        """The curve of true and false positives, computed by scikit-learn."""
        self._entered().add_chart(charts.roc_curve(title, y_true, y_score), is_output=is_output)

    def log_confusion_matrix(
        self, y_true: Any, y_pred: Any, title: str | None = None, is_output: bool = True
    ) -> None:
        """The confusion matrix, computed by scikit-learn."""
        self._entered().add_chart(charts.confusion_matrix(title, y_true, y_pred), is_output=is_output)

    def close(self) -> None:
        """Send what is not sent yet; the end of a `with` block does so.

        Raises:
            botocore.exceptions.ClientError: The server refuses something.
        """
        self._recorder.save()

    def __enter__(self) -> Self:
        if not self._is_entered:
            if ENTERED and not self._is_loaded:
                raise RuntimeError(
                    f"It is not allowed to use nested 'with' statements on the Run: {ENTERED[-1]!r} is open. "
                    "load_run(run_name=..., experiment_name=...) may be used within it."
                )
            component = self._component
            component.start_time = component.start_time or datetime.now(UTC)
            component.status = TrialComponentStatus("InProgress", "Within a run context")
            component.save()
        ENTERED.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ENTERED.pop()
        if not self._is_entered:  # else `load_run` within the run's own block
            end(self._component, error)
        self.close()

    @property
    def _is_entered(self) -> bool:
        return any(run is self for run in ENTERED)

    def _entered(self) -> Recorder:
        if not self._is_entered:
            raise RuntimeError("This method should be called inside context of 'with' statement.")
        return self._recorder

    def __repr__(self) -> str:
        return f"<Run {self.run_name} of {self.experiment_name}>"

    def _repr_html_(self) -> str:
        return self._component._repr_html_()


def load_run(
    run_name: str | None = None,
    experiment_name: str | None = None,
    sagemaker_session: Any = None,
    artifact_bucket: str | None = None,
    artifact_prefix: str | None = None,
    tags: Any = None,
) -> Run:
    """A run that is there: the one that is named, that of the `with` block around, or that of the job this runs in.

    Args:
        run_name: The run; made when it is not there.
        experiment_name: Its experiment, needed with `run_name`.
        sagemaker_session: The session; a new one when None.
        artifact_bucket: Where files go; the session's default bucket when None.
        artifact_prefix: What their keys begin with.
        tags: Tags of what is made.

    Raises:
        ValueError: `run_name` without `experiment_name`.
        RuntimeError: Nothing is named, and there is no such block, nor a job with a run.
    """
    if run_name and not experiment_name:
        raise ValueError("Invalid input: experiment_name is missing when run_name is supplied.")
    if experiment_name and not run_name:
        logger.warning("load_run: experiment_name=%s means nothing without run_name.", experiment_name)
    if not run_name and ENTERED:
        return ENTERED[-1]
    session = session_of(sagemaker_session)
    if not run_name or not experiment_name:
        experiment_name, run_name = _of_the_job(session)
    run = Run(
        experiment_name,
        run_name,
        tags=tags,
        sagemaker_session=session,
        artifact_bucket=artifact_bucket,
        artifact_prefix=artifact_prefix,
    )
    if not run._existed:  # noqa: SLF001 - of this module
        # SageMaker's SDK makes it as well, and says nothing of it: a misspelt name goes unnoticed.
        logger.warning(
            "load_run has made the run %s of %s, which was not there.", run.run_name, experiment_name
        )
    run._is_loaded = True  # noqa: SLF001 - of this module
    return run


def _of_the_job(session: Any) -> tuple[str, str]:
    """Experiment and run of the job in which this program runs."""
    arn = own_job.arn()
    if arn is None:
        raise RuntimeError(
            "Failed to load a Run object: this is neither within a run's `with` block nor in a job. "
            "Name it: load_run(run_name=..., experiment_name=...)."
        )
    name = arn.rpartition("/")[2]
    config = session.describe_processing_job(name).get("ExperimentConfig", {})
    if not config.get("RunName"):
        raise RuntimeError(
            f"The job {name} belongs to no run: start it within a run's `with` block, or with the run's "
            "experiment_config."
        )
    experiment = config["ExperimentName"]
    return experiment, _run_of(config["RunName"], experiment)


def _run_of(component: str, experiment: str) -> str:
    """The run's name, which its component's holds after the experiment's."""
    return component.lower().removeprefix(f"{experiment.lower()}-")


def list_runs(
    experiment_name: str,
    created_before: datetime | None = None,
    created_after: datetime | None = None,
    sagemaker_session: Any = None,
    max_results: int | None = None,
    next_token: str | None = None,
    sort_by: SortByType = SortByType.CREATION_TIME,
    sort_order: SortOrderType = SortOrderType.DESCENDING,
) -> list[Run]:
    """The runs of an experiment.

    Args:
        experiment_name: The experiment.
        created_before: Only those that were made before.
        created_after: Only those that were made after.
        sagemaker_session: The session; a new one when None.
        max_results: How many components are asked for at a time; all are gone through.
        next_token: Where to begin.
        sort_by: By creation time, or by name.
        sort_order: In which direction.

    Raises:
        botocore.exceptions.ClientError: There is no such experiment.
    """
    session = session_of(sagemaker_session)
    listed = TrialComponent.list(
        experiment_name=experiment_name,
        created_before=created_before,
        created_after=created_after,
        sort_by=sort_by.value,
        sort_order=sort_order.value,
        max_results=max_results,
        next_token=next_token,
        sagemaker_session=session,
    )
    wanted = SearchExpression(
        [Filter("Parents.ExperimentName", value=experiment_name), Filter(f"Tags.{_TAG['Key']}", value="run")]
    )
    runs = {
        one.trial_component_name
        for one in TrialComponent.search(wanted, max_results=100, sagemaker_session=session)
    }
    return [
        Run._of(experiment_name, TrialComponent.load(str(name), sagemaker_session=session))  # noqa: SLF001 - of this module
        for name in (one.trial_component_name for one in listed)
        if name in runs
    ]
