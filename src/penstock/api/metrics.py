"""BatchPutMetrics, BatchGetMetrics of the service `sagemaker-metrics`.

Metrics belong to trial components, made by hand or by a job. How many values a component may
have is not bounded.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.api.context import Context
from penstock.api.entities import named_by_arn
from penstock.api.processing import find_by_arn, no_resource
from penstock.api.translate import invalid
from penstock.errors import Missing
from penstock.job.experiments import Component, key_of
from penstock.job.life import Job
from penstock.job.metrics import Metric
from penstock.store.metrics import Summary
from penstock.wire.faults import Fault

_HOUR = 3_600_000
#: How old a value may be, and how far ahead of the clock; SageMaker's SDK refuses others before it sends them.
_OLDEST, _AHEAD = 14 * 24 * _HOUR, 2 * _HOUR

#: Period -> its length in seconds.
_PERIODS: Mapping[str, int] = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}

#: MetricStat -> what it makes of values in the order of their times. StdDev is that of the values themselves, not
#: an estimate for more of their kind.
STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": statistics.mean,  # exact: a sum of large values could overflow
    "Count": lambda values: float(len(values)),
    "StdDev": statistics.pstdev,
    "Last": lambda values: values[-1],
}


def put(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Store values of a trial component; those whose time can't be are told by their index, from 0."""
    component, now = params["TrialComponentName"], context.clock()
    good, errors = [], []
    for index, given in enumerate(params["MetricData"]):
        if now - _OLDEST <= given["Timestamp"] <= now + _AHEAD:
            good.append(Metric(given["MetricName"], given["Timestamp"], given.get("Step"), given["Value"]))
        else:
            errors.append({"Code": "VALIDATION_ERROR", "MetricIndex": index})
    try:
        context.store.metrics.put(component, good)
    except Missing as error:
        raise invalid(
            f"The trial component {component} does not exist. CreateTrialComponent makes one; a processing job with an "
            "ExperimentConfig has one named <job>-aws-processing-job. Name it in lower case here."
        ) from error
    return {"Errors": errors or None}


def get(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Answer each query by itself; one that makes no sense spoils no other."""
    return {"MetricQueryResults": [_answer(context, query) for query in params["MetricQueries"]]}


def _answer(context: Context, query: Mapping[str, Any]) -> dict[str, Any]:
    if (query["XAxisType"] == "IterationNumber") != (query["Period"] == "IterationNumber"):
        return _refused(
            "The Period IterationNumber goes with the XAxisType IterationNumber, and only with it."
        )
    try:
        component = _component(context, query["ResourceArn"])
    except Fault as fault:
        return _refused(fault.message)
    start, end, period = query.get("Start"), query.get("End"), _PERIODS.get(query["Period"])
    points: dict[int, list[float]] = {}
    for metric in context.store.metrics.of(component, query["MetricName"]):
        x = metric.step if period is None else metric.at // 1000
        if x is None or (start is not None and x < start) or (end is not None and x > end):
            continue
        points.setdefault(x - x % (period or 1), []).append(metric.value)
    summarize = STATISTICS[query["MetricStat"]]
    return {
        "Status": "Complete",
        "XAxisValues": sorted(points),
        "MetricValues": [summarize(points[x]) for x in sorted(points)],
    }


def _component(context: Context, arn: str) -> str:
    """The component that an ARN names: its own, or that of its job."""
    named = named_by_arn(context, arn)
    if named is not None:
        component = key_of(named[1])
        if named[0] is not Component or context.store.experiments.get(Component, component) is None:
            raise no_resource(arn)
        return component
    job = find_by_arn(context, arn)
    if job.trial_component is None and not _has_component(context, job):
        raise invalid(
            f"The job {arn} has no trial component, for it has neither an ExperimentConfig nor metrics."
        )
    return job.component_name


def of_job(context: Context, job: Job) -> Sequence[Summary]:
    """What the metrics of a job's trial component come to, by name; nothing of a job that has none."""
    name = job.component_name
    found = context.store.metrics.summaries([name]).get(name, ())
    return found if found and _has_component(context, job) else ()


def _has_component(context: Context, job: Job) -> bool:
    """Whether a job has a trial component: one of its name may have been left by a job before it."""
    found = context.store.experiments.get(Component, job.component_name)
    return found is not None and found.job_uid == job.uid


def _refused(message: str) -> dict[str, Any]:
    return {"Status": "ValidationError", "Message": message, "XAxisValues": [], "MetricValues": []}
