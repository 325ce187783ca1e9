"""What docs/conformance.md says of members is so: those that are shown are in answers, those not there are in none."""

import asyncio
import tomllib
from inspect import iscoroutinefunction

import pytest

from penstock.api import logs
from penstock.api.admission import Admission
from penstock.api.context import Context
from penstock.api.operations import OPERATIONS
from penstock.job.events import Host
from penstock.job.life import Failed, Phase, Reached, Started, advance
from penstock.job.lineage import artifact_key
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.wire import model, validate

NOW = 1_700_000_000_000
ARN = "arn:aws:sagemaker:us-east-1:000000000000"

_ATHENA = {
    "Catalog": "c",
    "Database": "d",
    "QueryString": "q",
    "WorkGroup": "w",
    "OutputS3Uri": "s3://b/k",
    "KmsKeyId": "key",
    "OutputFormat": "PARQUET",
    "OutputCompression": "GZIP",
}
_REDSHIFT = {
    "ClusterId": "c",
    "Database": "d",
    "DbUser": "u",
    "QueryString": "q",
    "ClusterRoleArn": "arn:aws:iam::000000000000:role/any",
    "OutputS3Uri": "s3://b/k",
    "KmsKeyId": "key",
    "OutputFormat": "CSV",
    "OutputCompression": "GZIP",
}
_FOLDER = "/opt/ml/processing"


def _dataset(name, **definition):
    place = {"LocalPath": f"{_FOLDER}/{name}", "DataDistributionType": "FullyReplicated", "InputMode": "File"}
    return {"InputName": name, "AppManaged": True, "DatasetDefinition": {**definition, **place}}


#: Between them the two jobs have every member that can be given.
FIRST = {
    "ProcessingJobName": "First",
    "ProcessingInputs": [
        {
            "InputName": "in",
            "AppManaged": False,
            "S3Input": {
                "S3Uri": "s3://b/k",
                "LocalPath": f"{_FOLDER}/in",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
                "S3DataDistributionType": "ShardedByS3Key",
                "S3CompressionType": "None",
            },
        },
        _dataset("athena", AthenaDatasetDefinition=_ATHENA),
        _dataset("redshift", RedshiftDatasetDefinition=_REDSHIFT),
    ],
    "ProcessingOutputConfig": {
        "Outputs": [
            {
                "OutputName": "out",
                "AppManaged": False,
                "S3Output": {
                    "S3Uri": "s3://b/o",
                    "LocalPath": f"{_FOLDER}/out",
                    "S3UploadMode": "Continuous",
                },
            },
            {"OutputName": "f", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "g"}},
        ],
        "KmsKeyId": "key",
    },
    "ProcessingResources": {
        "ClusterConfig": {
            "InstanceCount": 1,
            "InstanceType": "ml.m5.xlarge",
            "VolumeSizeInGB": 30,
            "VolumeKmsKeyId": "key",
        }
    },
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    "AppSpecification": {
        "ImageUri": "python:3.11",
        "ContainerEntrypoint": ["python3"],
        "ContainerArguments": ["-V"],
    },
    "Environment": {"A": "b"},
    "NetworkConfig": {
        "EnableInterContainerTrafficEncryption": True,
        "EnableNetworkIsolation": True,
        "VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": ["subnet"]},
    },
    "RoleArn": "arn:aws:iam::000000000000:role/any",
    "Tags": [{"Key": "k", "Value": "v"}],
    "ExperimentConfig": {
        "ExperimentName": "e",
        "TrialName": "t",
        "TrialComponentDisplayName": "d",
        "RunName": "r",
    },
}
SECOND = {
    **FIRST,
    "ProcessingJobName": "second",
    "ProcessingResources": {
        "ClusterConfig": {
            "VolumeSizeInGB": 30,
            "InstancePreferences": [{"InstanceType": "ml.m5.large", "InstanceCount": 2}],
        }
    },
}
_GROUP = {"logGroupName": logs.GROUP}
_QUERY = {
    "MetricName": "loss",
    "ResourceArn": f"{ARN}:processing-job/First",
    "MetricStat": "Last",
    "Period": "OneHour",
    "XAxisType": "Timestamp",
}
_VALUE = {"MetricName": "loss", "Value": 1.0, "Step": 1}

