"""What the model forbids, in AWS's words."""

import time

import pytest

from penstock.wire.faults import Fault
from penstock.wire.parse import Call
from penstock.wire.validate import check, violations

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


def told(params, operation="CreateProcessingJob", service="sagemaker"):
    with pytest.raises(Fault) as info:
        check(Call(service, operation, params))
    assert info.value.code == "ValidationException"
    return info.value.message


def test_a_good_request_passes():
    check(Call("sagemaker", "CreateProcessingJob", GOOD))
    check(Call("sts", "GetCallerIdentity", {}))


def test_one_violation():
    assert told({**GOOD, "ProcessingJobName": "a_b"}) == (
        "1 validation error detected: Value 'a_b' at 'processingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_all_violations_at_once():
    message = told({"ProcessingJobName": "-" * 64, "ProcessingResources": {"ClusterConfig": {}}})
    assert (
        message
        == "6 validation errors detected: "
        + "; ".join(
            [
                f"Value '{'-' * 64}' at 'processingJobName' failed to satisfy constraint: "
                "Member must have length less than or equal to 63",
                f"Value '{'-' * 64}' at 'processingJobName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
                "Value null at 'processingResources.clusterConfig.volumeSizeInGB' failed to satisfy constraint: "
                "Member must not be null",
                "Value null at 'appSpecification' failed to satisfy constraint: Member must not be null",
                "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
            ]
        )
        or message.count("; ") == 4
    )


def test_an_enum_names_its_values():
    cluster = {**GOOD["ProcessingResources"]["ClusterConfig"], "InstanceType": "local"}
    [text] = found(ProcessingResources={"ClusterConfig": cluster})
    assert text.startswith(
        "Value 'local' at 'processingResources.clusterConfig.instanceType' failed to satisfy constraint: "
        "Member must satisfy enum value set: [ml."
    )
    assert ", ml.m5.4xlarge, " in text


@pytest.mark.parametrize(
    ("value", "limit"), [(0, "greater than or equal to 1"), (777601, "less than or equal to 777600")]
)
def test_ranges(value, limit):
    assert found(StoppingCondition={"MaxRuntimeInSeconds": value}) == [
        f"Value '{value}' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: "
        f"Member must have value {limit}"
    ]
    assert found(StoppingCondition={"MaxRuntimeInSeconds": 777600}) == []


def test_members_of_structures_in_a_list_have_a_path_of_their_own():
    assert found(Tags=[{"Key": "a", "Value": "b"}, {"Key": "", "Value": "!"}, {"Value": ""}, None]) == [
        "Value '' at 'tags.2.member.key' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1",
        "Value '!' at 'tags.2.member.value' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)",
        "Value null at 'tags.3.member.key' failed to satisfy constraint: Member must not be null",
        "Value null at 'tags.4.member' failed to satisfy constraint: Member must not be null",
    ]


def test_a_list_of_texts_is_told_as_a_whole_and_shows_the_bad_ones():
    arguments = ["fine", "x" * 257, "two\nlines", None]
    assert found(AppSpecification={"ImageUri": "i", "ContainerArguments": arguments}) == [
        f"Value '[{'x' * 255}...' at 'appSpecification.containerArguments' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 256, "
        "Member must have length greater than or equal to 0, "
        "Member must satisfy regular expression pattern: .*]"
    ]
    [text] = found(AppSpecification={"ImageUri": "i", "ContainerArguments": ["fine", "a\nb", None]})
    assert text.startswith("Value '[a\nb, null]' at")


def test_lists_have_a_size():
    assert found(AppSpecification={"ImageUri": "i", "ContainerEntrypoint": []}) == [
        "Value '[]' at 'appSpecification.containerEntrypoint' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    ]
    [text] = found(Tags=[{"Key": ""}] * 51)
    assert text.endswith(
        "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"
    )


def test_maps_tell_keys_and_values_and_keep_secrets():
    texts = found(Environment={"GOOD": "hidden", "1": "secret", "LONG": "s3cret" * 50})
    assert texts == [
        "Value '{1=...}' at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: "
        "[Member must have length less than or equal to 256, "
        "Member must have length greater than or equal to 0, "
        "Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]*]",
        "Value '{LONG=...}' at 'environment' failed to satisfy constraint: Map value must satisfy constraint: "
        "[Member must have length less than or equal to 256, "
        "Member must have length greater than or equal to 0, "
        r"Member must satisfy regular expression pattern: [\S\s]*]",
    ]
    [text] = found(Environment={f"A{n}": "secret" for n in range(101)})
    assert text.endswith("Member must have length less than or equal to 100")
    assert "secret" not in text


def test_patterns_match_the_whole_value():
    assert found(RoleArn="x arn:aws:iam::000000000000:role/penstock")
    assert found(RoleArn="arn:aws:iam::000000000000:role/penstock\n")


def test_lengths_count_characters():
    assert found(Tags=[{"Key": "𝕏" * 128, "Value": ""}]) == []
    assert len(found(Tags=[{"Key": "𝕏" * 129, "Value": ""}])) == 1


def test_a_long_value_is_cut():
    [text] = found(ProcessingJobName="a" * 100_000)
    assert len(text) < 500


def test_a_huge_value_costs_little():
    uri = "s3://" + "a" * 3_000_000 + "\n"
    source = {"S3Uri": uri, "S3DataType": "S3Prefix"}
    begun = time.perf_counter()
    [text] = found(ProcessingInputs=[{"InputName": "a", "S3Input": source}])
    assert time.perf_counter() - begun < 1
    assert "less than or equal to 1024" in text


def test_a_minimum_without_a_maximum():
    arn = "arn:aws:sagemaker:us-east-1:000000000000:processing-job/a"
    assert told({"ResourceArn": arn, "MaxResults": 49}, "ListTags").endswith(
        "Value '49' at 'maxResults' failed to satisfy constraint: "
        "Member must have value greater than or equal to 50"
    )


def test_other_services_are_checked_as_well():
    assert "'logStreamName'" in told({}, "GetLogEvents", "logs")
    assert "'roleName'" in told({"RoleName": "no spaces"}, "GetRole", "iam")
