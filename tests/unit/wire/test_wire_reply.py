"""Replies byte by byte."""

import pytest

from penstock.wire import faults
from penstock.wire.parse import Call
from penstock.wire.reply import render, render_fault

ID = "7a62c49f-347e-4fc4-9331-6e8e2d4f1b1a"


def test_json():
    result = {
        "ProcessingJobName": "a",
        "ProcessingJobArn": None,
        "CreationTime": 1704164645678,
        "ProcessingEndTime": 1704164700000,
        "Environment": {"A": "ü", "B": None},
        "ProcessingInputs": [],
        "ProcessingResources": {"ClusterConfig": {"InstanceCount": 2, "Secret": "unknown to the model"}},
        "Phase": "unknown to the model",
    }
    reply = render(Call("sagemaker", "DescribeProcessingJob", {}), result, ID)
    assert reply.status == 200
    assert reply.body == (
        b'{"ProcessingInputs":[],"ProcessingJobName":"a","ProcessingResources":{"ClusterConfig":{"InstanceCount":2}},'
        b'"Environment":{"A":"\\u00fc"},"ProcessingEndTime":1704164700.0,"CreationTime":1704164645.678}'
    )
    assert reply.headers == [
        (b"content-type", b"application/x-amz-json-1.1"),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-amzn-requestid", ID.encode()),
    ]


def test_times_of_logs_stay_milliseconds():
    event = {"timestamp": 1704164645678, "message": "half \ud800", "ingestionTime": 1704164645700}
    result = {"events": [event], "nextForwardToken": "f/1"}
    reply = render(Call("logs", "GetLogEvents", {}), result, ID)
    assert reply.body == (
        b'{"events":[{"timestamp":1704164645678,"message":"half \\ud800","ingestionTime":1704164645700}],'
        b'"nextForwardToken":"f/1"}'
    )


def test_no_output_is_no_body():
    reply = render(Call("sagemaker", "StopProcessingJob", {}), {}, ID)
    assert (reply.status, reply.body) == (200, b"")
    assert (b"content-length", b"0") in reply.headers
    assert render(Call("sagemaker", "DeleteTags", {}), {}, ID).body == b"{}"


def test_query():
    result = {"UserId": "AROA:p", "Account": "000000000000", "Arn": "arn:aws:sts::0:assumed-role/a&b/<p>"}
    reply = render(Call("sts", "GetCallerIdentity", {}), result, ID)
    assert reply.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        "<UserId>AROA:p</UserId><Account>000000000000</Account>"
        "<Arn>arn:aws:sts::0:assumed-role/a&amp;b/&lt;p&gt;</Arn></GetCallerIdentityResult>"
        f"<ResponseMetadata><RequestId>{ID}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )
    assert dict(reply.headers)[b"content-type"] == b"text/xml"
    assert dict(reply.headers)[b"x-amzn-requestid"] == ID.encode()
    assert dict(reply.headers)[b"content-length"] == str(len(reply.body)).encode()


def test_query_with_lists_and_times():
    role = {
        "RoleName": "r",
        "CreateDate": 1704164645678,
        "Tags": [{"Key": "k", "Value": ""}],
        "MaxSessionDuration": 9,
    }
    body = render(Call("iam", "GetRole", {}), {"Role": role}, ID).body.decode()
    assert (
        "<GetRoleResult><Role><RoleName>r</RoleName><CreateDate>2024-01-02T03:04:05.678Z</CreateDate>"
        "<MaxSessionDuration>9</MaxSessionDuration><Tags><member><Key>k</Key><Value></Value></member></Tags>"
        "</Role></GetRoleResult>"
    ) in body


def test_faults_in_json():
    reply = render_fault("sagemaker", faults.resource_in_use('"a" is taken'), ID)
    assert reply.status == 400
    assert reply.body == b'{"__type":"ResourceInUse","Message":"\\"a\\" is taken"}'
    assert (b"x-amzn-requestid", ID.encode()) in reply.headers
    assert render_fault("logs", faults.log_not_found("no such group"), ID).body == (
        b'{"__type":"ResourceNotFoundException","message":"no such group"}'
    )