_METADATA = {"CommitId": "c", "Repository": "r", "GeneratedBy": "g", "ProjectId": "p"}
_COMPONENT = {
    "TrialComponentName": "Hand",
    "DisplayName": "d",
    "Status": {"PrimaryStatus": "InProgress", "Message": "m"},
    "StartTime": NOW,
    "EndTime": NOW,
    "Parameters": {"a": {"StringValue": "x"}, "b": {"NumberValue": 1.0}},
    "InputArtifacts": {"i": {"MediaType": "text/csv", "Value": "v"}},
    "OutputArtifacts": {"o": {"MediaType": "text/csv", "Value": "v"}},
}
_SOURCE = {"SourceUri": "s3://b/new", "SourceTypes": [{"SourceIdType": "S3ETag", "Value": "e"}]}
_ARTIFACT = f"{ARN}:artifact/{artifact_key('s3://b/new', _SOURCE['SourceTypes'])}"
_STEP = f"{ARN}:experiment-trial-component/first-aws-processing-job"
#: Before the jobs, which are part of what they make.
PARENTS = (
    (
        "CreateExperiment",
        {"ExperimentName": "e", "DisplayName": "d", "Description": "x", "Tags": FIRST["Tags"]},
    ),
    ("CreateExperiment", {"ExperimentName": "f"}),
    (
        "CreateTrial",
        {
            "TrialName": "t",
            "ExperimentName": "e",
            "DisplayName": "d",
            "MetadataProperties": _METADATA,
            "Tags": FIRST["Tags"],
        },
    ),
    ("CreateTrial", {"TrialName": "u", "ExperimentName": "f"}),
    ("CreateTrialComponent", {**_COMPONENT, "MetadataProperties": _METADATA, "Tags": FIRST["Tags"]}),
    ("AssociateTrialComponent", {"TrialComponentName": "Hand", "TrialName": "t"}),
)
#: In this order, after both jobs are on record and the first one has failed.
CALLS = (
    ("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": "First"}),
    ("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": "second"}),
    ("sagemaker", "ListProcessingJobs", {"MaxResults": 1}),
    ("sagemaker", "AddTags", {"ResourceArn": f"{ARN}:processing-job/First", "Tags": [{"Key": "a", "Value": ""}]}),
    ("sagemaker", "ListTags", {"ResourceArn": f"{ARN}:processing-job/First"}),
    (
        "sagemaker-metrics",
        "BatchPutMetrics",
        {
            "TrialComponentName": "first-aws-processing-job",
            "MetricData": [{**_VALUE, "Timestamp": NOW}, {**_VALUE, "Timestamp": 0}],
        },
    ),
    ("sagemaker-metrics", "BatchGetMetrics", {"MetricQueries": [_QUERY, {**_QUERY, "Period": "IterationNumber"}]}),
    ("sagemaker", "Search", {"Resource": "ExperimentTrialComponent", "MaxResults": 1, "SortOrder": "Ascending"}),
    ("sagemaker", "Search", {"Resource": "ExperimentTrialComponent"}),
    ("sagemaker", "Search", {"Resource": "ExperimentTrial"}),
    ("sagemaker", "Search", {"Resource": "Experiment"}),
    ("sagemaker", "DescribeExperiment", {"ExperimentName": "e"}),
    ("sagemaker", "ListExperiments", {"MaxResults": 1}),
    ("sagemaker", "UpdateExperiment", {"ExperimentName": "e", "DisplayName": "d", "Description": "x"}),
    ("sagemaker", "DescribeTrial", {"TrialName": "t"}),
    ("sagemaker", "ListTrials", {"MaxResults": 1}),
    ("sagemaker", "UpdateTrial", {"TrialName": "t", "DisplayName": "d"}),
    ("sagemaker", "DescribeTrialComponent", {"TrialComponentName": "first-aws-processing-job"}),
    ("sagemaker", "DescribeTrialComponent", {"TrialComponentName": "hand"}),
    ("sagemaker", "ListTrialComponents", {"MaxResults": 1}),
    ("sagemaker", "ListTrialComponents", {"SourceArn": f"{ARN}:processing-job/first"}),
    ("sagemaker", "ListTrialComponents", {"TrialName": "t"}),
    ("sagemaker", "UpdateTrialComponent", {**_COMPONENT, "ParametersToRemove": ["a"]}),
    (
        "sagemaker",
        "CreateArtifact",
        {
            "ArtifactName": "n",
            "Source": _SOURCE,
            "ArtifactType": "t",
            "Properties": {"a": "b"},
            "MetadataProperties": _METADATA,
            "Tags": FIRST["Tags"],
        },
    ),
    ("sagemaker", "AddAssociation", {"SourceArn": _STEP, "DestinationArn": _ARTIFACT, "AssociationType": "Produced"}),
    ("sagemaker", "DescribeArtifact", {"ArtifactArn": _ARTIFACT}),
    ("sagemaker", "ListArtifacts", {"MaxResults": 1, "SortOrder": "Descending"}),
    ("sagemaker", "ListArtifacts", {"SourceUri": "s3://b/new"}),
    ("sagemaker", "UpdateArtifact", {"ArtifactArn": _ARTIFACT, "ArtifactName": "m", "PropertiesToRemove": ["a"]}),
    ("sagemaker", "ListAssociations", {"MaxResults": 1}),
    ("sagemaker", "ListAssociations", {"SourceArn": _STEP}),
    ("sagemaker", "ListAssociations", {"DestinationArn": _STEP}),
    ("sagemaker", "ListAssociations", {"DestinationArn": _ARTIFACT}),
    ("sagemaker", "QueryLineage", {"StartArns": [_ARTIFACT], "IncludeEdges": True, "MaxResults": 1}),
    ("sagemaker", "QueryLineage", {"StartArns": [_STEP]}),
    ("sagemaker", "DeleteAssociation", {"SourceArn": _STEP, "DestinationArn": _ARTIFACT}),
    ("sagemaker", "DeleteArtifact", {"ArtifactArn": _ARTIFACT}),
    ("sagemaker", "DisassociateTrialComponent", {"TrialComponentName": "hand", "TrialName": "t"}),
    ("sagemaker", "DeleteTrialComponent", {"TrialComponentName": "hand"}),
    ("sagemaker", "DeleteTrial", {"TrialName": "u"}),
    ("sagemaker", "DeleteExperiment", {"ExperimentName": "f"}),
    ("logs", "DescribeLogGroups", {}),
    ("logs", "DescribeLogStreams", {**_GROUP, "limit": 1}),
    ("logs", "GetLogEvents", {**_GROUP, "logStreamName": "First/algo-1-1700000000", "startFromHead": True}),
    ("logs", "FilterLogEvents", {**_GROUP, "limit": 1}),
    ("sts", "GetCallerIdentity", {}),
    ("iam", "GetRole", {"RoleName": "any"}),
    ("sagemaker", "DeleteTags", {"ResourceArn": f"{ARN}:processing-job/First", "TagKeys": ["a"]}),
    ("sagemaker", "StopProcessingJob", {"ProcessingJobName": "second"}),
    ("sagemaker", "DeleteProcessingJob", {"ProcessingJobName": "First"}),
)  # fmt: skip


