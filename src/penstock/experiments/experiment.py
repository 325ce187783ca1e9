"""Experiment: trials of one thing, to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from penstock.client.entity import Entity, unique_name
from penstock.client.names import tag_list
from penstock.experiments import api_types
from penstock.experiments.search_expression import SearchExpression
from penstock.experiments.trial import Trial, must_force


class Experiment(Entity):
    """An experiment. A notebook shows it with its trials and their components.

    Attributes:
        experiment_name: Its name, which no other one has.
        display_name: What is shown for it.
        description: What it is about.
        tags: Tags that it was made with.
    """

    experiment_name: str
    experiment_arn: str
    display_name: str | None = None
    description: str | None = None
    tags: Any = None

    _kind: ClassVar[str] = "experiment"
    _resource: ClassVar[str] = "Experiment"
    _saved: ClassVar[tuple[str, ...]] = ("experiment_name", "description", "display_name")

    @classmethod
    def load(
        cls, experiment_name: str, sagemaker_boto_client: Any = None, *, sagemaker_session: Any = None
    ) -> Self:
        """The experiment of that name.

        Args:
            experiment_name: The name.
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.

        Raises:
            botocore.exceptions.ClientError: There is none: `ResourceNotFound`.
        """
        return cls._load(sagemaker_boto_client or sagemaker_session, experiment_name)

    @classmethod
    def create(
        cls,
        experiment_name: str,
        description: str | None = None,
        tags: Any = None,
        sagemaker_boto_client: Any = None,
        *,
        display_name: str | None = None,
        sagemaker_session: Any = None,
    ) -> Self:
        """Make one.

        Args:
            experiment_name: Its name.
            description: What it is about, at most 3072 characters.
            tags: Tags, a list of Key and Value, or a mapping.
            sagemaker_boto_client: A boto3 client for SageMaker.
            display_name: What is shown for it; the name when None.
            sagemaker_session: A session instead of the client.

        Raises:
            botocore.exceptions.ClientError: The name is taken: `ValidationException`.
        """
        return cls._create(
            sagemaker_boto_client or sagemaker_session,
            experiment_name=experiment_name,
            display_name=display_name,
            description=description,
            tags=tag_list(tags),
        )

    @classmethod
    def list(
        cls,
        created_before: Any = None,
        created_after: Any = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        sagemaker_boto_client: Any = None,
        *,
        sagemaker_session: Any = None,
    ) -> Iterator[api_types.ExperimentSummary]:
        """All experiments.

        Args:
            created_before: A datetime.
            created_after: A datetime.
            sort_by: `Name` or `CreationTime` (the default).
            sort_order: `Ascending` or `Descending` (the default).
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.
        """
        return cls._list(
            sagemaker_boto_client or sagemaker_session,
            api_types.ExperimentSummary,
            created_before=created_before,
            created_after=created_after,
            sort_by=sort_by,
            sort_order=sort_order,
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
    ) -> Iterator[api_types.ExperimentSearchResult]:
        """Those that fulfil conditions; the arguments are those of `TrialComponent.search`."""
        return cls._search(
            sagemaker_boto_client or sagemaker_session,
            api_types.ExperimentSearchResult,
            search_expression,
            sort_by=sort_by,
            sort_order=sort_order,
            max_results=max_results,
        )

    def list_trials(
        self,
        created_before: Any = None,
        created_after: Any = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
    ) -> Iterator[api_types.TrialSummary]:
        """The trials in it; the arguments are those of `Trial.list`."""
        return Trial.list(
            experiment_name=self.experiment_name,
            created_before=created_before,
            created_after=created_after,
            sort_by=sort_by,
            sort_order=sort_order,
            sagemaker_session=self.sagemaker_session,
        )

    def create_trial(self, trial_name: str | None = None, trial_name_prefix: str = "SageMakerTrial") -> Trial:
        """Make a trial in it.

        Args:
            trial_name: The trial's name.
            trial_name_prefix: Or what its name begins with; the time follows.

        Raises:
            botocore.exceptions.ClientError: The name is taken: `ValidationException`.
        """
        return Trial.create(
            experiment_name=self.experiment_name,
            trial_name=trial_name or unique_name(trial_name_prefix),
            sagemaker_session=self.sagemaker_session,
        )

    def dataframe(self, **options: Any) -> Any:
        """Its components as a pandas DataFrame, one a row, with their parameters, metrics and artifacts.

        Args:
            **options: Those of `penstock.analytics.ExperimentAnalytics`, as `sort_by` or `metric_names`.

        Raises:
            ImportError: pandas is not installed.
        """
        from penstock.analytics import ExperimentAnalytics  # noqa: PLC0415 - keeps the import light

        return ExperimentAnalytics(
            self.experiment_name, sagemaker_session=self.sagemaker_session, **options
        ).dataframe()

    def delete_all(self, action: str) -> None:
        """Remove it with all its trials and their components.

        Args:
            action: `--force`, to say that this is meant.

        Raises:
            ValueError: Something else was said.
            botocore.exceptions.ClientError: Somebody else adds to it at the same time.
        """
        must_force(action, f"experiment {self.experiment_name}, its trials and their trial components")
        for one in (*self.list_trials(),):
            Trial(self.sagemaker_session, trial_name=one.trial_name).delete_all(action)
        self.delete()

    def _repr_html_(self) -> str:
        from penstock.client import experiment_look  # noqa: PLC0415 - for notebooks

        return experiment_look.experiment(self.sagemaker_boto_client, self.experiment_name)
