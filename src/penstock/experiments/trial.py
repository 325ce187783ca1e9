"""Trial: one go at what an experiment is about, made of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from penstock.client.entity import Entity, unique_name
from penstock.client.names import tag_list
from penstock.experiments import api_types
from penstock.experiments.search_expression import SearchExpression
from penstock.experiments.trial_component import TrialComponent

if TYPE_CHECKING:
    from penstock.experiments.tracker import Tracker

    #: What names a trial component.
    Component: TypeAlias = str | TrialComponent | Tracker | api_types.TrialComponentSummary

#: What `delete_all` wants to hear.
FORCE = "--force"


class Trial(Entity):
    """A trial of an experiment. A notebook shows it with its components.

    Attributes:
        trial_name: Its name, which no other one has.
        experiment_name: The experiment that it is in.
        display_name: What is shown for it.
        tags: Tags that it was made with.
    """

    trial_name: str
    trial_arn: str
    experiment_name: str
    display_name: str | None = None
    tags: Any = None

    _kind: ClassVar[str] = "trial"
    _resource: ClassVar[str] = "ExperimentTrial"
    _saved: ClassVar[tuple[str, ...]] = ("trial_name", "display_name")

    @classmethod
    def load(
        cls, trial_name: str, sagemaker_boto_client: Any = None, *, sagemaker_session: Any = None
    ) -> Self:
        """The trial of that name.

        Args:
            trial_name: The name.
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.

        Raises:
            botocore.exceptions.ClientError: There is none: `ResourceNotFound`.
        """
        return cls._load(sagemaker_boto_client or sagemaker_session, trial_name)

    @classmethod
    def create(
        cls,
        experiment_name: str,
        trial_name: str | None = None,
        sagemaker_boto_client: Any = None,
        trial_components: Sequence[Component] | None = None,
        tags: Any = None,
        *,
        display_name: str | None = None,
        sagemaker_session: Any = None,
    ) -> Self:
        """Make one.

        Args:
            experiment_name: The experiment that it is in.
            trial_name: Its name; one with the time when None.
            sagemaker_boto_client: A boto3 client for SageMaker.
            trial_components: Components that are put into it.
            tags: Tags, a list of Key and Value, or a mapping.
            display_name: What is shown for it; the name when None.
            sagemaker_session: A session instead of the client.

        Raises:
            botocore.exceptions.ClientError: There is no such experiment (`ResourceNotFound`), or the name is
                taken (`ValidationException`).
        """
        made = cls._create(
            sagemaker_boto_client or sagemaker_session,
            trial_name=trial_name or unique_name("Trial"),
            experiment_name=experiment_name,
            display_name=display_name,
            tags=tag_list(tags),
        )
        for component in trial_components or ():
            made.add_trial_component(component)
        return made

    @classmethod
    def list(
        cls,
        experiment_name: str | None = None,
        trial_component_name: str | None = None,
        created_before: Any = None,
        created_after: Any = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        sagemaker_boto_client: Any = None,
        *,
        sagemaker_session: Any = None,
    ) -> Iterator[api_types.TrialSummary]:
        """Those of an experiment, those that a component is in, or all.

        Args:
            experiment_name: An experiment.
            trial_component_name: A component.
            created_before: A datetime.
            created_after: A datetime.
            sort_by: `Name` or `CreationTime` (the default).
            sort_order: `Ascending` or `Descending` (the default).
            sagemaker_boto_client: A boto3 client for SageMaker.
            sagemaker_session: Or a session.
        """
        return cls._list(
            sagemaker_boto_client or sagemaker_session,
            api_types.TrialSummary,
            experiment_name=experiment_name,
            trial_component_name=trial_component_name,
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
    ) -> Iterator[api_types.TrialSearchResult]:
        """Those that fulfil conditions; the arguments are those of `TrialComponent.search`."""
        return cls._search(
            sagemaker_boto_client or sagemaker_session,
            api_types.TrialSearchResult,
            search_expression,
            sort_by=sort_by,
            sort_order=sort_order,
            max_results=max_results,
        )

    def add_trial_component(self, tc: Component) -> None:
        """Put a component into it: by its name, or a TrialComponent, a Tracker or a summary of one.

        Raises:
            botocore.exceptions.ClientError: One of the two is not there.
        """
        self.sagemaker_boto_client.associate_trial_component(
            TrialName=self.trial_name, TrialComponentName=_name(tc)
        )

    def remove_trial_component(self, tc: Component) -> None:
        """Take a component out of it, which stays in other trials.

        Raises:
            botocore.exceptions.ClientError: One of the two is not there.
        """
        self.sagemaker_boto_client.disassociate_trial_component(
            TrialName=self.trial_name, TrialComponentName=_name(tc)
        )

    def list_trial_components(
        self,
        created_before: Any = None,
        created_after: Any = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        max_results: int | None = None,
        next_token: str | None = None,
    ) -> Iterator[api_types.TrialComponentSummary]:
        """The components in it; the arguments are those of `TrialComponent.list`."""
        return TrialComponent.list(
            trial_name=self.trial_name,
            created_before=created_before,
            created_after=created_after,
            sort_by=sort_by,
            sort_order=sort_order,
            max_results=max_results,
            next_token=next_token,
            sagemaker_session=self.sagemaker_session,
        )

    def delete_all(self, action: str) -> None:
        """Remove it with all its components, which are taken out of other trials too.

        Args:
            action: `--force`, to say that this is meant.

        Raises:
            ValueError: Something else was said.
            botocore.exceptions.ClientError: Somebody else puts components into it at the same time.
        """
        must_force(action, f"trial {self.trial_name} and its trial components")
        for one in (*self.list_trial_components(),):
            TrialComponent(self.sagemaker_session, trial_component_name=one.trial_component_name).delete(
                force_disassociate=True
            )
        self.delete()

    def _repr_html_(self) -> str:
        from penstock.client import experiment_look  # noqa: PLC0415 - for notebooks

        return experiment_look.trial(self.sagemaker_boto_client, self.trial_name)


def must_force(action: str, what: str) -> None:
    """Refuse to remove a whole tree by accident.

    Raises:
        ValueError: `action` is not `--force`.
    """
    if action != FORCE:
        raise ValueError(f"The {what} would be deleted for good: say delete_all({FORCE!r}) if you mean it.")


def _name(component: Component) -> str:
    component = getattr(component, "trial_component", component)  # a Tracker has one
    return str(getattr(component, "trial_component_name", component))
