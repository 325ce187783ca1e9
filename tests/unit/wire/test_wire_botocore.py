"""botocore at the other end of the wire, on values that hypothesis draws from the models."""

import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import Session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.wire import faults, model
from penstock.wire.parse import Call, parse_body, parse_json, parse_query
from penstock.wire.patterns import translate
from penstock.wire.reply import render, render_fault
from penstock.wire.validate import check

SOME = settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
OPERATIONS = [(s, o) for s in sorted(model.SERVICES) for o in model.service(s).operation_names]
JSON_OPERATIONS = [(s, o) for s, o in OPERATIONS if s not in model.QUERY_SERVICES]
ID = "7a62c49f"

#: Whole milliseconds of years that datetime knows on every platform.
TIMES = st.integers(0, 4_000_000_000_000)
#: XML can't hold the control characters, and turns a carriage return into a line feed.
TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=20
)
#: Among these is something for every pattern; drawing from the patterns themselves takes a hundred times as long.
SAMPLES = (
    "",
    "0",
    "123456789012",
    "s3://bucket/key",
    "https://host/a b",
    "arn:aws:iam::123456789012:role/path/name",
    "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/name",
    "arn:aws:sagemaker:eu-west-1:123456789012:artifact/1f",
    "text/csv",
    "tag: Größe = 1",
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def values(shape, *, valid=False, within=()):
    """What a shape may hold by its types, or when `valid` by all of its constraints; in itself at most once."""
    meta = shape.metadata
    low, high = (meta.get("min", 0), meta.get("max")) if valid else (0, None)
    match shape.type_name:
        case "structure":
            inner = (*within, shape.name)
            members = {
                name: values(member, valid=valid, within=inner)
                for name, member in shape.members.items()
                if within.count(shape.name) == 0 or member.type_name == "string"
            }
            needed = {name: members.pop(name) for name in shape.required_members if name in members}
            return st.fixed_dictionaries(needed, optional=members)
        case "list":
            return st.lists(
                values(shape.member, valid=valid, within=within),
                min_size=low,
                max_size=max(low, min(2, high or 2)) if valid else max(low, 2),
            )
        case "map":
            keys, items = (values(s, valid=valid, within=within) for s in (shape.key, shape.value))
            return st.dictionaries(keys, items, min_size=low, max_size=2)
        case "timestamp":
            return TIMES
        case "boolean":
            return st.booleans()
        case "double":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "integer" | "long":
            bits = 31 if shape.type_name == "integer" else 63
            return st.integers(
                low if valid and "min" in meta else -(2**bits), 2**bits - 1 if high is None else high
            )
        case "string" if valid and "enum" in meta:
            return st.sampled_from(meta["enum"])
        case "string" if valid and "pattern" in meta:
            longest = 9999 if high is None else high
            samples = [
                text
                for text in (*SAMPLES, "a" * low, "a" * min(longest, 9999))
                if low <= len(text) <= longest
            ]
            return st.sampled_from([text for text in samples if translate(meta["pattern"]).fullmatch(text)])
        case "string":
            return TEXTS.filter(lambda text: len(text) >= low)
    raise AssertionError(f"no strategy for {shape.type_name}")


def as_datetimes(shape, value):
    """The same value as botocore has it."""
    match shape.type_name:
        case "structure":
            return {name: as_datetimes(shape.members[name], item) for name, item in value.items()}
        case "list":
            return [as_datetimes(shape.member, item) for item in value]
        case "map":
            return {key: as_datetimes(shape.value, item) for key, item in value.items()}
        case "timestamp":
            return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)
    return value


def response(reply):
    headers = HeadersDict({name.decode(): value.decode() for name, value in reply.headers})
    return {"status_code": reply.status, "headers": headers, "body": reply.body}


def parser(service):
    return create_parser(model.service(service).metadata["protocol"])


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@SOME
@given(data=st.data())
def test_what_botocore_sends_is_what_arrives(service, name, data):
    operation = model.operation(service, name)
    shape = operation.input_shape
    params = data.draw(values(shape)) if shape else {}
    serializer = create_serializer(operation.service_model.metadata["protocol"], include_validation=False)
    sent = serializer.serialize_to_request(as_datetimes(shape, params) if shape else {}, operation)
    if service in model.QUERY_SERVICES:
        assert parse_query(service, urlencode(sent["body"]).encode()) == Call(service, name, params)
    else:
        if service in model.REST_SERVICES:
            got = parse_body(*model.routes()[sent["method"], sent["url_path"]], sent["body"])
        else:
            got = parse_json(service, sent["headers"]["X-Amz-Target"], sent["body"])
        assert (got.service, got.operation) == (service, name)
        assert got.params == whole_seconds(shape, params, serializer)


