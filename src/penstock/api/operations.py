"""All that this server can do, by service and operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from penstock.api import (
    artifacts,
    associations,
    experiments,
    filter_logs,
    identity,
    lineage,
    logs,
    metrics,
    processing,
    search,
    tags,
    trial_components,
    trials,
)
from penstock.api.context import Context

#: Plain or a coroutine function; answers the members of the operation's output.
Operation = Callable[[Context, Mapping[str, Any]], Any]

#: All that this server can do. To add an operation, see docs/checklists/add-an-operation.md.
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("sagemaker", "CreateProcessingJob"): processing.create,
    ("sagemaker", "DescribeProcessingJob"): processing.describe,
    ("sagemaker", "ListProcessingJobs"): processing.list_jobs,
    ("sagemaker", "StopProcessingJob"): processing.stop,
    ("sagemaker", "DeleteProcessingJob"): processing.delete,
    ("sagemaker", "AddTags"): tags.add,
    ("sagemaker", "ListTags"): tags.list_tags,
    ("sagemaker", "DeleteTags"): tags.delete,
    ("sagemaker", "Search"): search.search,
    ("sagemaker", "CreateExperiment"): experiments.create,
    ("sagemaker", "DescribeExperiment"): experiments.describe,
    ("sagemaker", "ListExperiments"): experiments.list_experiments,
    ("sagemaker", "UpdateExperiment"): experiments.update,
    ("sagemaker", "DeleteExperiment"): experiments.delete,
    ("sagemaker", "CreateTrial"): trials.create,
    ("sagemaker", "DescribeTrial"): trials.describe,
    ("sagemaker", "ListTrials"): trials.list_trials,
    ("sagemaker", "UpdateTrial"): trials.update,
    ("sagemaker", "DeleteTrial"): trials.delete,
    ("sagemaker", "AssociateTrialComponent"): trials.associate,
    ("sagemaker", "DisassociateTrialComponent"): trials.disassociate,
    ("sagemaker", "CreateTrialComponent"): trial_components.create,
    ("sagemaker", "DescribeTrialComponent"): trial_components.describe,
    ("sagemaker", "ListTrialComponents"): trial_components.list_components,
    ("sagemaker", "UpdateTrialComponent"): trial_components.update,
    ("sagemaker", "DeleteTrialComponent"): trial_components.delete,
    ("sagemaker", "CreateArtifact"): artifacts.create,
    ("sagemaker", "DescribeArtifact"): artifacts.describe,
    ("sagemaker", "ListArtifacts"): artifacts.list_artifacts,
    ("sagemaker", "UpdateArtifact"): artifacts.update,
    ("sagemaker", "DeleteArtifact"): artifacts.delete,
    ("sagemaker", "AddAssociation"): associations.add,
    ("sagemaker", "DeleteAssociation"): associations.delete,
    ("sagemaker", "ListAssociations"): associations.list_associations,
    ("sagemaker", "QueryLineage"): lineage.query,
    ("sagemaker-metrics", "BatchPutMetrics"): metrics.put,
    ("sagemaker-metrics", "BatchGetMetrics"): metrics.get,
    ("logs", "DescribeLogGroups"): logs.describe_groups,
    ("logs", "DescribeLogStreams"): logs.describe_streams,
    ("logs", "GetLogEvents"): logs.get_events,
    ("logs", "FilterLogEvents"): filter_logs.filter_events,
    ("sts", "GetCallerIdentity"): identity.caller,
    ("iam", "GetRole"): identity.get_role,
}
