"""Every operation as the real boto3 sends it, to a real server whose jobs run."""

import time
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError
from patience import until

pytestmark = pytest.mark.machine

GROUP = "/aws/sagemaker/ProcessingJobs"
SOON = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture
def client(address):
    """Clients with nothing of ours but the address and the keys that `penstock env` prints."""
    session = boto3.Session(
        aws_access_key_id=address.access_key_id,
        aws_secret_access_key=address.secret_access_key,
        region_name=address.region,
    )
    return lambda name: session.client(name, endpoint_url=address.endpoint)


@pytest.fixture
def sagemaker(client):
    return client("sagemaker")


@pytest.fixture
def create(sagemaker):
    def make(name, script="true", *, cluster=None, **more):
        sagemaker.create_processing_job(
            ProcessingJobName=name,
            ProcessingResources={
                "ClusterConfig": {"VolumeSizeInGB": 1, **(cluster or {"InstanceType": "ml.m5.large"})}
            },
            AppSpecification={"ImageUri": "python:3.11", "ContainerEntrypoint": ["sh", "-c", script]},
            RoleArn="arn:aws:iam::000000000000:role/any",
            **more,
        )

    return make


def wait(sagemaker, name):
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName=name, WaiterConfig=SOON
    )


def printed(logs, name):
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=GROUP, logStreamNamePrefix=f"{name}/"
    )
    return [event["message"] for page in pages for event in page["events"]]


def refused(code, words, call, **params):
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    assert (error["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (code, 400)
    assert words in error["Message"]
    return caught.value


def test_the_waiter_and_the_rules_of_stop_and_delete(sagemaker, client, create):
    create("ops-ok", "echo well > /opt/ml/output/message")
    create("ops-bad", "echo no luck > /opt/ml/output/message; exit 3")
    # It takes its time to end: a second stop comes while it does.
    create("ops-long", "trap 'sleep 1; exit 0' TERM; echo trapped; sleep 600 & wait")
    until(lambda: "trapped" in printed(client("logs"), "ops-long"))
    refused(
        "ResourceInUse", "can't be deleted", sagemaker.delete_processing_job, ProcessingJobName="ops-long"
    )
    sagemaker.stop_processing_job(ProcessingJobName="ops-long")
    sagemaker.stop_processing_job(ProcessingJobName="ops-long")
    for name in ("ops-ok", "ops-long"):
        wait(sagemaker, name)
    with pytest.raises(WaiterError) as failed:
        wait(sagemaker, "ops-bad")
    told = failed.value.last_response
    assert (told["ProcessingJobStatus"], told["ExitMessage"].strip()) == ("Failed", "no luck")
    assert told["FailureReason"] == "AlgorithmError: , exit code: 3"
    assert told["CreationTime"] <= told["ProcessingStartTime"] <= told["ProcessingEndTime"]
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    began = time.monotonic()
    with pytest.raises(WaiterError, match="ValidationException"):
        wait(sagemaker, "ops-nobody")
    assert time.monotonic() - began < 1  # at once, and not after an hour of asking
    ended = {"ProcessingJobName": "ops-long"}
    refused("ValidationException", "status Stopped", sagemaker.stop_processing_job, **ended)
    sagemaker.delete_processing_job(**ended)
    for operation in ("describe", "stop", "delete"):
        call = getattr(sagemaker, f"{operation}_processing_job")
        refused("ValidationException", "Could not find requested job with name: ops-long", call, **ended)
    create("ops-long")
    with pytest.raises(sagemaker.exceptions.ResourceInUse, match="already exists"):
        create("ops-long")
    wait(sagemaker, "ops-long")


def test_lists_are_filtered_sorted_and_paged(sagemaker, create):
    began = datetime.now(UTC) - timedelta(seconds=1)
    for name in ("list-c", "list-a", "list-b"):
        create(name)
    create("list-bad", "exit 1")
    for name in ("list-a", "list-b", "list-c"):
        wait(sagemaker, name)
    with pytest.raises(WaiterError):
        wait(sagemaker, "list-bad")

    def names(size=2, **more):
        pages = sagemaker.get_paginator("list_processing_jobs").paginate(
            NameContains="list-", CreationTimeAfter=began, PaginationConfig={"PageSize": size}, **more
        )
        return [
            job["ProcessingJobName"].removeprefix("list-")
            for p in pages
            for job in p["ProcessingJobSummaries"]
        ]

    assert names() == ["c", "a", "b", "bad"]
    assert names(SortOrder="Descending") == ["bad", "b", "a", "c"]
    assert names(SortBy="Name") == ["a", "b", "bad", "c"]
    assert names(SortBy="Status", SortOrder="Descending") == ["bad", "c", "b", "a"]
    assert names(StatusEquals="Failed") == ["bad"]
    assert names(LastModifiedTimeBefore=began) == []
    assert names(4, LastModifiedTimeAfter=began) == ["c", "a", "b", "bad"]
    refused("ValidationException", "maxResults", sagemaker.list_processing_jobs, MaxResults=101)
    refused("ValidationException", "NextToken", sagemaker.list_processing_jobs, NextToken="x")


def test_a_choice_of_instances(sagemaker, create):
    preferences = [
        {"InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
        {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    ]
    create("choice", cluster={"InstancePreferences": preferences})
    wait(sagemaker, "choice")
    told = sagemaker.describe_processing_job(ProcessingJobName="choice")["ProcessingResources"][
        "ClusterConfig"
    ]
    assert told == {
        "InstancePreferences": preferences,
        "InstanceCount": 2,
        "SelectedInstanceType": "ml.c5.xlarge",
        "SelectedInstanceCount": 2,
        "VolumeSizeInGB": 1,
    }


def test_tags(sagemaker, create):
    create("tagged", Tags=[{"Key": f"k{n:02}", "Value": "ü"} for n in range(49)])
    arn = sagemaker.describe_processing_job(ProcessingJobName="tagged")["ProcessingJobArn"]
    added = sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": "k00", "Value": "x"}, {"Key": "last", "Value": ""}]
    )
    assert len(added["Tags"]) == 50
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn.lower())
    assert [tag for page in pages for tag in page["Tags"]] == added["Tags"]
    one_more = [{"Key": "more", "Value": ""}]
    refused("ValidationException", "at most 50", sagemaker.add_tags, ResourceArn=arn, Tags=one_more)
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=[f"k{n:02}" for n in range(49)])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "last", "Value": ""}]
    refused("ValidationException", "does not exist", sagemaker.list_tags, ResourceArn=arn + "-not")
    wait(sagemaker, "tagged")


