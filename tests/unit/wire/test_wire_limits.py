"""AWS's limits: kept and explained, or raised."""

import pytest
from test_wire_validate import GOOD

from penstock.wire import model
from penstock.wire.faults import Fault
from penstock.wire.limits import RELAXED
from penstock.wire.parse import Call
from penstock.wire.validate import check

TEXT = "appSpecification.containerArguments"
SOURCE = {"S3Uri": f"s3://{'b' * 63}/{'k' * 1024}", "S3DataType": "S3Prefix"}


def job(**changes):
    return Call("sagemaker", "CreateProcessingJob", {**GOOD, **changes})


def application(**more):
    return {"ImageUri": "image", **more}


def refusal(call, **how):
    with pytest.raises(Fault) as info:
        check(call, **how)
    assert info.value.code == "ValidationException"
    return info.value.message


#: A request above AWS's limit, what is told after AWS's text, and one above what this machine carries.
LIFTED = [
    (
        {"AppSpecification": application(ContainerArguments=["fine", "x" * 5000])},
        f"{TEXT}.2.member has 5000 characters, 4744 more than AWS's limit of 256;",
        {"AppSpecification": application(ContainerArguments=["x" * 32_001])},
    ),
    (
        {"AppSpecification": application(ContainerArguments=["x"] * 101)},
        f"{TEXT} has 101 entries, 1 more than AWS's limit of 100;",
        {"AppSpecification": application(ContainerArguments=["x"] * 2001)},
    ),
    (
        {"AppSpecification": application(ContainerEntrypoint=["x" * 257])},
        "appSpecification.containerEntrypoint.1.member has 257 characters, 1 more",
        {"AppSpecification": application(ContainerEntrypoint=["x" * 32_001])},
    ),
    (
        {"AppSpecification": application(ContainerEntrypoint=["x"] * 150)},
        "appSpecification.containerEntrypoint has 150 entries, 50 more",
        {"AppSpecification": application(ContainerEntrypoint=["x"] * 2001)},
    ),
    (
        {"Environment": {"LONG": "s3cret" * 1000}},
        "environment.LONG has 6000 characters, 5744 more than AWS's limit of 256;",
        {"Environment": {"LONG": "x" * 32_001}},
    ),
    (
        {"Environment": {"K" * 300: "v"}},
        f"The key environment.{'K' * 64} has 300 characters, 44 more",
        {"Environment": {"K" * 3001: "v"}},
    ),
    (
        {"Environment": {f"A{n}": "v" for n in range(101)}},
        "environment has 101 entries, 1 more",
        {"Environment": {f"A{n}": "v" for n in range(1001)}},
    ),
    (
        {"ProcessingInputs": [{"InputName": "i"}] * 11},
        "processingInputs has 11 entries, 1 more",
        {"ProcessingInputs": [{"InputName": "i"}] * 101},
    ),
    (
        {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "i"}] * 12}},
        "processingOutputConfig.outputs has 12 entries, 2 more",
        {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "i"}] * 101}},
    ),
    (
        {"StoppingCondition": {"MaxRuntimeInSeconds": 777_601}},
        "stoppingCondition.maxRuntimeInSeconds is 777601, 1 more than AWS's limit of 777600;",
        None,
    ),
    (
        {"ProcessingInputs": [{"InputName": "i", "S3Input": SOURCE}]},
        "processingInputs.1.member.s3Input.s3Uri has 1093 characters, 69 more",
        {"ProcessingInputs": [{"InputName": "i", "S3Input": {**SOURCE, "S3Uri": SOURCE["S3Uri"] + "k"}}]},
    ),
]


def test_every_lifted_limit_is_tried_here():
    assert len(LIFTED) == len(RELAXED)
    for (service, name), most in RELAXED.items():
        assert most > model.service(service).shape_for(name).metadata["max"]


@pytest.mark.parametrize(("above", "words", "far_above"), LIFTED)
def test_strict_tells_which_limit_and_by_how_much(above, words, far_above):
    message = refusal(job(**above))
    aws, _, own = message.partition(" (")
    assert aws.startswith("1 validation error detected: Value ")
    assert "Member must have " in aws
    assert own.startswith(words)
    assert own.endswith(".)")
    assert "the server's setting PENSTOCK_AWS_LIMITS=relaxed raises it to " in own
    assert "s3crets3cret" not in message
    check(job(**above), relaxed=True)
    if far_above is not None:
        message = refusal(job(**far_above), relaxed=True)
        assert "PENSTOCK_AWS_LIMITS" not in message


def test_relaxed_lifts_nothing_else():
    bad = {
        "ProcessingJobName": "a" * 64,
        "Environment": {"1": "not a name"},
        "AppSpecification": application(ContainerArguments=["two\nlines" * 1000]),
        "Tags": [{"Key": "k", "Value": "v"}] * 51,
        "StoppingCondition": {"MaxRuntimeInSeconds": 0},
        "RoleArn": None,
    }
    message = refusal(job(**bad), relaxed=True)
    assert message.startswith("7 validation errors detected: ")


def test_what_has_nothing_to_do_with_a_limit_is_told_as_ever():
    assert refusal(job(ProcessingJobName="a" * 64, Environment={"1": "x"})).count(" (") == 0


def test_many_excesses_are_told_in_part():
    message = refusal(job(Environment={f"A{n}": "x" * 257 for n in range(100)}))
    assert message.count("1 more than AWS's limit") == 10
    assert message.endswith(" (There are more.)")
