"""Ten thousand trial components with twenty metrics each: what a page of a search takes, on SQLite and PostgreSQL.

Half of them are in one experiment, in ten trials; asked is as SageMaker's `ExperimentAnalytics` and `Run` ask, through
HTTP, signed. The CPU time is that of server and database together, whatever else the machine does. `COMPONENTS=1000`
is another size, `DATABASES=sqlite` one of the two.
"""

import contextlib
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from sqlalchemy import insert, select, text

from bench.table import cpu_of_children, machine, show
from bench.wire import one, penstock, request
from penstock.api.translate import token
from penstock.job.experiments import Component, Experiment, Trial
from penstock.job.life import Phase
from penstock.job.lineage import Artifact, Association
from penstock.store.database import open_postgres, open_sqlite
from penstock.store.entities import TABLES, artifact_rows, parameter_rows, to_entity, to_row
from penstock.store.rows import job_row, part_rows
from penstock.store.tables import (
    associations,
    component_artifacts,
    job_parts,
    jobs,
    members,
    metric_summaries,
    parameters,
    tags,
)
from penstock.testing.stores import new_job

COUNT = int(os.environ.get("COMPONENTS", "10000"))
METRICS = 20
TURNS = 30
PORT = 18350
ARN = "arn:aws:sagemaker:us-east-1:000000000000"
IMAGE = f"{ARN}:artifact/{'0' * 32}"
END = 1_790_000_000_000
_INSTANCES = "ProcessingResources.ClusterConfig.InstanceCount"


def main():
    for name in os.environ.get("DATABASES", "sqlite,postgres").split(","):
        kind = {"sqlite": sqlite, "postgres": postgres}[name]
        with kind() as (home, more), penstock(home, PORT, **more) as keys:
            measure(name, keys)


def measure(kind, keys):
    rows = []
    for what, operation, asked in searches():
        call = request(PORT, keys, operation, asked)
        times = []
        one(PORT, call)
        used = cpu_of_children()
        for _ in range(TURNS):
            began = time.perf_counter()
            answer = one(PORT, call)
            times.append(1000 * (time.perf_counter() - began))
            assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        cpu = 1000 * (cpu_of_children() - used) / TURNS
        rows.append((what, f"{cpu:.0f}", f"{statistics.median(times):.1f}", f"{max(times):.1f}"))
    show(
        f"{kind}: ms of a request, {COUNT:,} components with {METRICS} metrics each ({machine()})",
        ("", "CPU", "median", "slowest"),
        rows,
    )