def test_logs(sagemaker, create, client):
    create(
        "logged",
        "for n in 1 2 3 4 5; do echo line $n; done",
        cluster={"InstanceType": "ml.m5.large", "InstanceCount": 2},
    )
    wait(sagemaker, "logged")
    logs = client("logs")
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": "logged/"}
    page = logs.describe_log_streams(**asked, orderBy="LogStreamName", limit=2)
    assert "nextToken" not in page
    streams = [s["logStreamName"] for s in page["logStreams"]]
    assert [name.split("/")[1].rpartition("-")[0] for name in streams] == ["algo-1", "algo-2"]
    latest = logs.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", descending=True, limit=2)
    assert {s["logStreamName"] for s in latest["logStreams"]} == set(streams)
    assert GROUP in [g["logGroupName"] for g in logs.describe_log_groups()["logGroups"]]
    of_one = {"logGroupName": GROUP, "logStreamName": streams[0], "startFromHead": True}
    printed, token = [], {}
    while events := (page := logs.get_log_events(**of_one, limit=2, **token))["events"]:
        printed += events
        token = {"nextToken": page["nextForwardToken"]}
    lines = [e["message"] for e in printed if e["message"].startswith("line")]
    assert lines == [f"line {n}" for n in range(1, 6)]
    again = logs.get_log_events(**of_one, startTime=printed[-1]["timestamp"])["events"]
    assert again == [e for e in printed if e["timestamp"] >= printed[-1]["timestamp"]]
    pages = logs.get_paginator("filter_log_events").paginate(
        **asked, filterPattern='"line 2" -never', PaginationConfig={"PageSize": 1}
    )
    assert [e["logStreamName"] for page in pages for e in page["events"]] in (streams, streams[::-1])
    nowhere = {"logGroupName": GROUP, "logStreamName": "no/algo-1-1"}
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(**nowhere)
    refused(
        "InvalidParameterException",
        "not supported",
        logs.filter_log_events,
        logGroupName=GROUP,
        filterPattern="{ $.a = 1 }",
    )


