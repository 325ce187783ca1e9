"""Writes down what a program tells of a trial component: parameters, artifacts, files and metrics."""

from __future__ import annotations

import logging
import math
import mimetypes
import time
from collections.abc import Mapping
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.client.entity import client_of, is_there_already, pages, unique_name
from penstock.client.names import s3_path_join
from penstock.errors import PenstockError
from penstock.experiments.api_types import TrialComponentArtifact

if TYPE_CHECKING:
    from penstock.experiments.trial_component import TrialComponent

logger = logging.getLogger("penstock")

#: Where in the bucket artifacts lie, unless the user says so.
PREFIX = "trial-component-artifacts"

#: How many values one BatchPutMetrics takes.
_BATCH = 10
#: How old and how far ahead a value may be, in seconds: else the service refuses it.
_OLDEST, _NEWEST = 14 * 86400, 2 * 3600
#: How many artifacts of either direction SageMaker's SDKs put into one component.
_ARTIFACTS = 30
#: How long an artifact's name may be in the lineage.
_LONGEST_NAME = 120


class Recorder:
    """What is to be written down of a component; `save` sends it.

    Args:
        component: The component, whose parameters and artifacts grow.
        bucket: Where files go; the session's default bucket when None.
        prefix: What their keys begin with; the component's name follows.
    """

    def __init__(
        self, component: TrialComponent, bucket: str | None = None, prefix: str | None = None
    ) -> None:
        self.component = component
        self.parameters: dict[str, Any] = component.parameters or {}
        self.inputs: dict[str, TrialComponentArtifact] = component.input_artifacts or {}
        self.outputs: dict[str, TrialComponentArtifact] = component.output_artifacts or {}
        self._bucket, self._prefix = bucket, prefix or PREFIX
        self._metrics: list[dict[str, Any]] = []
        self._made: list[tuple[str, str, str | None, str, bool]] = []

    def add_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Numbers and texts; those that are no number at all are left out, with a warning."""
        self.parameters.update(
            {name: value for name, value in parameters.items() if _is_valid("parameter", name, value)}
        )

    def add_artifact(self, name: str, value: str, media_type: str | None, *, is_output: bool) -> None:
        """Something that the component used or made, by its place.

        Raises:
            ValueError: There are too many already.
        """
        held, kind = (self.outputs, "output") if is_output else (self.inputs, "input")
        if name not in held and len(held) >= _ARTIFACTS:
            raise ValueError(
                f"The trial component {self.component.trial_component_name} has {_ARTIFACTS} {kind} artifacts, "
                f"and no room for {name}: log a folder's place instead of its files."
            )
        held[name] = TrialComponentArtifact(value, media_type=media_type)

    def add_file(
        self,
        path: str,
        name: str | None,
        media_type: str | None,
        *,
        is_output: bool,
        extra_args: Mapping[str, Any] | None = None,
    ) -> None:
        """A local file, which is uploaded and becomes an artifact.

        Raises:
            ValueError: There is no such file, or there are too many artifacts.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise ValueError(f"{path} does not exist or is not a file. Please supply a file path.")
        media_type = media_type or mimetypes.guess_type(file.name, strict=False)[0]
        name = name or file.name
        session = self.component.sagemaker_session
        uri = session.upload_data(
            str(file), bucket=self._bucket, key_prefix=self._folder, extra_args=extra_args
        )
        self.add_artifact(name, uri, media_type, is_output=is_output)
        self._add_to_lineage(name, uri, media_type or "Tracker", is_output=is_output)

    def add_chart(self, chart: Mapping[str, Any], *, is_output: bool) -> None:
        """A table or curve, which is stored as JSON and becomes an artifact of the lineage alone."""
        import json  # noqa: PLC0415 - keeps the import light

        name = chart["title"] or unique_name(chart["type"])
        session = self.component.sagemaker_session
        bucket = self._bucket or session.default_bucket()
        key = f"{self._folder}/{name}.json"
        uri = session.upload_string_as_file_body(json.dumps(chart), bucket, key)
        self._add_to_lineage(name, uri, chart["type"], is_output=is_output)

    def add_metric(self, name: str, value: float, timestamp: Any = None, step: int | None = None) -> None:
        """A value of a metric. Ten are sent at a time, the last by `save`.

        Args:
            name: The metric.
            value: The value; what is no number at all is left out, with a warning.
            timestamp: When it was measured: a datetime, or seconds since the epoch; now when None.
            step: Of how many the value is, as the number of an epoch.

        Raises:
            ValueError: The value, the step or the time can't be.
            PenstockError: The server has not stored a value.
        """
        if not _is_valid("metric", name, value):
            return
        if step is not None and not isinstance(step, int):
            raise ValueError(f"The step of a metric is an int: {name} has {step!r}.")
        now = time.time()
        timestamp = now if timestamp is None else timestamp
        at = timestamp.timestamp() if isinstance(timestamp, datetime) else float(timestamp)
        if not now - _OLDEST <= at <= now + _NEWEST:
            raise ValueError(
                f"Supplied timestamp {at} of {name} is invalid. "
                "Timestamps must be between two weeks before and two hours from now."
            )
        one = {"MetricName": name, "Value": float(value), "Timestamp": at}
        self._metrics.append(one if step is None else {**one, "Step": step})
        if len(self._metrics) >= _BATCH:
            self._send_metrics()

    def save(self) -> None:
        """Send all that is not sent yet.

        Raises:
            botocore.exceptions.ClientError: The server refuses something.
            PenstockError: The server has not stored a value of a metric.
        """
        component = self.component
        component.parameters, component.input_artifacts = self.parameters, self.inputs
        component.output_artifacts = self.outputs
        try:
            component.save()
            while self._made:
                self._make_artifact(*self._made.pop(0))
        finally:  # whatever of the component was refused, what was measured is kept
            self._send_metrics()

    @property
    def _folder(self) -> str:
        session = self.component.sagemaker_session
        own = None if self._bucket else getattr(session, "default_bucket_prefix", None)
        return s3_path_join(own, self._prefix, self.component.trial_component_name)

    def _send_metrics(self) -> None:
        batch, self._metrics = self._metrics, []
        if not batch:
            return
        name = self.component.trial_component_name.lower()  # the service takes no other letters
        client = self.component.sagemaker_session.sagemaker_metrics_client
        told = client.batch_put_metrics(TrialComponentName=name, MetricData=batch)
        if errors := told.get("Errors"):
            first = errors[0]
            raise PenstockError(
                f"{len(errors)} of {len(batch)} values of metrics of the trial component {name} were not stored, "
                f"among them {batch[first['MetricIndex']]['MetricName']}: {first['Code']}."
            )

    def _add_to_lineage(self, name: str, uri: str, kind: str, *, is_output: bool) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        session = self.component.sagemaker_session
        client = session.s3_client or session.boto_session.client("s3")
        head = client.head_object(Bucket=bucket, Key=key)
        self._made.append((name[:_LONGEST_NAME], uri, head.get("ETag"), kind, is_output))

    def _make_artifact(self, name: str, uri: str, etag: str | None, kind: str, is_output: bool) -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

        client = client_of(self.component.sagemaker_session)
        component = self.component.trial_component_arn
        types = [{"SourceIdType": "S3ETag", "Value": etag}] if etag else []
        try:
            artifact = client.create_artifact(
                ArtifactName=name, ArtifactType=kind, Source={"SourceUri": uri, "SourceTypes": types}
            )["ArtifactArn"]
        except ClientError as error:
            if not is_there_already(error):
                raise
            found = self._made_before(uri, etag)
            if found is None:  # by somebody else, of whom a job's program is not told
                logger.warning(
                    "%s is an artifact of somebody else's already, and %s is not associated with it: %s",
                    uri, component, error,
                )  # fmt: skip
                return
            artifact = found
        source, destination, how = (
            (component, artifact, "Produced") if is_output else (artifact, component, "ContributedTo")
        )
        try:
            client.add_association(SourceArn=source, DestinationArn=destination, AssociationType=how)
        except ClientError as error:
            if not is_there_already(error):
                raise

    def _made_before(self, uri: str, etag: str | None) -> str | None:
        """The ARN of the artifact of that file, with that content; None: there is none that we are told of."""
        client = client_of(self.component.sagemaker_session)
        listed = pages(client.list_artifacts, "ArtifactSummaries", SourceUri=uri, MaxResults=100)
        return next((one["ArtifactArn"] for one in listed if _is_of(one, etag)), None)


def _is_of(artifact: Mapping[str, Any], etag: str | None) -> bool:
    """Whether an artifact is of that content of its file: there is one for each that was logged."""
    return {one["Value"] for one in artifact["Source"].get("SourceTypes") or ()} == (
        {etag} if etag else set()
    )


def _is_valid(kind: str, name: str, value: Any) -> bool:
    if isinstance(value, Real) and not math.isfinite(value):
        logger.warning("The %s %s is left out: %s is no number that can be kept.", kind, name, value)
        return False
    return True