@pytest.fixture(scope="module")
def members(conformance):
    """(service, structure, member) -> its line."""
    walked = conformance.walk(tomllib.loads(conformance.LINES.read_text()))
    return {(m.service, m.shape, m.name): m.line for ms in walked.values() for m in ms}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Operation -> its answers to CALLS, which the model allows."""
    folder = tmp_path_factory.mktemp("answers")
    store, book = open_sqlite(folder / "p.db"), FileLogbook(folder / "logs")
    context = Context(
        store, book, "us-east-1", "000000000000", lambda: NOW, lambda **_: None, Admission(store.add_jobs)
    )
    found = {}

    def call(service, operation, params):
        shape = model.operation(service, operation).input_shape
        assert validate.violations(service, shape.name, params) == []
        operate = OPERATIONS[service, operation]
        answer = operate(context, params)
        answer = asyncio.run(answer) if iscoroutinefunction(operate) else answer
        found.setdefault((service, operation), []).append(answer)

    for operation, params in PARENTS:
        call("sagemaker", operation, params)
    for request in (FIRST, SECOND):
        call("sagemaker", "CreateProcessingJob", request)
    job = store.job("First")
    started = advance(job, Started(), NOW)
    hosts = [Host(job.uid, "First", f"algo-{n}", "d", f"First/algo-{n}-1700000000") for n in (1, 2)]
    store.add_hosts(started, hosts)
    for host in hosts:
        book.append(job.uid, host.name, 0, b"10 a\n20 b\n")
    running = advance(store.job("First"), Reached(Phase.RUNNING), NOW)
    store.save_job(running)
    store.save_job(advance(store.job("First"), Failed("why", exit_message="told"), NOW))
    for one in CALLS:
        call(*one)
    store.close()
    return found


def test_every_operation_is_called(answers):
    assert set(answers) == set(OPERATIONS)


def test_the_jobs_have_every_member_that_can_be_given(members):
    given = set()
    for request in (FIRST, SECOND):
        shape = model.operation("sagemaker", "CreateProcessingJob").input_shape
        given |= set(_present("sagemaker", shape, request))
    shapes = {(service, shape) for service, shape, _ in given}
    wanted = {m for m in members if m[:2] in shapes and not m[2].startswith("Selected")}
    assert wanted - given == set()


def test_what_is_given_is_shown(answers):
    for request, told in zip((FIRST, SECOND), answers["sagemaker", "DescribeProcessingJob"], strict=True):
        shown = {name: value for name, value in request.items() if name != "Tags"}
        assert _within(shown, told)


def test_answers_have_what_the_page_says(answers, members):
    present, shapes = set(), set()
    for (service, operation), told in answers.items():
        shape = model.operation(service, operation).output_shape
        if shape is not None:
            shapes |= set(_shapes(service, shape))
            present |= {member for one in told for member in _present(service, shape, one)}
    said = {member: line.state for member, line in members.items() if member[:2] in shapes}
    assert {m for m, state in said.items() if state != "not there"} - present == set(), (
        "said, and in no answer"
    )
    assert present & {m for m, state in said.items() if state == "not there"} == set(), "said to be in none"


def _present(service, shape, value):
    """The members that hold something, of all structures in a value."""
    if value in (None, [], {}):
        return
    match shape.type_name:
        case "list":
            for one in value:
                yield from _present(service, shape.member, one)
        case "map":
            for one in value.values():
                yield from _present(service, shape.value, one)
        case "structure":
            for name, member in shape.members.items():
                if value.get(name) not in (None, [], {}):
                    yield service, shape.name, name
                    yield from _present(service, member, value[name])


def _shapes(service, shape):
    """The structure of an answer, and those that it alone can hold."""
    while shape.type_name in {"list", "map"}:
        shape = shape.member if shape.type_name == "list" else shape.value
    if shape.type_name == "structure":
        yield service, shape.name
        for member in shape.members.values():
            yield from _shapes(service, member)


def _within(part, whole):
    """Whether all of `part` is in `whole`, which may have defaults besides."""
    if isinstance(part, dict):
        return all(name in whole and _within(value, whole[name]) for name, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_within, part, whole))
    return part == whole
