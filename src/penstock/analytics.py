"""ExperimentAnalytics: the trial components of an experiment as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from penstock.client.entity import client_of, pages, session_of
from penstock.experiments.trial_component import value_of

#: What a metric's values come to.
_STATISTICS = ("Min", "Max", "Avg", "StdDev", "Last", "Count")


class ExperimentAnalytics:
    """Trial components that a search finds, one a row.

    Args:
        experiment_name: Only those of an experiment.
        search_expression: Only those that fulfil conditions, as a dict in the API's words.
        sort_by: A property, as `Metrics.mse.Last`; `LastModifiedTime` when None.
        sort_order: `Ascending` or `Descending` (the default).
        metric_names: The metrics that get columns; all when None.
        parameter_names: The parameters that get columns; all when None.
        sagemaker_session: The session; a new one when None.
        input_artifact_names: The input artifacts that get columns; all when None.
        output_artifact_names: The output artifacts that get columns; all when None.

    Raises:
        ValueError: Neither an experiment nor conditions were given.
    """

    #: More rows than these are left out.
    MAX_TRIAL_COMPONENTS = 10000

    def __init__(
        self,
        experiment_name: str | None = None,
        search_expression: Mapping[str, Any] | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        metric_names: Sequence[str] | None = None,
        parameter_names: Sequence[str] | None = None,
        sagemaker_session: Any = None,
        input_artifact_names: Sequence[str] | None = None,
        output_artifact_names: Sequence[str] | None = None,
    ) -> None:
        if not experiment_name and not search_expression:
            raise ValueError("Either experiment_name or search_expression must be supplied.")
        self._experiment = experiment_name
        self._expression = dict(search_expression or {})
        self._order = {"SortBy": sort_by, "SortOrder": sort_order}
        self._metrics, self._parameters = metric_names, parameter_names
        self._inputs, self._outputs = input_artifact_names, output_artifact_names
        self._session = session_of(sagemaker_session)
        self._dataframe: Any = None

    @property
    def name(self) -> str | None:
        """The experiment's name."""
        return self._experiment

    def dataframe(self, force_refresh: bool = False) -> Any:
        """The DataFrame, with a column for each parameter, six for each metric and two for each artifact.

        Args:
            force_refresh: Ask the server again.

        Raises:
            ImportError: pandas is not installed.
            botocore.exceptions.ClientError: The server refuses the conditions.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - the user's own
        except ImportError as error:
            raise ImportError(
                "dataframe() needs pandas, which is not installed here. Run: pip install pandas "
                "(TrialComponent.search() needs nothing)."
            ) from error
        if force_refresh or self._dataframe is None:
            self._dataframe = pd.DataFrame([self._row(one) for one in self._found()])
        return self._dataframe

    def export_csv(self, filename: str) -> None:
        """Write the DataFrame to a file. Raises as `dataframe` does."""
        self.dataframe().to_csv(filename)

    def clear_cache(self) -> None:
        """Forget what the server has told."""
        self._dataframe = None

    def __repr__(self) -> str:
        return f"<ExperimentAnalytics for {self.name}>"

    def _found(self) -> list[dict[str, Any]]:
        expression = dict(self._expression)
        if self._experiment:
            own = {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": self._experiment}
            expression["Filters"] = [*expression.get("Filters", ()), own]
        found = pages(
            client_of(self._session).search,
            "Results",
            Resource="ExperimentTrialComponent",
            SearchExpression=expression,
            MaxResults=100,
            **self._order,
        )
        return [one["TrialComponent"] for one in islice(found, self.MAX_TRIAL_COMPONENTS)]

    def _row(self, component: Mapping[str, Any]) -> dict[str, Any]:
        row = {name: component.get(name, "") for name in ("TrialComponentName", "DisplayName")}
        if source := component.get("Source"):
            row["SourceArn"] = source["SourceArn"]
        for name, value in _chosen(component.get("Parameters"), self._parameters):
            row[name] = value_of(value)
        for metric in component.get("Metrics") or ():
            if not self._metrics or metric["MetricName"] in self._metrics:
                row |= {
                    f"{metric['MetricName']} - {one}": metric[one] for one in _STATISTICS if one in metric
                }
        for artifacts, names in (("InputArtifacts", self._inputs), ("OutputArtifacts", self._outputs)):
            for name, artifact in _chosen(component.get(artifacts), names):
                row[f"{name} - MediaType"] = artifact.get("MediaType")
                row[f"{name} - Value"] = artifact.get("Value")
        parents = component.get("Parents") or ()
        row["Trials"] = [parent["TrialName"] for parent in parents]
        row["Experiments"] = [parent["ExperimentName"] for parent in parents]
        return row


def _chosen(members: Mapping[str, Any] | None, names: Sequence[str] | None) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in sorted((members or {}).items()) if not names or name in names]