def whole_seconds(shape, params, serializer):
    """Some versions of botocore send timestamps without their fraction."""
    probe = serializer._timestamp_unixtimestamp(datetime(2024, 1, 1, microsecond=500_000, tzinfo=UTC))
    if probe % 1:
        return params
    names = {name for name, member in shape.members.items() if member.type_name == "timestamp"}
    return {k: v // 1000 * 1000 if k in names else v for k, v in params.items()}


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
@SOME
@given(data=st.data())
def test_what_is_answered_is_what_botocore_reads(service, name, data):
    shape = model.operation(service, name).output_shape
    result = data.draw(values(shape)) if shape else {}
    reply = render(Call(service, name, {}), {**result, "Unknown": 1}, ID)
    parsed = parser(service).parse(response(reply), shape)
    metadata = parsed.pop("ResponseMetadata")
    assert parsed == (as_datetimes(shape, result) if shape else {})
    assert (metadata["RequestId"], metadata["HTTPStatusCode"]) == (ID, 200)


@pytest.mark.parametrize(("service", "name"), JSON_OPERATIONS)
@settings(SOME, max_examples=10)
@given(data=st.data())
def test_what_keeps_the_model_passes(service, name, data):
    params = data.draw(values(model.operation(service, name).input_shape, valid=True))
    check(Call(service, name, params))


def corrupted(data, value):
    """`value` with junk somewhere in it."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: corrupted(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        return [corrupted(data, value[0]), *value[1:]]
    return data.draw(JUNK)


@pytest.mark.parametrize(("service", "name"), JSON_OPERATIONS)
@SOME
@given(data=st.data())
def test_whatever_arrives_only_faults_are_raised(service, name, data):
    params = data.draw(values(model.operation(service, name).input_shape))
    body = json.dumps(corrupted(data, params)).encode()
    refused(lambda: check(parse_body(service, name, body)))


@settings(SOME, max_examples=100)
@given(service=st.sampled_from(sorted(model.SERVICES)), target=st.text(), body=st.binary())
def test_no_bytes_raise_anything_but_a_fault(service, target, body):
    refused(lambda: check(parse_json(service, target, body)))
    refused(lambda: check(parse_json("sagemaker", "SageMaker.CreateProcessingJob", body)))
    refused(lambda: check(parse_query(service, body)))
    refused(lambda: check(parse_query(service, b"Action=GetRole&Version=2010-05-08&RoleName=" + body)))


def refused(act):
    """Run `act`; a fault it raises must be one that can be answered, in a message of bounded length."""
    fault = None
    try:
        act()
    except faults.Fault as raised:
        fault = raised
    if fault:
        assert fault.status == 400
        assert 0 < len(fault.message) < 20_000
        for service in ("sagemaker", "sagemaker-metrics", "logs", "iam", "s3"):
            render_fault(service, fault, ID)


@pytest.mark.parametrize("service", sorted(model.SERVICES))
@settings(SOME, max_examples=10)
@given(message=TEXTS.filter(bool))
def test_botocore_reads_a_fault(service, message):
    reply = render_fault(service, faults.access_denied(message), ID)
    parsed = parser(service).parse(response(reply), None)
    code = "AccessDenied" if service in model.QUERY_SERVICES else "AccessDeniedException"
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == (code, message)
    assert parsed["ResponseMetadata"]["RequestId"] == ID
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == reply.status


@pytest.mark.parametrize(
    ("service", "method", "args", "fault"),
    [
        ("sagemaker", "describe_processing_job", {"ProcessingJobName": "a"}, faults.Fault("ResourceNotFound", "gone")),
        ("sagemaker", "delete_processing_job", {"ProcessingJobName": "a"}, faults.resource_in_use("busy")),
        ("logs", "get_log_events", {"logGroupName": "g", "logStreamName": "s"}, faults.log_not_found("none")),
        ("logs", "describe_log_groups", {}, faults.Fault("InvalidParameterException", "bad")),
        ("iam", "get_role", {"RoleName": "r"}, faults.Fault("NoSuchEntity", "none", 404)),
    ],
)  # fmt: skip
def test_modelled_errors_become_the_clients_own_exceptions(service, method, args, fault):
    """botocore's whole way from the answer to the exception, with the transport cut off."""
    client = Session().create_client(
        service, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    reply = render_fault(service, fault, ID)

    class Http:
        status_code = reply.status

    def answer(model, **_kwargs):
        return Http(), parser(service).parse(response(reply), None)

    client.meta.events.register("before-call", answer)
    with pytest.raises(ClientError) as info:
        getattr(client, method)(**args)
    assert type(info.value) is not ClientError, "a class of its own, as client.exceptions has it"
    assert info.value.response["Error"]["Code"] == faults.named_for(fault, service).code
    assert info.value.response["Error"]["Message"] == fault.message
    assert info.value.response["ResponseMetadata"]["RequestId"] == ID


def test_a_shape_may_contain_itself(monkeypatch):
    """As Search's expressions do."""
    tree = {
        "type": "structure",
        "members": {"Name": {"shape": "Text"}, "Kids": {"shape": "Trees"}},
        "required": ["Name"],
    }
    shapes = {
        "Tree": tree,
        "Trees": {"type": "list", "member": {"shape": "Tree"}},
        "Text": {"type": "string"},
    }
    grow = {"name": "Grow", "http": {}, "input": {"shape": "Tree"}}
    made = ServiceModel({"metadata": {}, "operations": {"Grow": grow}, "shapes": shapes}, "garden")
    monkeypatch.setattr(model, "service", {"garden": made}.__getitem__)
    monkeypatch.setattr(model, "operation", lambda _service, name: made.operation_model(name))
    monkeypatch.setattr(model, "TARGETS", {"Garden": "garden"})
    body = b'{"Name":"a","Kids":[{"Name":"b"},{"Kids":[]}]}'
    call = parse_json("garden", "Garden.Grow", body)
    assert call.params == json.loads(body)
    with pytest.raises(faults.Fault, match=r"'kids\.2\.member\.name'"):
        check(call)
    for depth in (100, 200, 300, 400, 100_000):
        deep = b'{"Name":"a","Kids":[' * depth + b"{}" + b"]}" * depth
        with pytest.raises(faults.Fault):
            check(parse_json("garden", "Garden.Grow", deep))
