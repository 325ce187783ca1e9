"""What the model forbids, in AWS's words."""

import time

import pytest

from penstock.wire.faults import Fault
from penstock.wire.parse import Call
from penstock.wire.validate import check, violations

PATTERN = "Member must satisfy regular expression pattern"
AT_LEAST_1 = "Member must have length greater than or equal to 1"
UP_TO_256 = (
    "Member must have length less than or equal to 256, Member must have length greater than or equal to 0"
)

GOOD = {
    "ProcessingJobName": "prep-1",
    "ProcessingResources": {
        "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
    },
    "AppSpecification": {"ImageUri": "image", "ContainerArguments": ["--a", ""]},
    "RoleArn": "arn:aws:iam::000000000000:role/penstock",
}


def found(**changes):
    return violations("sagemaker", "CreateProcessingJobRequest", {**GOOD, **changes})


def says(shown, path, constraint):
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def told(params, operation="CreateProcessingJob", service="sagemaker"):
    with pytest.raises(Fault) as info:
        check(Call(service, operation, params))
    assert info.value.code == "ValidationException"
    return info.value.message


def test_a_good_request_passes():
    check(Call("sagemaker", "CreateProcessingJob", GOOD))
    check(Call("sts", "GetCallerIdentity", {}))


def test_no_text_holds_a_nul():
    application = {"ImageUri": "i", "ContainerArguments": ["", "\0"]}
    message = told({**GOOD, "AppSpecification": application, "Environment": {"A": "x\0y"}})
    rest = "holds a NUL character, which no argument, variable, path or text on record can have."
    assert message == f"AppSpecification.ContainerArguments.2 {rest} Environment.A {rest}"
    artifact = {"Source": {"SourceUri": "s3://b/k"}, "ArtifactType": "t"}
    assert told({**artifact, "Properties": {"a\0": "b"}}, "CreateArtifact") == f"Properties {rest}"


def test_one_violation():
    assert told({**GOOD, "ProcessingJobName": "a_b"}) == (
        "1 validation error detected: Value 'a_b' at 'processingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_all_violations_at_once():
    name = "-" * 64
    message = told({"ProcessingJobName": name, "ProcessingResources": {"ClusterConfig": {}}})
    head, _, rest = message.partition(": ")
    assert head == "5 validation errors detected"
    assert rest.split("; ") == [
        says(f"'{name}'", "processingJobName", "Member must have length less than or equal to 63"),
        says(f"'{name}'", "processingJobName", f"{PATTERN}: [a-zA-Z0-9](-*[a-zA-Z0-9]){{0,62}}"),
        says("null", "processingResources.clusterConfig.volumeSizeInGB", "Member must not be null"),
        says("null", "appSpecification", "Member must not be null"),
        says("null", "roleArn", "Member must not be null"),
    ]


def test_an_enum_names_its_values():
    cluster = {**GOOD["ProcessingResources"]["ClusterConfig"], "InstanceType": "local"}
    [text] = found(ProcessingResources={"ClusterConfig": cluster})
    assert text.startswith(
        "Value 'local' at 'processingResources.clusterConfig.instanceType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [ml."
    )
    assert ", ml.m5.4xlarge, " in text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("ml.m5.xlage", "did you mean ml.m5.xlarge or "),
        ("m5.xlarge", "did you mean ml.m5.xlarge or "),
        ("ML.M5.XLARGE", "did you mean ml.m5.xlarge or "),
        ("local", "SageMaker's Python SDK for its local mode, and never sent. "),
        ("local_gpu", "name a type such as ml.g5.xlarge."),
    ],
)
def test_what_was_meant_is_told_after_a_long_list(value, words):
    cluster = {**GOOD["ProcessingResources"]["ClusterConfig"], "InstanceType": value}
    message = told({**GOOD, "ProcessingResources": {"ClusterConfig": cluster}})
    _, _, more = message.partition("] (processingResources.clusterConfig.instanceType: ")
    assert words in more


@pytest.mark.parametrize("value", ["", "what a thing", "ml.m5.xlarge" * 30_000])
def test_what_is_like_nothing_is_told_as_ever(value):
    cluster = {**GOOD["ProcessingResources"]["ClusterConfig"], "InstanceType": value}
    assert told({**GOOD, "ProcessingResources": {"ClusterConfig": cluster}}).endswith("]")


def test_what_was_meant_of_preferences_is_told_with_their_numbers():
    names = [{"InstanceType": name} for name in ("ml.m5.large", "ml.c5.xlarg")]
    message = told(
        {
            **GOOD,
            "ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 1, "InstancePreferences": names}},
        }
    )
    assert (
        "(processingResources.clusterConfig.instancePreferences.2.member.instanceType: did you mean ml.c5."
        in message
    )
    assert "1.member.instanceType: did" not in message


@pytest.mark.parametrize(
    ("value", "limit"), [(0, "greater than or equal to 1"), (777601, "less than or equal to 777600")]
)
def test_ranges(value, limit):
    assert found(StoppingCondition={"MaxRuntimeInSeconds": value}) == [
        says(f"'{value}'", "stoppingCondition.maxRuntimeInSeconds", f"Member must have value {limit}")
    ]


