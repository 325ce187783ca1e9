"""Bytes in, typed parameters or a fault out."""

import json

import pytest

from penstock.wire.faults import Fault
from penstock.wire.parse import Call, parse_json, parse_query


def parse(body, operation="CreateProcessingJob", service="sagemaker", prefix="SageMaker"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_json(service, f"{prefix}.{operation}", raw).params


def refused(code, text, *args, **kwargs):
    with pytest.raises(Fault) as info:
        parse(*args, **kwargs)
    assert (info.value.code, info.value.status) == (code, 400)
    assert text in info.value.message


def test_a_call_says_service_operation_and_parameters():
    call = parse_json("sagemaker", "SageMaker.StopProcessingJob", b'{"ProcessingJobName":"a"}')
    assert call == Call("sagemaker", "StopProcessingJob", {"ProcessingJobName": "a"})


def test_an_empty_body_is_an_empty_object():
    assert parse(b"", "ListProcessingJobs") == {}


def test_unknown_members_and_nulls_are_dropped():
    body = {"Tags": None, "New": {"a": 1}, "ProcessingResources": {"ClusterConfig": None, "X": 1}}
    assert parse(body) == {"ProcessingResources": {}}


def test_nulls_in_lists_and_maps_are_kept_for_the_validator():
    assert parse({"Tags": [None], "Environment": {"A": None}}) == {
        "Tags": [None],
        "Environment": {"A": None},
    }


@pytest.mark.parametrize(
    ("seconds", "ms"),
    [
        (1704164645, 1704164645000),
        (1704164645.678, 1704164645678),
        (0, 0),
        (-1.5, -1500),
        (1.7e9, 1700000000000),
    ],
)
def test_timestamps_become_milliseconds(seconds, ms):
    assert parse({"CreationTimeAfter": seconds}, "ListProcessingJobs") == {"CreationTimeAfter": ms}


@pytest.mark.parametrize("value", ["1704164645", True, [], 1e13, -1e13, int("9" * 400)])
def test_what_is_no_timestamp_is_refused(value):
    refused("SerializationException", "creationTimeAfter", {"CreationTimeAfter": value}, "ListProcessingJobs")


def test_a_whole_float_is_a_whole_number():
    got = parse({"MaxResults": 3.0}, "ListProcessingJobs")["MaxResults"]
    assert (got, type(got)) == (3, int)


@pytest.mark.parametrize("value", [3.5, "3", True, 2**31, -(2**31) - 1, 1e300])
def test_what_is_no_integer_is_refused(value):
    refused("SerializationException", "maxResults", {"MaxResults": value}, "ListProcessingJobs")


def test_longs_have_64_bits():
    stream = {"logStreamName": "s"}
    body = {**stream, "startTime": 2**63 - 1}
    assert parse(body, "GetLogEvents", "logs", "Logs_20140328") == body
    refused(
        "SerializationException",
        "startTime",
        {**stream, "startTime": 2**63},
        "GetLogEvents",
        "logs",
        "Logs_20140328",
    )


@pytest.mark.parametrize(
    ("body", "path", "wanted"),
    [
        ({"ProcessingJobName": 1}, "processingJobName", "a string, not a number"),
        ({"ProcessingJobName": ["x"]}, "processingJobName", "a string, not a list"),
        ({"AppSpecification": "x"}, "appSpecification", "an object, not a string"),
        ({"Tags": {"Key": "a"}}, "tags", "a list, not an object"),
        ({"Tags": [{"Key": "a"}, {"Key": True}]}, "tags.2.member.key", "a string, not true"),
        ({"Environment": {"A": 1}}, "environment.A", "a string, not a number"),
        ({"Environment": []}, "environment", "an object, not a list"),
        (
            {"ProcessingInputs": [{"AppManaged": "false"}]},
            "processingInputs.1.member.appManaged",
            "true or false, not a string",
        ),
    ],
)
def test_wrong_types_are_named_with_their_place(body, path, wanted):
    refused("SerializationException", f"'{path}' must be {wanted}", body)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b"not json",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda b: repr(b[:12]),
)
def test_what_is_no_json_is_refused(body):
    refused("SerializationException", "The request body is n", body)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"true"])
def test_a_body_must_be_an_object(body):
    refused("SerializationException", "must be a JSON object, not", body)


@pytest.mark.parametrize("place", [b'{"ProcessingJobName":"\\ud800"}', b'{"Environment":{"\\udfff":"x"}}'])
def test_half_a_surrogate_pair_is_refused(place):
    refused("SerializationException", "surrogate", place)


def test_a_whole_surrogate_pair_is_a_character():
    assert parse(b'{"ProcessingJobName":"\\ud83d\\ude00"}') == {"ProcessingJobName": "😀"}


@pytest.mark.parametrize(
    ("service", "target"),
    [
        ("sagemaker", "SageMaker.CreateTrainingJob"),
        ("sagemaker", "SageMaker."),
        ("sagemaker", "CreateProcessingJob"),
        ("sagemaker", ""),
        ("sagemaker", "Logs_20140328.GetLogEvents"),
        ("logs", "SageMaker.CreateProcessingJob"),
        ("s3", "SageMaker.CreateProcessingJob"),
        ("sagemaker", "SageMaker.../../x"),
    ],
)
def test_unknown_operations_are_refused(service, target):
    with pytest.raises(Fault) as info:
        parse_json(service, target, b"{}")
    assert info.value.code == "UnknownOperationException"
    assert (
        repr(target.partition(".")[2] if target.startswith("SageMaker.C") else "")[1:-1] in info.value.message
    )


def test_query_requests():
    assert parse_query("sts", b"Action=GetCallerIdentity&Version=2011-06-15") == Call(
        "sts", "GetCallerIdentity", {}
    )
    form = b"Action=GetRole&Version=2010-05-08&RoleName=a%2Bb+c"
    assert parse_query("iam", form) == Call("iam", "GetRole", {"RoleName": "a+b c"})


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"", "MissingAction"),
        (b"Action=", "MissingAction"),
        (b"Action=AssumeRole&Version=2010-05-08", "UnknownOperationException"),
        (b"Action=GetRole&Version=2010-05-09&RoleName=a", "UnknownOperationException"),
        (b"Action=GetRole&RoleName=a", "UnknownOperationException"),
        (b"Action=GetRole&RoleName=%ff", "SerializationException"),
        (b"\xff", "SerializationException"),
        (b"a=1&" * 2000, "SerializationException"),
    ],
    ids=[
        "empty",
        "no action",
        "unknown",
        "other version",
        "no version",
        "escaped bytes",
        "bytes",
        "too many fields",
    ],
)
def test_bad_query_requests(form, code):
    with pytest.raises(Fault) as info:
        parse_query("iam", form)
    assert info.value.code == code