def test_faults_in_query():
    reply = render_fault("iam", faults.Fault("NoSuchEntity", "no <role>\x00\r\n", 404), ID)
    assert reply.status == 404
    assert reply.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>'
        "<Code>NoSuchEntity</Code><Message>no &lt;role&gt;\N{REPLACEMENT CHARACTER}&#13;\n</Message></Error>"
        f"<RequestId>{ID}</RequestId></ErrorResponse>"
    )
    assert b"<Type>Receiver</Type>" in render_fault("sts", faults.internal_failure(), ID).body


def test_faults_in_s3():
    reply = render_fault("s3", faults.invalid_signature(), ID)
    assert reply.status == 403
    assert reply.body.startswith(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SignatureDoesNotMatch</Code><Message>The request'
    )
    assert (b"x-amz-request-id", ID.encode()) in reply.headers


@pytest.mark.parametrize(
    ("fault", "sagemaker", "sts", "s3"),
    [
        (faults.validation("x"), "ValidationException 400", "ValidationError 400", "InvalidRequest 400"),
        (faults.serialization("x"), "SerializationException 400", "MalformedQueryString 400", None),
        (
            faults.unknown_operation("x"),
            "UnknownOperationException 400",
            "InvalidAction 400",
            "NotImplemented 501",
        ),
        (
            faults.too_large("x"),
            "RequestEntityTooLargeException 413",
            "RequestEntityTooLarge 413",
            "EntityTooLarge 400",
        ),
        (
            faults.missing_token(),
            "MissingAuthenticationTokenException 400",
            "MissingAuthenticationToken 403",
            "AccessDenied 403",
        ),
        (
            faults.unrecognized_client(),
            "UnrecognizedClientException 400",
            "InvalidClientTokenId 403",
            "InvalidAccessKeyId 403",
        ),
        (
            faults.invalid_signature(),
            "InvalidSignatureException 400",
            "SignatureDoesNotMatch 403",
            "SignatureDoesNotMatch 403",
        ),
        (
            faults.incomplete_signature("x"),
            "IncompleteSignatureException 400",
            "IncompleteSignature 400",
            "AuthorizationHeaderMalformed 400",
        ),
        (
            faults.incomplete_query("x"),
            "IncompleteSignatureException 400",
            "IncompleteSignature 400",
            "AuthorizationQueryParametersError 400",
        ),
        (
            faults.invalid_token(),
            "UnrecognizedClientException 400",
            "InvalidClientTokenId 403",
            "InvalidToken 400",
        ),
        (
            faults.clock_skew("x"),
            "InvalidSignatureException 400",
            "SignatureDoesNotMatch 403",
            "RequestTimeTooSkewed 403",
        ),
        (faults.access_denied("x"), "AccessDeniedException 400", "AccessDenied 403", "AccessDenied 403"),
        (faults.internal_failure(), "InternalFailure 500", "InternalFailure 500", "InternalError 500"),
        (faults.payload_mismatch(), None, None, "XAmzContentSHA256Mismatch 400"),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_a_fault_is_named_as_the_service_names_it(fault, sagemaker, sts, s3):
    """None: the service has no such fault."""
    for service, wanted in (("sagemaker", sagemaker), ("sts", sts), ("iam", sts), ("s3", s3)):
        named = faults.named_for(fault, service)
        assert wanted in {f"{named.code} {named.status}", None}
        assert named.message == fault.message or service == "s3"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (faults.missing_token(), "Access Denied"),
        (faults.unrecognized_client(), "The AWS Access Key Id you provided does not exist in our records."),
        (faults.invalid_token(), "The provided token is malformed or otherwise invalid."),
        (faults.incomplete_signature("x"), "The authorization header is malformed; x"),
        (
            faults.clock_skew("x {}"),
            "The difference between the request time and the current time is too large. (x {})",
        ),
        (faults.access_denied("Request has expired."), "Request has expired."),
    ],
)
def test_s3_has_words_of_its_own(fault, text):
    assert faults.named_for(fault, "s3").message == text


def test_logs_has_a_name_of_its_own_for_what_is_invalid():
    assert faults.named_for(faults.validation("x"), "logs").code == "InvalidParameterException"
    assert faults.named_for(faults.clock_skew("x"), "logs").code == "InvalidSignatureException"
    assert faults.named_for(faults.unrecognized_client(), "logs").code == "UnrecognizedClientException"


def test_an_unknown_service_is_answered_in_json():
    reply = render_fault("dynamodb", faults.missing_token(), ID)
    assert reply.body.startswith(b'{"__type":"MissingAuthenticationTokenException"')
