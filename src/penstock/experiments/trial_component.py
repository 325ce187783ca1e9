"""TrialComponent: what one step of a trial used, measured and made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

from penstock.client.entity import Entity
from penstock.client.names import tag_list
from penstock.client.shapes import ApiObject
from penstock.experiments import api_types
from penstock.experiments.search_expression import SearchExpression


def value_of(parameter: Mapping[str, Any]) -> Any:
    """The number or the text that a parameter of the API holds."""
    return parameter.get("NumberValue", parameter.get("StringValue"))


def _parameter(value: Any) -> dict[str, Any]:
    # numpy's numbers are numbers too, but none that JSON knows.
    return {"NumberValue": float(value)} if isinstance(value, Real) else {"StringValue": str(value)}


def _artifacts(told: Mapping[str, Any]) -> dict[str, api_types.TrialComponentArtifact]:
    return {name: api_types.TrialComponentArtifact.from_boto(one) for name, one in told.items()}


class TrialComponent(Entity):
    """A trial component. A job with an ExperimentConfig has one, others are made by hand or by a Tracker or a Run.

    Attributes:
        trial_component_name: Its name, which no other one has.
        display_name: What is shown for it.
        parameters: Values by name: numbers and texts.
        input_artifacts: By name what it used, each a `TrialComponentArtifact`.
        output_artifacts: By name what it made.
        metrics: What its metrics come to, each a `TrialComponentMetricSummary`.
        parameters_to_remove: Names that `save` removes; so of both kinds of artifacts.
        tags: Tags that it was made with.
    """

    trial_component_name: str
    trial_component_arn: str
    display_name: str | None = None
    source: api_types.TrialComponentSource | None = None
    status: api_types.TrialComponentStatus | None = None
    start_time: Any = None
    end_time: Any = None
    creation_time: Any = None
    created_by: Any = None
    last_modified_time: Any = None
    last_modified_by: Any = None
    parameters: dict[str, Any] | None = None
    input_artifacts: dict[str, api_types.TrialComponentArtifact] | None = None
    output_artifacts: dict[str, api_types.TrialComponentArtifact] | None = None
    metrics: Sequence[api_types.TrialComponentMetricSummary] | None = None
    parameters_to_remove: Sequence[str] | None = None
    input_artifacts_to_remove: Sequence[str] | None = None
    output_artifacts_to_remove: Sequence[str] | None = None
    tags: Any = None

    _kind: ClassVar[str] = "trial_component"
    _resource: ClassVar[str] = "ExperimentTrialComponent"
    _saved: ClassVar[tuple[str, ...]] = (
        "trial_component_name",
        "display_name",
        "status",
        "start_time",
        "end_time",
        "parameters",
        "input_artifacts",
        "output_artifacts",
        "parameters_to_remove",
        "input_artifacts_to_remove",
        "output_artifacts_to_remove",
    )
    _readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "source": api_types.TrialComponentSource.from_boto,
        "status": api_types.TrialComponentStatus.from_boto,
        "parameters": lambda told: {name: value_of(one) for name, one in told.items()},
        "input_artifacts": _artifacts,
        "output_artifacts": _artifacts,
        "metrics": lambda told: [api_types.TrialComponentMetricSummary.from_boto(one) for one in told],
    }

    @classmethod
    def load(
        cls, trial_component_name: str, sagemaker_boto_client: Any = None, *, sagemaker_session: Any = None
    ) -> Self:
        """The trial component of that name, or of that ARN.

        Args:
            trial_component_name: The name.
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.

        Raises:
            botocore.exceptions.ClientError: There is none: `ResourceNotFound`.
        """
        return cls._load(sagemaker_boto_client or sagemaker_session, trial_component_name)

    @classmethod
    def create(
        cls,
        trial_component_name: str,
        display_name: str | None = None,
        tags: Any = None,
        sagemaker_boto_client: Any = None,
        *,
        sagemaker_session: Any = None,
    ) -> Self:
        """Make one.

        Args:
            trial_component_name: Its name.
            display_name: What is shown for it; the name when None.
            tags: Tags, a list of Key and Value, or a mapping.
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.

        Raises:
            botocore.exceptions.ClientError: The name is taken: `ValidationException`.
        """
        return cls._create(
            sagemaker_boto_client or sagemaker_session,
            trial_component_name=trial_component_name,
            display_name=display_name,
            tags=tag_list(tags),
        )

    @classmethod
    def list(
        cls,
        source_arn: str | None = None,
        created_before: Any = None,
        created_after: Any = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        sagemaker_boto_client: Any = None,
        trial_name: str | None = None,
        experiment_name: str | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
        *,
        sagemaker_session: Any = None,
    ) -> Iterator[api_types.TrialComponentSummary]:
        """Those of a job, of a trial or of an experiment, or all.

        Args:
            source_arn: The ARN of a job.
            created_before: A datetime.
            created_after: A datetime.
            sort_by: `Name` or `CreationTime` (the default).
            sort_order: `Ascending` or `Descending` (the default).
            sagemaker_boto_client: A boto3 client for SageMaker.
            trial_name: A trial.
            experiment_name: An experiment.
            max_results: How many are asked for at a time; all are handed out.
            next_token: Where to begin.
            sagemaker_session: A session instead of the client.
        """
        return cls._list(
            sagemaker_boto_client or sagemaker_session,
            api_types.TrialComponentSummary,
            source_arn=source_arn,
            created_before=created_before,
            created_after=created_after,
            sort_by=sort_by,
            sort_order=sort_order,
            trial_name=trial_name,
            experiment_name=experiment_name,
            max_results=max_results,
            next_token=next_token,
        )

    @classmethod
    def search(
        cls,
        search_expression: SearchExpression | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        max_results: int | None = None,
        sagemaker_boto_client: Any = None,
        *,
        sagemaker_session: Any = None,
    ) -> Iterator[api_types.TrialComponentSearchResult]:
        """Those that fulfil conditions.

        Args:
            search_expression: The conditions; all components when None.
            sort_by: A property; `LastModifiedTime` when None.
            sort_order: `Ascending` or `Descending` (the default).
            max_results: How many are asked for at a time; all are handed out.
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.
        """
        return cls._search(
            sagemaker_boto_client or sagemaker_session,
            api_types.TrialComponentSearchResult,
            search_expression,
            sort_by=sort_by,
            sort_order=sort_order,
            max_results=max_results,
        )

    def list_trials(self) -> Iterator[api_types.TrialSummary]:
        """The trials that it is in."""
        from penstock.experiments.trial import Trial  # noqa: PLC0415 - that one imports this one

        return Trial.list(
            trial_component_name=self.trial_component_name, sagemaker_session=self.sagemaker_session
        )

    def delete(self, force_disassociate: bool | None = None) -> Self:
        """Remove it from the server.

        Args:
            force_disassociate: Take it out of all its trials first.

        Raises:
            botocore.exceptions.ClientError: It is not there, or in a trial.
        """
        # All trials are listed before the first is left: pages would shift under our feet.
        for trial in (*self.list_trials(),) if force_disassociate else ():
            self.sagemaker_boto_client.disassociate_trial_component(
                TrialName=trial.trial_name, TrialComponentName=self.trial_component_name
            )
        return super().delete()

    @classmethod
    def _request(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        request = super()._request(members)
        if "Parameters" in request:
            request["Parameters"] = {name: _parameter(one) for name, one in request["Parameters"].items()}
        for member in {"InputArtifacts", "OutputArtifacts"} & request.keys():
            request[member] = {name: ApiObject.to_boto(one) for name, one in request[member].items()}
        if "Status" in request:
            request["Status"] = ApiObject.to_boto(request["Status"])
        return request

    def _repr_html_(self) -> str:
        from penstock.client import experiment_look  # noqa: PLC0415 - for notebooks

        return experiment_look.component(self.sagemaker_boto_client, self.trial_component_name)
