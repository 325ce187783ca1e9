"""Search, called as a function over real jobs."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobs_on_record import an_input, an_output, create, create_part, end, make_parents, request

from penstock.api import metrics, processing, search
from penstock.api.translate import token
from penstock.job.life import Failed, Started, advance
from penstock.wire import model
from penstock.wire.faults import Fault

COMPONENTS = "ExperimentTrialComponent"


def a_job(context, name="Job", config=None, **more):
    return create_part(context, name, config or {"ExperimentName": "E", "TrialName": "T"}, **more)


def ask(context, *filters, **more):
    expression = {"SearchExpression": {"Filters": list(filters)}} if filters else {}
    return search.search(context, {"Resource": COMPONENTS, **expression, **more})


def names(answer):
    return [
        r["TrialComponent"]["TrialComponentName"].removesuffix("-aws-processing-job")
        for r in answer["Results"]
    ]


def test_a_job_of_an_experiment_is_found_with_all_that_is_known_of_it(context):
    component = a_job(
        context,
        config={
            "ExperimentName": "E",
            "TrialName": "T",
            "RunName": "R",
            "TrialComponentDisplayName": "Shown",
        },
        ProcessingInputs=[
            an_input(),
            {"InputName": "d", "AppManaged": True, "DatasetDefinition": {"AthenaDatasetDefinition": {}}},
        ],
        ProcessingOutputConfig={"Outputs": [an_output()]},
        Environment={"LEVEL": "high"},
        AppSpecification={
            "ImageUri": "python:3.11",
            "ContainerEntrypoint": ["python3", "-c", "pass"],
            "ContainerArguments": ["--x", "1"],
        },
        Tags=[{"Key": "team", "Value": "blue"}],
    )
    create(context, request("plain"))
    started = advance(context.store.job("Job"), Started(), 5)
    context.store.save_job(started)
    context.store.save_job(advance(started, Failed("AlgorithmError: , exit code: 3"), context.clock()))
    at = 1_700_000_000_000
    data = [{"MetricName": "loss", "Timestamp": at + n, "Value": v} for n, v in enumerate((1.0, 3.0, 2.0))]
    metrics.put(context, {"TrialComponentName": component, "MetricData": data})
    answer = ask(context, {"Name": "Parents.TrialName", "Operator": "Equals", "Value": "t"})
    assert answer["TotalHits"] == {"Value": 1, "Relation": "EqualTo"}
    assert answer["NextToken"] is None
    [found] = [r["TrialComponent"] for r in answer["Results"]]
    arn = context.job_arn("Job")
    job = context.store.job("Job")
    detail = found.pop("SourceDetail")
    assert detail["SourceArn"] == arn
    assert found.pop("CreatedBy") is None
    assert found.pop("LastModifiedBy") is None
    assert found.pop("MetadataProperties") is None
    assert detail["ProcessingJob"] == {
        **processing.describe(context, {"ProcessingJobName": "Job"}), "Tags": [{"Key": "team", "Value": "blue"}],
    }  # fmt: skip
    assert found == {
        "TrialComponentName": "job-aws-processing-job",
        "TrialComponentArn": "arn:aws:sagemaker:eu-west-1:111122223333:experiment-trial-component/job-aws-processing-job",
        "DisplayName": "Shown",
        "RunName": "R",
        "Source": {"SourceArn": arn, "SourceType": "SageMakerProcessingJob"},
        "Status": {"PrimaryStatus": "Failed", "Message": "AlgorithmError: , exit code: 3"},
        "StartTime": None,
        "EndTime": job.ended_at,
        "CreationTime": job.created_at,
        "LastModifiedTime": job.modified_at,
        "Parameters": {
            "SageMaker.InstanceCount": {"NumberValue": 1.0},
            "SageMaker.InstanceType": {"StringValue": "ml.m5.xlarge"},
            "SageMaker.VolumeSizeInGB": {"NumberValue": 30.0},
            "SageMaker.ContainerEntrypoint": {"StringValue": "python3 -c pass"},
            "SageMaker.ContainerArguments": {"StringValue": "--x 1"},
            "SageMaker.Environment.LEVEL": {"StringValue": "high"},
        },
        "InputArtifacts": {"SageMaker.ImageUri": {"Value": "python:3.11"}, "in": {"Value": "s3://b/k"}},
        "OutputArtifacts": {"out": {"Value": "s3://b/o"}},
        "Parents": [{"TrialName": "T", "ExperimentName": "E"}],
        "Tags": [{"Key": "team", "Value": "blue"}],
        "Metrics": [
            {
                "MetricName": "loss", "SourceArn": arn, "TimeStamp": at + 2, "Min": 1.0, "Max": 3.0, "Avg": 2.0,
                "Last": 2.0, "Count": 3, "StdDev": (2 / 3) ** 0.5,
            }
        ],
    }  # fmt: skip
    assert set(found) | {"SourceDetail"} <= set(
        model.service("sagemaker").shape_for("TrialComponent").members
    )


def test_a_component_stays_in_the_search_when_its_job_goes(context):
    a_job(context)
    a_job(context, "other", {"RunName": "r"})
    end(context, "Job")
    processing.delete(context, {"ProcessingJobName": "Job"})
    assert names(ask(context, SortBy="TrialComponentName", SortOrder="Ascending")) == ["job", "other"]
    first, second = (
        r["TrialComponent"] for r in ask(context, SortBy="RunName", SortOrder="Ascending")["Results"]
    )
    assert (first["RunName"], first["Parents"]) == ("r", [])
    assert second["Status"]["PrimaryStatus"] == "Completed"
    assert second["SourceDetail"] == {"SourceArn": context.job_arn("Job"), "ProcessingJob": None}


@pytest.mark.parametrize("resource", model.service("sagemaker").shape_for("ResourceType").enum)
def test_of_other_resources_there_are_none(context, resource):
    a_job(context)
    answer = search.search(context, {"Resource": resource})
    there = int(resource in {COMPONENTS, "ExperimentTrial", "Experiment"})
    assert (len(answer["Results"]), answer["TotalHits"]["Value"], answer["NextToken"]) == (there, there, None)
    with pytest.raises(Fault, match="at least one"):
        search.search(context, {"Resource": resource, "SearchExpression": {}})


def test_nothing_comes_from_other_accounts(context):
    a_job(context)
    assert names(ask(context, CrossAccountFilterOption="SameAccount")) == ["job"]
    assert names(ask(context, CrossAccountFilterOption="CrossAccount")) == []


def test_tags_hide_and_are_each_jobs_own(context):
    a_job(context, "red", Tags=[{"Key": "team", "Value": "red"}])
    a_job(context, "blue", Tags=[{"Key": "team", "Value": "blue"}])
    a_job(context, "none")
    create(context, request("plain", Tags=[{"Key": "team", "Value": "blue"}]))
    blue = {"Key": "Tags.team", "Value": "blue"}
    assert sorted(names(ask(context, VisibilityConditions=[blue]))) == ["blue", "none"]
    assert names(ask(context, {"Name": "Tags.team", "Operator": "Equals", "Value": "red"})) == ["red"]


def test_the_newest_change_comes_first_unless_told_otherwise(context):
    for name in "abc":
        a_job(context, name)
    context.store.save_job(advance(context.store.job("b"), Started(), 1_799_000_000_000))
    assert names(ask(context)) == ["b", "c", "a"]
    assert names(ask(context, SortOrder="Ascending")) == ["a", "c", "b"]
    assert names(ask(context, SortBy="TrialComponentName", SortOrder="Ascending")) == ["a", "b", "c"]


def test_records_can_be_found_and_sorted_by_their_metrics(context):
    for name, value in (("a", 0.5), ("b", 0.9), ("c", 0.7)):
        data = [{"MetricName": "test:acc", "Timestamp": 1_700_000_000_000, "Value": value}]
        metrics.put(context, {"TrialComponentName": a_job(context, name), "MetricData": data})
    a_job(context, "d")
    by = {"SortBy": "metrics.test:acc.max"}
    assert names(ask(context, **by)) == ["b", "c", "a", "d"]
    assert names(ask(context, **by, SortOrder="Ascending")) == ["a", "c", "b", "d"]
    high = {"Name": "Metrics.test:acc.Max", "Operator": "GreaterThan", "Value": "0.6"}
    assert names(ask(context, high, **by)) == ["b", "c"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"SortBy": "Nothing"}, "no property 'Nothing'"),
        ({"SortBy": "Source"}, "sort by one of them"),
        ({"NextToken": "x"}, "NextToken"),
        ({"NextToken": "bnVsbA=="}, "NextToken"),  # null
        ({"NextToken": "WzEsIDJd"}, "NextToken"),  # [1, 2]
        ({"NextToken": token(["x", "y"])}, "NextToken"),  # a text where there are times
        ({"NextToken": token([1, "y"]), "SortBy": "TrialComponentName"}, "NextToken"),
        ({"NextToken": token([10**30, "y"])}, "NextToken"),
    ],
)
def test_what_makes_no_sense_is_refused_also_when_there_is_nothing_to_search(context, more, words):
    with pytest.raises(Fault, match=words) as caught:
        ask(context, **more)
    assert caught.value.code == "ValidationException"


SORTS = ["LastModifiedTime", "StartTime", "TrialComponentName", "DisplayName", "RunName", "Tags.t", "Parameters.SageMaker.InstanceCount", "Status.PrimaryStatus"]  # fmt: skip


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    jobs=st.lists(
        st.tuples(st.sampled_from("xyz"), st.sampled_from([None, "p", "q"]), st.integers(1, 3)), max_size=9
    ),
    size=st.integers(1, 4),
    sort_by=st.sampled_from(SORTS),
    descending=st.booleans(),
)
def test_pages_show_each_record_once_also_while_jobs_are_added(context, jobs, size, sort_by, descending):
    batch = f"b{context.clock()}"
    make_parents(context, {"ExperimentName": batch})
    created = [
        a_job(
            context, f"{batch}-{n}",
            {"ExperimentName": batch, "TrialComponentDisplayName": shown, **({"RunName": run} if run else {})},
            Tags=[{"Key": "t", "Value": run}] if run else [],
            ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1}},
        )
        for n, (shown, run, count) in enumerate(jobs)
    ]  # fmt: skip
    mine = {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": batch}
    order = {"SortBy": sort_by, "SortOrder": "Descending" if descending else "Ascending"}
    whole = names(ask(context, mine, **order, MaxResults=100))
    seen, token, added = [], {}, 0
    while token is not None:
        answer = ask(context, mine, **order, **token, MaxResults=size)
        assert answer["TotalHits"]["Value"] == len(jobs) + added
        seen += names(answer)
        token = answer["NextToken"] and {"NextToken": answer["NextToken"]}
        if added < 3:
            a_job(context, f"{batch}-new{added}", {"ExperimentName": batch, "TrialComponentDisplayName": "y"})
            added += 1
    assert [name for name in seen if "new" not in name] == whole
    assert len(set(seen)) == len(seen)
    assert len(whole) == len(created)