def test_metrics_and_search(sagemaker, create, client):
    sagemaker.create_experiment(ExperimentName="Exp", Tags=[{"Key": "team", "Value": "blue"}])
    for trial in ("one", "two"):
        sagemaker.create_trial(TrialName=trial, ExperimentName="exp")
    create(
        "Tried",
        Tags=[{"Key": "team", "Value": "blue"}],
        ExperimentConfig={"ExperimentName": "exp", "TrialName": "one"},
    )
    create("Tried-too", ExperimentConfig={"ExperimentName": "exp", "TrialName": "two", "RunName": "run"})
    wait(sagemaker, "Tried")
    wait(sagemaker, "Tried-too")
    metrics = client("sagemaker-metrics")
    component = "tried-aws-processing-job"
    now = datetime.now(UTC)
    data = [{"MetricName": "loss", "Timestamp": now, "Step": n, "Value": 1 / n} for n in range(1, 11)]
    assert "Errors" not in metrics.batch_put_metrics(TrialComponentName=component, MetricData=data)
    old = {"MetricName": "loss", "Timestamp": now - timedelta(days=30), "Value": 1.0}
    assert metrics.batch_put_metrics(TrialComponentName=component, MetricData=[data[0], old])["Errors"] == [
        {"Code": "VALIDATION_ERROR", "MetricIndex": 1}
    ]
    refused(
        "ValidationException",
        "does not exist",
        metrics.batch_put_metrics,
        TrialComponentName="nobody",
        MetricData=data,
    )
    refused(
        "ValidationException",
        "metricData",
        metrics.batch_put_metrics,
        TrialComponentName=component,
        MetricData=data * 2,
    )
    refused(
        "ValidationException",
        "regular expression",
        metrics.batch_put_metrics,
        TrialComponentName="Tried",
        MetricData=data,
    )

    pages = sagemaker.get_paginator("search").paginate(
        Resource="ExperimentTrialComponent",
        SearchExpression={
            "Filters": [{"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "exp"}],
            "NestedFilters": [
                {
                    "NestedPropertyName": "Parents",
                    "Filters": [{"Name": "Parents.TrialName", "Operator": "In", "Value": "one,two"}],
                }
            ],
            "SubExpressions": [
                {
                    "Operator": "Or",
                    "Filters": [
                        {"Name": "Metrics.loss.Min", "Operator": "LessThan", "Value": "0.2"},
                        {"Name": "RunName", "Operator": "Exists"},
                    ],
                }
            ],
        },
        SortBy="CreationTime",
        SortOrder="Ascending",
        PaginationConfig={"PageSize": 1},
    )
    whole = list(pages)
    assert [page["TotalHits"] for page in whole] == [{"Value": 2, "Relation": "EqualTo"}] * 2
    first, second = (record["TrialComponent"] for page in whole for record in page["Results"])
    assert (first["TrialComponentName"], second["RunName"]) == (component, "run")
    assert first["Status"] == {"PrimaryStatus": "Completed"}
    assert first["SourceDetail"]["ProcessingJob"]["ProcessingJobName"] == "Tried"
    assert first["Tags"] == [{"Key": "team", "Value": "blue"}]
    [loss] = first["Metrics"]
    assert (loss["Min"], loss["Max"], loss["Count"]) == (0.1, 1.0, 11)

    query = {
        "MetricName": "loss", "ResourceArn": first["TrialComponentArn"], "MetricStat": "Avg",
        "Period": "IterationNumber", "XAxisType": "IterationNumber", "End": 3,
    }  # fmt: skip
    wrong = {**query, "ResourceArn": first["TrialComponentArn"] + "-not"}
    good, bad = metrics.batch_get_metrics(MetricQueries=[query, wrong])["MetricQueryResults"]
    assert good == {"Status": "Complete", "XAxisValues": [1, 2, 3], "MetricValues": [1.0, 0.5, 1 / 3]}
    assert bad["Status"] == "ValidationError"
    assert sagemaker.search(Resource="TrainingJob")["Results"] == []
    unknown = {"Filters": [{"Name": "Nothing", "Operator": "Exists"}]}
    refused(
        "ValidationException", "no property 'Nothing'", sagemaker.search,
        Resource="ExperimentTrialComponent", SearchExpression=unknown,
    )  # fmt: skip


def test_experiments(sagemaker):
    made = sagemaker.create_experiment(ExperimentName="By-Hand", Description="d")
    assert made["ExperimentArn"].endswith(":experiment/by-hand")
    refused("ValidationException", "already exists", sagemaker.create_experiment, ExperimentName="BY-hand")
    refused("ResourceNotFound", "/none' does not exist", sagemaker.describe_experiment, ExperimentName="none")
    sagemaker.create_trial(TrialName="t", ExperimentName="by-hand", MetadataProperties={"CommitId": "c"})
    for number in range(12):
        sagemaker.create_trial_component(
            TrialComponentName=f"step-{number:02}",
            Parameters={"rate": {"NumberValue": number / 10}},
            StartTime=datetime(2024, 1, 1, tzinfo=UTC),
        )
        sagemaker.associate_trial_component(TrialComponentName=f"step-{number:02}", TrialName="t")
    pages = sagemaker.get_paginator("list_trial_components").paginate(
        TrialName="T", SortBy="Name", SortOrder="Ascending"
    )
    names = [one["TrialComponentName"] for page in pages for one in page["TrialComponentSummaries"]]
    assert names == [f"step-{number:02}" for number in range(12)]
    expression = {
        "Filters": [
            {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": "By-Hand"},
            {"Name": "Parameters.rate", "Operator": "GreaterThan", "Value": "0.9"},
        ]
    }
    found = sagemaker.search(
        Resource="ExperimentTrialComponent", SearchExpression=expression, SortBy="Parameters.rate"
    )
    assert [r["TrialComponent"]["TrialComponentName"] for r in found["Results"]] == ["step-11", "step-10"]
    told = sagemaker.describe_trial_component(TrialComponentName="step-03")
    assert (told["StartTime"], told["Parameters"]) == (
        datetime(2024, 1, 1, tzinfo=UTC),
        {"rate": {"NumberValue": 0.3}},
    )
    artifact = sagemaker.create_artifact(Source={"SourceUri": "s3://b/k"}, ArtifactType="DataSet")[
        "ArtifactArn"
    ]
    ends = {"SourceArn": artifact, "DestinationArn": told["TrialComponentArn"]}
    sagemaker.add_association(**ends, AssociationType="ContributedTo")
    [one] = sagemaker.list_associations(SourceArn=artifact)["AssociationSummaries"]
    assert (one["DestinationName"], one["AssociationType"]) == ("step-03", "ContributedTo")
    way = sagemaker.query_lineage(StartArns=[artifact], Direction="Descendants", IncludeEdges=True)
    assert [(v["Arn"], v["LineageType"]) for v in way["Vertices"]] == [
        (ends["DestinationArn"], "TrialComponent")
    ]
    assert len(way["Edges"]) == 1
    refused(
        "ValidationException",
        "linked to 1 or more trials",
        sagemaker.delete_trial_component,
        TrialComponentName="step-03",
    )
    for name in names:
        sagemaker.disassociate_trial_component(TrialComponentName=name, TrialName="t")
        sagemaker.delete_trial_component(TrialComponentName=name)
    sagemaker.delete_trial(TrialName="t")
    sagemaker.delete_experiment(ExperimentName="by-hand")
    assert "By-Hand" not in [e["ExperimentName"] for e in sagemaker.list_experiments()["ExperimentSummaries"]]


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("sns", "list_topics"),
        ("lambda", "list_functions"),
        ("dynamodb", "list_tables"),
        ("ecr", "describe_registry"),
    ],
)
def test_services_that_are_not_there_say_so_to_their_own_clients(client, service, operation):
    with pytest.raises(ClientError, match=f"Penstock has no service '{service}'"):
        getattr(client(service), operation)()
