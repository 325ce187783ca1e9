"""Tracker: writes down, in a trial component, what a program does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock.client import own_job
from penstock.client.entity import unique_name
from penstock.experiments import charts
from penstock.experiments.api_types import TrialComponentStatus
from penstock.experiments.recorder import Recorder
from penstock.experiments.trial_component import TrialComponent
from penstock.session import Session


class Tracker:
    """Writes to a trial component: within a `with` block, or until `close`, which sends what was told.

    A `with` block also gives the component its times and status (`Failed` after an exception), unless it is that of
    the job in which the program runs, which has its own.

    Attributes:
        trial_component: The component.
    """

    def __init__(self, trial_component: TrialComponent, recorder: Recorder, *, in_job: bool = False) -> None:
        self.trial_component = trial_component
        self._recorder = recorder
        self._in_job = in_job

    @classmethod
    def load(
        cls,
        trial_component_name: str | None = None,
        artifact_bucket: str | None = None,
        artifact_prefix: str | None = None,
        boto3_session: Any = None,
        sagemaker_boto_client: Any = None,
        training_job_name: str | None = None,
        processing_job_name: str | None = None,
        *,
        sagemaker_session: Any = None,
    ) -> Self:
        """A tracker of a component that is there: of that name, of a job, or of the job in which this runs.

        Args:
            trial_component_name: The component.
            artifact_bucket: Where files go; the session's default bucket when None.
            artifact_prefix: What their keys begin with.
            boto3_session: A boto3 session.
            sagemaker_boto_client: A boto3 client for SageMaker.
            training_job_name: A job that has one.
            processing_job_name: The same.
            sagemaker_session: A session instead of the two of boto3.

        Raises:
            ValueError: Nothing was named, and this is no job, or one without a component.
            botocore.exceptions.ClientError: There is no such component.
        """
        session = _session(sagemaker_session, boto3_session, sagemaker_boto_client)
        name = trial_component_name
        if not name and training_job_name:
            name = f"{training_job_name}-aws-training-job"
        if not name and processing_job_name:
            name = f"{processing_job_name}-aws-processing-job"
        if not name:
            name = _own_component(session)
        component = TrialComponent.load(name, sagemaker_session=session)
        return cls(
            component, Recorder(component, artifact_bucket, artifact_prefix), in_job=own_job.arn() is not None
        )

    @classmethod
    def create(
        cls,
        base_trial_component_name: str = "TrialComponent",
        display_name: str | None = None,
        artifact_bucket: str | None = None,
        artifact_prefix: str | None = None,
        boto3_session: Any = None,
        sagemaker_boto_client: Any = None,
        *,
        sagemaker_session: Any = None,
    ) -> Self:
        """A tracker of a new component, which is in no trial yet (`Trial.add_trial_component`).

        Args:
            base_trial_component_name: What its name begins with; the time follows.
            display_name: What is shown for it.
            artifact_bucket: Where files go; the session's default bucket when None.
            artifact_prefix: What their keys begin with.
            boto3_session: A boto3 session.
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: A session instead of the two of boto3.
        """
        session = _session(sagemaker_session, boto3_session, sagemaker_boto_client)
        component = TrialComponent.create(
            unique_name(base_trial_component_name), display_name=display_name, sagemaker_session=session
        )
        return cls(component, Recorder(component, artifact_bucket, artifact_prefix))

    def log_parameter(self, name: str, value: Any) -> None:
        """A number or a text that the program was given."""
        self._recorder.add_parameters({name: value})

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """The same, several by their names."""
        self._recorder.add_parameters(parameters)

    def log_input(self, name: str, value: str, media_type: str | None = None) -> None:
        """Something that was used, by its place. Raises a ValueError when there are 30 already."""
        self._recorder.add_artifact(name, value, media_type, is_output=False)

    def log_output(self, name: str, value: str, media_type: str | None = None) -> None:
        """Something that was made, by its place. Raises a ValueError when there are 30 already."""
        self._recorder.add_artifact(name, value, media_type, is_output=True)

    def log_artifact(self, file_path: str, name: str | None = None, media_type: str | None = None) -> None:
        """The same as `log_output_artifact`."""
        self.log_output_artifact(file_path, name, media_type)

    def log_artifacts(self, directory: str, media_type: str | None = None) -> None:
        """Each file of a folder as an output, by its name without the ending."""
        for file in sorted(Path(directory).iterdir()):
            self.log_output_artifact(str(file), file.stem, media_type)

    def log_output_artifact(
        self, file_path: str, name: str | None = None, media_type: str | None = None
    ) -> None:
        """Upload a file that was made.

        Args:
            file_path: The file.
            name: Of the artifact; the file's when None.
            media_type: Its MIME type; guessed from the name when None.

        Raises:
            ValueError: There is no such file, or there are 30 artifacts already.
        """
        self._recorder.add_file(file_path, name, media_type, is_output=True)

    def log_input_artifact(
        self, file_path: str, name: str | None = None, media_type: str | None = None
    ) -> None:
        """Upload a file that was used; the arguments are those of `log_output_artifact`."""
        self._recorder.add_file(file_path, name, media_type, is_output=False)

    def log_metric(
        self, metric_name: str, value: float, timestamp: Any = None, iteration_number: int | None = None
    ) -> None:
        """A value of a metric, wherever the program runs; ten are sent at a time.

        Args:
            metric_name: The metric.
            value: The value.
            timestamp: A datetime, or seconds since the epoch; now when None.
            iteration_number: Of which step it is.

        Raises:
            ValueError: The value, the step or the time can't be.
            PenstockError: The server has not stored a value.
        """
        self._recorder.add_metric(metric_name, value, timestamp, iteration_number)

    def log_table(
        self,
        title: str | None = None,
        values: Mapping[str, Sequence[Any]] | None = None,
        data_frame: Any = None,
        output_artifact: bool = True,
    ) -> None:
        """A table, of lists by the names of their columns or of a DataFrame."""
        self._recorder.add_chart(charts.table(title, values, data_frame), is_output=output_artifact)

    def log_precision_recall(
        self,
        y_true: Any,
        predicted_probabilities: Any,
        positive_label: Any = None,
        title: str | None = None,
        output_artifact: bool = True,
        no_skill: Any = None,
    ) -> None:
        """The curve of precision and recall, computed by scikit-learn."""
        chart = charts.precision_recall(title, y_true, predicted_probabilities, positive_label, no_skill)
        self._recorder.add_chart(chart, is_output=output_artifact)

    def log_roc_curve(
        self, y_true: Any, y_score: Any, title: str | None = None, output_artifact: bool = True
    ) -> None:
        """The curve of true and false positives, computed by scikit-learn."""
        self._recorder.add_chart(charts.roc_curve(title, y_true, y_score), is_output=output_artifact)

    def log_confusion_matrix(
        self, y_true: Any, y_pred: Any, title: str | None = None, output_artifact: bool = True
    ) -> None:
        """The confusion matrix, computed by scikit-learn."""
        self._recorder.add_chart(charts.confusion_matrix(title, y_true, y_pred), is_output=output_artifact)

    def __repr__(self) -> str:
        return f"<Tracker of {self.trial_component.trial_component_name}>"

    def _repr_html_(self) -> str:
        return self.trial_component._repr_html_()

    def close(self) -> None:
        """Send what is not sent yet.

        Raises:
            botocore.exceptions.ClientError: The server refuses something.
        """
        self._recorder.save()

    def __enter__(self) -> Self:
        if not self._in_job:
            self.trial_component.start_time = datetime.now(UTC)
            self.trial_component.status = TrialComponentStatus("InProgress")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._in_job:
            end(self.trial_component, error)
        self.close()


def end(component: TrialComponent, error: BaseException | None) -> None:
    """Give a component its end: `Failed`, with what `error` says, or `Completed`."""
    component.end_time = datetime.now(UTC)
    # One line: the service takes no other message, and that of a job that failed holds the last lines of its log.
    told = " ".join(str(error).split()) or type(error).__name__
    failed = TrialComponentStatus("Failed", told[:1024])
    component.status = TrialComponentStatus("Completed") if error is None else failed


def _session(given: Any, boto_session: Any, client: Any) -> Session:
    return given if given is not None else Session(boto_session, client)


def _own_component(session: Session) -> str:
    """The name of the component of the job in which this program runs."""
    arn = own_job.arn()
    if arn is None:
        raise ValueError("Could not load TrialComponent. Specify a trial_component_name or invoke create().")
    found = next(TrialComponent.list(source_arn=arn, sagemaker_session=session), None)
    if found is None or found.trial_component_name is None:
        raise ValueError(f"The job {arn} has no trial component: start it with an experiment_config.")
    return found.trial_component_name