def searches():
    """What is asked, by its name."""
    every = {"Resource": "ExperimentTrialComponent"}
    experiment = {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "Large"}
    trial = {"Name": "Parents.TrialName", "Operator": "Equals", "Value": "large-3"}
    by_metric = {"SortBy": "metrics.metric-7.max", "SortOrder": "Descending"}

    def expression(*filters, **more):
        return {"SearchExpression": {"Filters": list(filters), **more}}

    yield "all, the newest change first", "Search", every
    yield "all, by a metric", "Search", {**every, **by_metric}
    yield "an experiment, by a metric", "Search", {**every, **expression(experiment), **by_metric}
    yield (
        "an experiment, by a metric, a page of 100",
        "Search",
        {**every, **expression(experiment), **by_metric, "MaxResults": 100},
    )
    yield "a trial, by a metric", "Search", {**every, **expression(trial), **by_metric}
    above = {"Name": "Metrics.metric-7.Last", "Operator": "GreaterThan", "Value": "0.99"}
    yield "an experiment and a metric's bound", "Search", {**every, **expression(experiment, above)}
    name = {"Name": "TrialComponentName", "Operator": "Equals", "Value": "component-04321"}
    yield "a component in a trial, as Run asks", "Search", {**every, **expression(name, trial)}
    yield "an experiment's, of a list", "ListTrialComponents", {"ExperimentName": "large"}
    yield "a trial's, of a list, by name", "ListTrialComponents", {"TrialName": "large-3", "SortBy": "Name"}
    yield "one, described", "DescribeTrialComponent", {"TrialComponentName": "component-04321"}
    parameter = {"Name": "Parameters.rate", "Operator": "LessThan", "Value": "0.5"}
    yield "a trial and a parameter", "Search", {**every, **expression(trial, parameter)}
    yield "an experiment and a parameter", "Search", {**every, **expression(experiment, parameter)}
    yield "a parameter of all", "Search", {**every, **expression(parameter)}
    yield (
        "an experiment, by a parameter",
        "Search",
        {**every, **expression(experiment), "SortBy": "Parameters.rate"},
    )
    input_ = {"Name": "InputArtifacts.train", "Operator": "Contains", "Value": "component-0432"}
    most = {"Name": "InputArtifacts.train.Value", "Operator": "NotEquals", "Value": "s3://bucket/none"}
    csv = {"Name": "InputArtifacts.train.MediaType", "Value": "text/csv"}
    by_input = {"SortBy": "InputArtifacts.train", "SortOrder": "Descending"}
    for what, *filters in (
        ("an artifact of all", input_),
        ("a trial and an artifact", trial, input_),
        ("an experiment and an artifact", experiment, input_),
        ("an experiment and an artifact that all have but one", experiment, most),
        ("an experiment and an artifact's media type", experiment, csv),
        (
            "an experiment and no such artifact",
            experiment,
            {"Name": "OutputArtifacts.none", "Operator": "NotExists"},
        ),
    ):
        yield what, "Search", {**every, **expression(*filters)}
    yield "all, by an artifact", "Search", {**every, **by_input}
    yield "an experiment, by an artifact", "Search", {**every, **expression(experiment), **by_input}
    yield "all, by a trial", "Search", {**every, "SortBy": "Parents.TrialName"}
    either = expression(parameter, input_, Operator="Or")["SearchExpression"]
    yield (
        "an experiment and either of two",
        "Search",
        {**every, "SearchExpression": {"Filters": [experiment], "SubExpressions": [either]}},
    )
    text = {"Name": "Parameters.p3", "Operator": "Contains", "Value": "x"}
    yield "an experiment and a part of a parameter", "Search", {**every, **expression(experiment, text)}
    of_metric = [
        {"Name": "MetricName", "Value": "metric-7"},
        {"Name": "Max", "Operator": "GreaterThan", "Value": "0.9"},
    ]
    nested = [{"NestedPropertyName": "Metrics", "Filters": of_metric}]
    yield (
        "an experiment and a nested filter",
        "Search",
        {**every, **expression(experiment, NestedFilters=nested)},
    )
    tag = {"Name": "Tags.team", "Value": "team-3"}
    yield "an experiment and a tag", "Search", {**every, **expression(experiment, tag)}
    seen = {"VisibilityConditions": [{"Key": "Tags.team", "Value": "team-3"}]}
    yield "an experiment, as far as tags let see", "Search", {**every, **expression(experiment), **seen}
    status = {"Name": "SourceDetail.ProcessingJob.ProcessingJobStatus", "Value": "Completed"}
    yield "an experiment and the status of its jobs", "Search", {**every, **expression(experiment, status)}
    image = {"Name": "SourceDetail.ProcessingJob.AppSpecification.ImageUri", "Value": "python:3.11"}
    yield (
        "an experiment and its jobs' image",
        "Search",
        {**every, **expression(experiment, image)},
    )
    none = {"Name": "SourceDetail.ProcessingJob.AppSpecification.ImageUri", "Value": "none"}
    yield (
        "an experiment and an image that none of its jobs has",
        "Search",
        {**every, **expression(experiment, none)},
    )
    yield (
        "an experiment and such an image, by a metric",
        "Search",
        {**every, **expression(experiment, none), **by_metric},
    )
    commit = {"Name": "MetadataProperties.CommitId", "Value": "commit-3"}
    yield (
        "an experiment and a commit",
        "Search",
        {**every, **expression(experiment, commit)},
    )
    yield (
        "an experiment, by a commit",
        "Search",
        {**every, **expression(experiment), "SortBy": "MetadataProperties.CommitId"},
    )
    for what, name in (("image", "AppSpecification.ImageUri"), ("instances", _INSTANCES)):
        by = {"SortBy": f"SourceDetail.ProcessingJob.{name}"}
        yield f"an experiment, by its jobs' {what}", "Search", {**every, **expression(experiment), **by}
    maker = {"Name": "CreatedBy.IamIdentity.Arn", "Operator": "Contains", "Value": "nobody"}
    yield "an experiment and who made them", "Search", {**every, **expression(experiment, maker)}
    variable = {"Name": "SourceDetail.ProcessingJob.Environment.VARIABLE_1", "Value": "none"}
    yield (
        "an experiment and a variable that none of its jobs has so (record by record)",
        "Search",
        {**every, **expression(experiment, variable)},
    )
    digits = {"Name": "Parameters.rate", "Operator": "Contains", "Value": "0.12"}
    yield (
        "an experiment and a part of a number (record by record)",
        "Search",
        {**every, **expression(experiment, digits)},
    )
    of = {"Name": "TrialComponentSummaries.TrialComponentName", "Value": "component-04321"}
    yield "trials, by a component of them", "Search", {"Resource": "ExperimentTrial", **expression(of)}
    when = {
        "Name": "TrialComponentSummaries.CreationTime",
        "Operator": "GreaterThan",
        "Value": "2026-09-21T00:00:00",
    }
    yield (
        "trials, by times of their components",
        "Search",
        {"Resource": "ExperimentTrial", **expression(when)},
    )
    never = {**when, "Value": "2036-09-21T00:00:00"}
    yield (
        "trials, and no component of theirs fits",
        "Search",
        {"Resource": "ExperimentTrial", **expression(never)},
    )
    few = {"Name": "Description", "Operator": "Contains", "Value": "none"}
    yield "experiments, by their description", "Search", {"Resource": "Experiment", **expression(few)}
    start = {"StartArns": [IMAGE]}
    yield "lineage of what all have used", "QueryLineage", start
    yield "lineage, and nothing fits", "QueryLineage", {**start, "Filters": {"Types": ["none"]}}
    yield "lineage, and no property fits", "QueryLineage", {**start, "Filters": {"Properties": {"a": "b"}}}
    middle = {"NextToken": token([1, f"{ARN}:experiment-trial-component/component-{COUNT // 2:05}"])}
    yield "lineage, a page in the middle", "QueryLineage", {**start, **middle}
    edged = {**start, "IncludeEdges": True}
    yield "lineage with edges", "QueryLineage", edged
    yield "lineage with edges, and nothing fits", "QueryLineage", {**edged, "Filters": {"Types": ["none"]}}
    jobs_ = {"Filters": {"Types": ["SageMakerProcessingJob"]}}
    yield "lineage with edges, and every other fits", "QueryLineage", {**edged, **jobs_}
    yield "lineage with edges, a page in the middle", "QueryLineage", {**edged, **middle}
    component = {"StartArns": [f"{ARN}:experiment-trial-component/component-00001"]}
    yield "lineage of a component with edges", "QueryLineage", {**component, "IncludeEdges": True}


