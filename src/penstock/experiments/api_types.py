"""Structures of the API that lists, searches and trial components hand out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from penstock.client.shapes import ApiObject


class ExperimentSummary(ApiObject):
    """An experiment in a list."""

    experiment_arn: str | None = None
    experiment_name: str | None = None
    display_name: str | None = None
    creation_time: Any = None
    last_modified_time: Any = None


class TrialSummary(ApiObject):
    """A trial in a list."""

    trial_arn: str | None = None
    trial_name: str | None = None
    display_name: str | None = None
    creation_time: Any = None
    last_modified_time: Any = None


class TrialComponentStatus(ApiObject):
    """How far a trial component is.

    Args:
        primary_status: `InProgress`, `Completed`, `Failed`, `Stopping` or `Stopped`.
        message: More about it: one line of at most 1024 characters.
    """

    def __init__(self, primary_status: str | None = None, message: str | None = None, **more: Any) -> None:
        super().__init__(primary_status=primary_status, message=message, **more)


class TrialComponentSummary(ApiObject):
    """A trial component in a list."""

    _nested: ClassVar[Mapping[str, type[ApiObject]]] = {"status": TrialComponentStatus}

    trial_component_name: str | None = None
    trial_component_arn: str | None = None
    display_name: str | None = None
    trial_component_source: Any = None
    status: TrialComponentStatus | None = None
    start_time: Any = None
    end_time: Any = None
    creation_time: Any = None
    created_by: Any = None
    last_modified_time: Any = None
    last_modified_by: Any = None


class TrialComponentArtifact(ApiObject):
    """Something that a trial component used or made.

    Args:
        value: Where it is, or what: at most 2048 characters.
        media_type: Its MIME type.
    """

    def __init__(self, value: str | None = None, media_type: str | None = None, **more: Any) -> None:
        super().__init__(value=value, media_type=media_type, **more)


class TrialComponentMetricSummary(ApiObject):
    """What all values of a metric come to."""

    metric_name: str | None = None
    source_arn: str | None = None
    time_stamp: Any = None
    max: float | None = None
    min: float | None = None
    last: float | None = None
    count: int | None = None
    avg: float | None = None
    std_dev: float | None = None


class TrialComponentSource(ApiObject):
    """The job that a trial component is of."""

    source_arn: str | None = None
    source_type: str | None = None


class ExperimentSearchResult(ApiObject):
    """An experiment that was found."""

    experiment_arn: str | None = None
    experiment_name: str | None = None
    display_name: str | None = None
    source: Any = None
    tags: Any = None


class TrialSearchResult(ApiObject):
    """A trial that was found."""

    trial_arn: str | None = None
    trial_name: str | None = None
    display_name: str | None = None
    experiment_name: str | None = None
    source: Any = None
    tags: Any = None
    trial_component_summaries: Any = None


class TrialComponentSearchResult(ApiObject):
    """A trial component that was found; its members are as in the API."""

    trial_component_arn: str | None = None
    trial_component_name: str | None = None
    display_name: str | None = None
    source: Any = None
    status: Any = None
    start_time: Any = None
    end_time: Any = None
    parameters: Any = None
    input_artifacts: Any = None
    output_artifacts: Any = None
    metrics: Any = None
    source_detail: Any = None
    tags: Any = None
    parents: Any = None