@pytest.mark.parametrize("value", [1, 777600])
def test_the_ends_of_a_range_belong_to_it(value):
    assert found(StoppingCondition={"MaxRuntimeInSeconds": value}) == []


def test_members_of_structures_in_a_list_have_a_path_of_their_own():
    assert found(Tags=[{"Key": "a", "Value": "b"}, {"Key": "", "Value": "!"}, {"Value": ""}, None]) == [
        says("''", "tags.2.member.key", AT_LEAST_1),
        says("'!'", "tags.2.member.value", PATTERN + r": ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"),
        says("null", "tags.3.member.key", "Member must not be null"),
        says("null", "tags.4.member", "Member must not be null"),
    ]


def test_a_list_of_texts_is_told_as_a_whole_and_shows_the_bad_ones():
    place = "appSpecification.containerArguments"
    constraint = f"Member must satisfy constraint: [{UP_TO_256}, {PATTERN}: .*]"
    arguments = ["fine", "two\nlines", None]
    assert found(AppSpecification={"ImageUri": "i", "ContainerArguments": arguments}) == [
        says("'[two\nlines, null]'", place, constraint)
    ]
    arguments = ["fine", "x" * 257]
    assert found(AppSpecification={"ImageUri": "i", "ContainerArguments": arguments}) == [
        says(f"'[{'x' * 255}...'", place, constraint)
    ]


def test_lists_have_a_size():
    assert found(AppSpecification={"ImageUri": "i", "ContainerEntrypoint": []}) == [
        says("'[]'", "appSpecification.containerEntrypoint", AT_LEAST_1)
    ]
    shown = f"'[{', '.join(['{Key=...}'] * 51)}"[:257] + "...'"
    assert found(Tags=[{"Key": ""}] * 51) == [
        says(shown, "tags", "Member must have length less than or equal to 50")
    ]


def test_maps_tell_keys_and_values_and_keep_secrets():
    keys = f"Map keys must satisfy constraint: [{UP_TO_256}, {PATTERN}: [a-zA-Z_][a-zA-Z0-9_]*]"
    values = rf"Map value must satisfy constraint: [{UP_TO_256}, {PATTERN}: [\S\s]*]"
    assert found(Environment={"GOOD": "hidden", "1": "secret", "LONG": "s3cret" * 50}) == [
        says("'{1=...}'", "environment", keys),
        says("'{LONG=...}'", "environment", values),
    ]
    [text] = found(Environment={f"A{n}": "secret" for n in range(101)})
    assert text.endswith("Member must have length less than or equal to 100")
    assert "secret" not in text


def test_patterns_match_the_whole_value():
    assert found(RoleArn="x arn:aws:iam::000000000000:role/penstock")
    assert found(RoleArn="arn:aws:iam::000000000000:role/penstock\n")


def test_lengths_count_characters_and_not_surrogates():
    letter = chr(0x20000)
    assert found(Tags=[{"Key": letter * 128, "Value": ""}]) == []
    assert len(found(Tags=[{"Key": letter * 129, "Value": ""}])) == 1


def test_a_long_value_is_cut():
    [text] = found(ProcessingJobName="a" * 100_000)
    assert len(text) < 500


def test_a_huge_value_costs_little():
    """Three million characters would keep the pattern of an S3 URI busy for a day."""
    source = {"S3Uri": "s3://" + "a" * 3_000_000 + "\n", "S3DataType": "S3Prefix"}
    begun = time.perf_counter()
    [text] = found(ProcessingInputs=[{"InputName": "a", "S3Input": source}])
    assert time.perf_counter() - begun < 1
    assert "less than or equal to 1024" in text


def test_what_nobody_reads_is_not_told():
    """160,000 filters without a name, deep in one another, once made an answer of 413 MB."""
    expression = {"Filters": [{}] * 20}
    for _ in range(3):
        expression = {"SubExpressions": [expression] * 20}
    for _ in range(80):
        expression = {"SubExpressions": [expression]}
    message = told({"Resource": "Image", "SearchExpression": expression}, "Search")
    assert message.startswith(
        "200 validation errors detected: Value null at 'searchExpression.subExpressions.1."
    )
    assert message.endswith(" (No more than 200 are told.)")
    assert len(message) < 1_000_000


def test_a_minimum_without_a_maximum():
    arn = "arn:aws:sagemaker:us-east-1:000000000000:processing-job/a"
    constraint = "Member must have value greater than or equal to 50"
    assert told({"ResourceArn": arn, "MaxResults": 49}, "ListTags").endswith(
        says("'49'", "maxResults", constraint)
    )


def test_other_services_are_checked_as_well():
    assert "'logStreamName'" in told({}, "GetLogEvents", "logs")
    assert "'roleName'" in told({"RoleName": "no spaces"}, "GetRole", "iam")
