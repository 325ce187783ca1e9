"""What is answered when something is wrong: code, HTTP status, body and request id, in each of the protocols."""

import json
import logging
import re
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4QueryAuth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from wire_client import KEY, REGION, WireClient, signed

from penstock.api.body import LARGEST_BODY
from penstock.api.operations import OPERATIONS
from penstock.job.run import S3Access

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
JSON = {"Content-Type": "application/x-amz-json-1.1"}
WRONG_SECRET = Credentials(KEY.access_key, "wrong")
NOBODY = Credentials("AKIANOBODY", "x")
WITH_TOKEN = Credentials(KEY.access_key, KEY.secret_key, "token")
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
S3_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method."
)
BAD_TOKEN = "The security token included in the request is invalid."
UNSIGNED = "Request is missing Authentication Token"


@pytest.fixture
def client(tmp_path):
    """The application with the real gateway, behind which no store listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nowhere = f"http://127.0.0.1:{server.getsockname()[1]}"
    access = S3Access(nowhere, REGION, KEY.access_key, KEY.secret_key)
    made = WireClient(tmp_path, access=access)
    yield made
    made.close()


def clock(minutes):
    return datetime.now(UTC) + timedelta(minutes=minutes)


def altered(name, old, new):
    """Changes a signed header on its way."""

    def change(headers):
        assert old in headers[name]
        headers[name] = headers[name].replace(old, new)

    return change


def without(name):
    return lambda headers: headers.pop(name)


def in_json(answer, code, message=None, status=400, member="message"):
    """Assert that `answer` is an error of a JSON service."""
    assert answer.status == status
    assert answer.headers[b"content-type"] == b"application/x-amz-json-1.1"
    assert int(answer.headers[b"content-length"]) == len(answer.body)
    assert UUID.fullmatch(answer.headers[b"x-amzn-requestid"].decode())
    assert set(answer.json) == {"__type", member}
    assert answer.json["__type"] == code
    if message is not None:
        assert answer.json[member] == message


def in_xml(answer, code, message, status, namespace="https://sts.amazonaws.com/doc/2011-06-15/"):
    """Assert that `answer` is an error of a query service."""
    assert answer.status == status
    assert answer.headers[b"content-type"] == b"text/xml"
    root = ET.fromstring(answer.text)
    assert root.tag == f"{{{namespace}}}ErrorResponse"
    texts = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
    assert (texts["Type"], texts["Code"]) == ("Sender", code)
    assert texts["Message"] == message
    assert texts["RequestId"] == answer.headers[b"x-amzn-requestid"].decode()
    assert UUID.fullmatch(texts["RequestId"])


def of_s3(answer, code, message, status):
    """Assert that `answer` is an error of S3."""
    assert answer.status == status
    assert answer.headers[b"content-type"] == b"application/xml"
    root = ET.fromstring(answer.text)
    assert (root.tag, [e.tag for e in root]) == ("Error", ["Code", "Message", "RequestId", "HostId"])
    assert root.findtext("Code") == code
    if message is not None:
        assert root.findtext("Message") == message
    assert root.findtext("RequestId") == answer.headers[b"x-amz-request-id"].decode()
    assert root.findtext("HostId") == answer.headers[b"x-amz-id-2"].decode()


class TestJson:
    @pytest.mark.parametrize(
        ("how", "code", "message"),
        [
            ({"key": None}, "MissingAuthenticationTokenException", UNSIGNED),
            ({"key": None, "headers": {"Authorization": "Bearer x"}}, "MissingAuthenticationTokenException", UNSIGNED),
            ({"key": NOBODY}, "UnrecognizedClientException", BAD_TOKEN),
            ({"key": WRONG_SECRET}, "InvalidSignatureException", MISMATCH),
            ({"key": WITH_TOKEN}, "UnrecognizedClientException", BAD_TOKEN),
            (
                {"region": "us-east-1"},
                "InvalidSignatureException",
                ("Credential should be scoped to a valid region, not 'us-east-1'. "
                "(This server's region is eu-west-1; PENSTOCK_REGION sets it.)"),
            ),
            (
                {"service": "logs"},
                "InvalidSignatureException",
                ("Credential should be scoped to correct service: 'sagemaker'. "
                "(This server's region is eu-west-1; PENSTOCK_REGION sets it.)"),
            ),
            (
                {"service": "sts", "region": "x"},
                "InvalidSignatureException",
                ("Credential should be scoped to a valid region, not 'x'. "
                "Credential should be scoped to correct service: 'sagemaker'. "
                "(This server's region is eu-west-1; PENSTOCK_REGION sets it.)"),
            ),
            (
                {"change": altered("authorization", "aws4_request", "aws4")},
                "InvalidSignatureException",
                "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws4'.",
            ),
            (
                {"change": altered("authorization", "/sagemaker", "")},
                "IncompleteSignatureException",
                None,
            ),
            ({"change": without("x-amz-date")}, "IncompleteSignatureException", None),
            ({"change": altered("x-amz-target", "List", "Stop")}, "InvalidSignatureException", MISMATCH),
            (
                {"change": lambda headers: headers.update({"x-amz-more": "1"})},
                "InvalidSignatureException",
                f"{MISMATCH} The header 'x-amz-more' arrived and was not signed.",
            ),
        ],
    )  # fmt: skip
    def test_who_is_not_let_in(self, client, how, code, message):
        in_json(client.send(**{"headers": JSON, **how}), code, message)

    @pytest.mark.parametrize(
        ("minutes", "text"), [(-16, "Signature expired: {at} is now earlier than "), (16, "Signature not yet current: {at} is still later than ")]
    )  # fmt: skip
    def test_a_wrong_clock(self, client, minutes, text):
        at = clock(minutes)
        answer = client.send(at=at)
        in_json(answer, "InvalidSignatureException")
        assert answer.json["message"].startswith(text.format(at=f"{at:%Y%m%dT%H%M%SZ}"))
        assert re.search(r"\(\d{8}T\d{6}Z [+-] 15 min\.\)$", answer.json["message"])
        assert client.send(at=clock(-14)).status == client.send(at=clock(14)).status == 200

    def test_the_body_that_was_signed_is_the_one_that_counts(self, client):
        method, path, headers, _ = signed("POST", "/", b"{}", "SageMaker.ListProcessingJobs")
        in_json(
            client.deliver(method, path, headers, b'{"MaxResults":1}'), "InvalidSignatureException", MISMATCH
        )

    @pytest.mark.parametrize("service", ["sagemaker", "logs"])
    def test_no_operation_is_presigned(self, client, service):
        target = {"sagemaker": "SageMaker.ListProcessingJobs", "logs": "Logs_20140328.DescribeLogGroups"}[
            service
        ]
        for method in ("GET", "POST"):
            answer = client.send(method, target=target, service=service, signer=SigV4QueryAuth)
            in_json(
                answer,
                "IncompleteSignatureException",
                f"Operations of {service} can't be called by presigned URLs; sign a header instead.",
            )

    def test_signed_in_two_places(self, client):
        answer = client.send(path="/?X-Amz-Algorithm=AWS4-HMAC-SHA256")
        in_json(
            answer,
            "InvalidSignatureException",
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
        )

    @pytest.mark.parametrize(
        ("how", "code", "status", "words"),
        [
            ({"target": "SageMaker.CreateTrainingJob"}, "UnknownOperationException", 400, "'CreateTrainingJob' is not an operation"),
            ({"target": "SageMaker."}, "UnknownOperationException", 400, "is not an operation"),
            ({"target": ""}, "UnknownOperationException", 400, "is not an operation"),
            ({"target": "X.ListProcessingJobs"}, "UnknownOperationException", 400, "is not an operation"),
            ({"target": "X.Y", "service": "ecr"}, "UnknownOperationException", 400, "Penstock has no service 'ecr'; it has iam, logs, sagemaker, sagemaker-metrics, sts and S3."),
            ({"method": "GET", "body": b""}, "UnknownOperationException", 404, "by POST at the path /"),
            ({"path": "/elsewhere"}, "UnknownOperationException", 404, "by POST at the path /"),
            ({"headers": FORM}, "UnknownOperationException", 404, "The Content-Type must be application/x-amz-json-1.1, not 'application/x-www-form"),
            ({"headers": {"Content-Type": "text/plain"}}, "UnknownOperationException", 404, "not 'text/plain'"),
            ({"body": b"{"}, "SerializationException", 400, "not valid JSON"),
            ({"body": b'{"MaxResults":NaN}'}, "SerializationException", 400, "not valid JSON"),
            ({"body": b"\xff"}, "SerializationException", 400, "not valid JSON in UTF-8"),
            ({"body": b"[]"}, "SerializationException", 400, "must be a JSON object, not a list"),
            ({"body": b"null"}, "SerializationException", 400, "must be a JSON object, not null"),
            ({"body": b'"x"'}, "SerializationException", 400, "must be a JSON object, not a string"),
            ({"body": b"[" * 200_000}, "SerializationException", 400, "nested too deeply"),
            ({"body": b'{"MaxResults":"3"}'}, "SerializationException", 400, "The value at 'maxResults' must be a whole number, not a string."),
            ({"body": b'{"MaxResults":101}'}, "ValidationException", 400, "1 validation error detected: Value '101' at 'maxResults'"),
            ({"body": b"x" * (LARGEST_BODY + 1)}, "RequestEntityTooLargeException", 413, "larger than 4194304 bytes"),
        ],
    )  # fmt: skip
    def test_what_is_no_call(self, client, how, code, status, words):
        answer = client.send(**how)
        in_json(answer, code, status=status)
        assert words in answer.json["message"]

    def test_a_service_of_forms_that_is_not_there_is_told_in_xml(self, client):
        answer = client.send(headers=FORM, service="sns", target="", body=b"Action=ListTopics")
        assert (answer.status, ET.fromstring(answer.text)[0][1].text) == (400, "InvalidAction")
        assert "Penstock has no service 'sns'" in answer.text

    @pytest.mark.parametrize(
        "kind",
        ["application/x-amz-json-1.1", "application/x-amz-json-1.0", "Application/JSON; charset=utf-8"],
    )
    def test_content_types_that_are_taken(self, client, kind):
        assert client.send(headers={"Content-Type": kind}).status == 200

    def test_the_largest_body_is_still_read(self, client):
        body = b'{"NameContains":"' + b"x" * (LARGEST_BODY - 19) + b'"}'
        assert len(body) == LARGEST_BODY
        assert client.send(body=body).status == 200

    def test_who_leaves_in_the_middle_gets_no_answer_and_no_job(self, client, caplog):
        body = json.dumps(JOB).encode()
        call = signed("POST", "/", body, "SageMaker.CreateProcessingJob")
        with caplog.at_level(logging.INFO):
            assert client.deliver(*call, cut=len(body) - 1) is None
        assert not caplog.records
        assert client.store.job("job") is None
        assert client.deliver(*call).status == 200

    def test_modelled_errors_have_their_own_member(self, client):
        assert client.call("CreateProcessingJob", JOB).status == 200
        in_json(client.call("CreateProcessingJob", JOB), "ResourceInUse", member="Message")
        in_json(
            client.call("DeleteProcessingJob", {"ProcessingJobName": "job"}),
            "ResourceInUse",
            member="Message",
        )
        in_json(
            client.call("DescribeProcessingJob", {"ProcessingJobName": "no"}),
            "ValidationException",
            "Could not find requested job with name: no",
        )

    def test_logs(self, client):
        def call(operation, **params):
            return client.call(operation, params, service="logs", prefix="Logs_20140328")

        group = "/aws/sagemaker/ProcessingJobs"
        in_json(
            call("GetLogEvents", logGroupName="/other", logStreamName="s"),
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        )
        in_json(
            call("GetLogEvents", logGroupName=group, logStreamName="s"),
            "ResourceNotFoundException",
            "The specified log stream does not exist.",
        )
        answer = call("DescribeLogStreams", logGroupName=group, limit=51)
        in_json(answer, "InvalidParameterException")
        assert answer.json["message"].startswith("1 validation error detected: Value '51' at 'limit'")

    def test_a_mistake_of_the_servers_is_told_by_its_id_alone(self, client, monkeypatch, caplog):
        def broken(*_):
            raise RuntimeError("the inner truth")

        monkeypatch.setitem(OPERATIONS, ("sagemaker", "ListProcessingJobs"), broken)
        answer = client.send()
        in_json(answer, "InternalFailure", "We encountered an internal error. Please try again.", 500)
        assert answer.headers[b"x-amzn-requestid"].decode() in caplog.text

    def test_every_answer_has_an_id_of_its_own(self, client):
        answers = [client.send(), client.send(), client.send(key=None), client.send(body=b"{")]
        assert len({answer.headers[b"x-amzn-requestid"] for answer in answers}) == 4


class TestQuery:
    IAM = "https://iam.amazonaws.com/doc/2010-05-08/"

    def ask(self, client, form=b"Action=GetCallerIdentity&Version=2011-06-15", service="sts", **how):
        return client.send(body=form, target="", service=service, headers=FORM, **how)

    def test_all_is_well(self, client):
        answer = self.ask(client)
        assert answer.status == 200
        root = ET.fromstring(answer.text)
        told = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
        assert told["RequestId"] == answer.headers[b"x-amzn-requestid"].decode()
        assert self.ask(client, region="us-east-1").status == 200
        presigned = client.send(
            "GET",
            "/?Action=GetCallerIdentity&Version=2011-06-15",
            b"",
            "",
            service="sts",
            signer=SigV4QueryAuth,
        )
        assert presigned.status == 200

    @pytest.mark.parametrize(
        ("how", "code", "message", "status"),
        [
            ({"key": None}, "MissingAuthenticationToken", UNSIGNED, 403),
            ({"key": NOBODY}, "InvalidClientTokenId", BAD_TOKEN, 403),
            ({"key": WITH_TOKEN}, "InvalidClientTokenId", BAD_TOKEN, 403),
            ({"key": WRONG_SECRET}, "SignatureDoesNotMatch", MISMATCH, 403),
            (
                {"region": "us-west-2"},
                "SignatureDoesNotMatch",
                (
                    "Credential should be scoped to a valid region, not 'us-west-2'. "
                    "(This server's region is eu-west-1; PENSTOCK_REGION sets it.)"
                ),
                403,
            ),
            (
                {"change": altered("authorization", "/sts/", "/")},
                "IncompleteSignature",
                None,
                400,
            ),
            (
                {"form": b""},
                "MissingAction",
                "The request is missing an action or a required parameter.",
                400,
            ),
            (
                {"form": b"Action=AssumeRole&Version=2011-06-15"},
                "InvalidAction",
                "Could not find operation AssumeRole for version 2011-06-15",
                400,
            ),
            (
                {"form": b"Action=GetCallerIdentity&Version=1999-01-01"},
                "InvalidAction",
                "Could not find operation GetCallerIdentity for version 1999-01-01",
                400,
            ),
            (
                {"form": b"Action=GetCallerIdentity"},
                "InvalidAction",
                "Could not find operation GetCallerIdentity for version NO_VERSION_SPECIFIED",
                400,
            ),
        ],
    )
    def test_what_is_refused(self, client, how, code, message, status):
        answer = self.ask(client, **how)
        if (
            code == "IncompleteSignature"
        ):  # what can't be read names no service: it is answered as the form asks
            message = ET.fromstring(answer.text)[0][2].text
            assert message.startswith("Credential must have exactly 5 slash-delimited elements")
        in_xml(answer, code, message, status)

    def test_a_wrong_clock(self, client):
        answer = self.ask(client, at=clock(-20))
        message = ET.fromstring(answer.text)[0][2].text
        assert message.startswith("Signature expired: ")
        in_xml(answer, "SignatureDoesNotMatch", message, 403)

    def test_iam(self, client):
        form = b"Action=GetRole&Version=2010-05-08&RoleName=a%20b"
        answer = self.ask(client, form, "iam")
        message = ET.fromstring(answer.text)[0][2].text
        assert message.startswith("1 validation error detected: Value 'a b' at 'roleName' failed to satisfy")
        in_xml(answer, "ValidationError", message, 400, self.IAM)

    def test_unsigned_by_get(self, client):
        answer = client.deliver("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", [], b"")
        in_xml(answer, "MissingAuthenticationToken", UNSIGNED, 403)

    def test_large_and_broken(self, client):
        answer = self.ask(client, b"x" * (LARGEST_BODY + 1))
        in_xml(answer, "RequestEntityTooLarge", "The request body is larger than 4194304 bytes.", 413)
        answer = self.ask(client, b"Action=%ff")
        assert (answer.status, b"<Code>MalformedQueryString</Code>" in answer.body) == (400, True)

    def test_a_mistake_of_the_servers(self, client, monkeypatch):
        monkeypatch.setitem(OPERATIONS, ("sts", "GetCallerIdentity"), lambda *_: 1 / 0)
        answer = self.ask(client)
        assert answer.status == 500
        assert b"<Type>Receiver</Type><Code>InternalFailure</Code>" in answer.body


class TestS3:
    def ask(self, client, **how):
        return client.send("GET", "/bucket/key", b"", "", service="s3", **how)

    @pytest.mark.parametrize(
        ("how", "code", "message", "status"),
        [
            ({"key": None}, "AccessDenied", "Access Denied", 403),
            (
                {"key": NOBODY},
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                403,
            ),
            ({"key": WRONG_SECRET}, "SignatureDoesNotMatch", S3_MISMATCH, 403),
            (
                {"key": WITH_TOKEN},
                "InvalidToken",
                "The provided token is malformed or otherwise invalid.",
                400,
            ),
            ({"at": clock(-20)}, "RequestTimeTooSkewed", None, 403),
            (
                {"change": altered("authorization", "Signature=", "S=")},
                "AuthorizationHeaderMalformed",
                None,
                400,
            ),
            ({"change": without("x-amz-date")}, "AuthorizationHeaderMalformed", None, 400),
            ({"signer": S3SigV4QueryAuth, "at": clock(-120)}, "AccessDenied", "Request has expired.", 403),
        ],
    )
    def test_what_is_refused(self, client, how, code, message, status):
        of_s3(self.ask(client, **how), code, message, status)

    def test_words_that_s3_begins_with(self, client):
        skewed = ET.fromstring(self.ask(client, at=clock(-20)).text).findtext("Message")
        assert skewed.startswith(
            "The difference between the request time and the current time is too large. (Signature expired: "
        )
        answer = client.deliver("GET", "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256", [], b"")
        of_s3(answer, "AuthorizationQueryParametersError", None, 400)

    def test_the_old_signature_is_told_to_be_so(self, client):
        """boto3 presigns by it unless it is told otherwise."""
        text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        for signer in (HmacV1Auth, HmacV1QueryAuth):
            request = AWSRequest("GET", "http://127.0.0.1:1/bucket/key")
            signer(KEY).add_auth(request)
            parts = urlsplit(request.url)
            headers = [(k.lower().encode(), v.encode()) for k, v in request.headers.items()]
            answer = client.deliver("GET", f"{parts.path}?{parts.query}", headers, b"")
            of_s3(answer, "InvalidRequest", text, 400)

    def test_a_store_that_does_not_answer(self, client):
        answer = self.ask(client)
        of_s3(answer, "ServiceUnavailable", None, 503)
        assert KEY.secret_key not in answer.text


JOB = {
    "ProcessingJobName": "job",
    "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}},
    "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3", "-c", "pass"]},
    "RoleArn": "arn:aws:iam::111122223333:role/r",
}  # fmt: skip