def fill(store):
    """Write them as rows: to put two hundred thousand metrics would take minutes."""
    began, drawn = time.perf_counter(), random.Random(1)
    experiments = ["Large", *(f"small-{n}" for n in range(COUNT // 200))]
    trials = [(f"{name}-{n}", name) for name in experiments for n in range(10)]
    components = [f"component-{n:05}" for n in range(COUNT)]
    with store._engine.begin() as c:
        batch(
            c,
            TABLES[Experiment],
            (to_row(Experiment(n, f"{ARN}:experiment/{n}", n, END, END)) for n in experiments),
        )
        batch(
            c,
            TABLES[Trial],
            (to_row(Trial(n, f"{ARN}:experiment-trial/{n}", e, n, END, END)) for n, e in trials),
        )
        batch(
            c,
            TABLES[Component],
            (to_row(component(number, name, drawn)) for number, name in enumerate(components)),
        )
        for table, rows_of in ((parameters, parameter_rows), (component_artifacts, artifact_rows)):
            batch(
                c,
                table,
                (
                    row
                    for values in c.execute(select(TABLES[Component]))
                    for row in rows_of(to_entity(Component, values))
                ),
            )
        batch(c, TABLES[Artifact], iter([to_row(Artifact(IMAGE, "Image", "python:3.11", END, END))]))
        batch(
            c,
            associations,
            (
                asdict(Association(IMAGE, f"{ARN}:experiment-trial-component/{name}", "ContributedTo", END))
                for name in components
            ),
        )
        batch(
            c,
            tags,
            (
                {
                    "arn": f"{ARN}:experiment-trial-component/{name}",
                    "key": "team",
                    "value": f"team-{number % 9}",
                }
                for number, name in enumerate(components)
            ),
        )
        batch(
            c,
            jobs,
            (job_row(job(name)) for name in components[1::2]),
        )
        batch(c, job_parts, (row for name in components[1::2] for row in part_rows(job(name))))
        batch(c, members, (member(number, name, trials) for number, name in enumerate(components)))
        batch(c, metric_summaries, (summary(name, n, drawn) for name in components for n in range(METRICS)))
    print(f"{COUNT:,} components filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def batch(c, table, rows):
    while some := list(itertools.islice(rows, 10_000)):
        c.execute(insert(table), some)


def component(number, name, drawn):
    return Component(
        name=name,
        arn=f"{ARN}:experiment-trial-component/{name}",
        display_name=f"Training-{number % 7}",
        created_at=END - number * 1000,
        modified_at=END + drawn.randrange(10**9),
        status=drawn.choice(["Completed", "Failed"]),
        parameters={f"p{n}": {"StringValue": "x"} for n in range(10)}
        | {"rate": {"NumberValue": drawn.random()}},
        job_uid=f"{name}-u" if number % 2 else None,
        source=f"{ARN}:processing-job/{name}" if number % 2 else None,
        metadata={"CommitId": f"commit-{number % 50}"},
        inputs={"train": {"Value": f"s3://bucket/{name}", "MediaType": "text/csv"}},
    )


def job(name):
    cluster = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    variables = {f"VARIABLE_{n}": "some text" for n in range(10)}
    asked = {
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3", "main.py"]},
        "Environment": variables,
    }
    return replace(
        new_job(name, END), request=asked, phase=Phase.COMPLETED, arn=f"{ARN}:processing-job/{name}"
    )


def member(number, name, trials):
    """Half of the components are in the first ten trials, the others spread over the rest."""
    trial, experiment = trials[
        number // 2 % 10 if number % 2 else 10 + number // 2 % max(1, len(trials) - 10)
    ]
    return {"trial": trial.lower(), "component": name, "experiment": experiment.lower()}


def summary(name, number, drawn):
    low, high = sorted((drawn.random(), drawn.random()))
    values = {"minimum": low, "maximum": high, "last": high, "mean": (low + high) / 2, "deviation": 0.1}
    return {"component": name, "name": f"metric-{number}", "at": END, "size": 100, **values}


@contextlib.contextmanager
def sqlite():
    with tempfile.TemporaryDirectory() as home:
        with contextlib.closing(open_sqlite(Path(home) / "penstock.db")) as store:
            fill(store)
        yield home, {}


@contextlib.contextmanager
def postgres():
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from postgres_server import PostgresServer

    server = PostgresServer(fsync=True)
    try:
        with contextlib.closing(open_postgres(server.url())) as store:
            fill(store)
            with store._dialect.reader.connect() as c:
                c.execute(text("VACUUM ANALYZE"))  # as autovacuum does within minutes of so many new rows
        with tempfile.TemporaryDirectory() as home:
            yield home, {"PENSTOCK_DATABASE_URL": server.url()}
    finally:
        server.close()
