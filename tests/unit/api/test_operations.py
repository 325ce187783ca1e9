"""Operations, called as functions over a real store, and the application over ASGI with real signatures."""

import asyncio
import json
import logging
from datetime import datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.api import logs, processing, tags
from penstock.api.app import LARGEST_BODY, OPERATIONS, Application
from penstock.api.callers import LIFETIME, Callers, Lender
from penstock.api.context import Context
from penstock.clock import now
from penstock.job.events import Host
from penstock.job.life import Phase, Started, Succeeded, advance
from penstock.store.database import open_sqlite
from penstock.store.logbook import Logbook
from penstock.wire import signature
from penstock.wire.faults import Fault

KEY = Credentials("AKIATEST", "secret")
LENDER = Lender("secret")


@pytest.fixture
def context(tmp_path):
    store = open_sqlite(tmp_path / "p.db")
    clock = iter(range(1_700_000_000_000, 1_800_000_000_000, 1000))
    woken = []
    made = Context(
        store,
        Logbook(tmp_path / "logs"),
        "eu-west-1",
        "111122223333",
        lambda: next(clock),
        lambda: woken.append(1),
    )
    made.__dict__["woken"] = woken
    yield made
    store.close()


def request(name="job", **changes):
    return {
        "ProcessingJobName": name,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
        },
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["python3", "-c", "pass"]},
        "RoleArn": "arn:aws:iam::111122223333:role/r",
        **changes,
    }


def an_input(name="in", path="/opt/ml/processing/in", **more):
    s3 = {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix", "S3InputMode": "File", "LocalPath": path, **more}
    return {"InputName": name, "S3Input": s3}


def an_output(name="out", path="/opt/ml/processing/out"):
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": "s3://b/o", "LocalPath": path, "S3UploadMode": "EndOfJob"},
    }


def create(context, params):
    return asyncio.run(processing.create(context, params))


def end(context, name="job"):
    job = advance(context.store.job(name), Started(), 1)
    context.store.save_job(job)
    context.store.save_job(advance(job, Succeeded(), 2))


class TestProcessing:
    def test_a_job_is_put_on_record_and_the_dispatcher_told(self, context):
        given = request(ProcessingInputs=[an_input()], Tags=[{"Key": "k", "Value": "v"}])
        answer = create(context, given)
        assert answer == {"ProcessingJobArn": "arn:aws:sagemaker:eu-west-1:111122223333:processing-job/job"}
        assert context.woken == [1]
        told = processing.describe(context, {"ProcessingJobName": "job"})
        assert told["ProcessingJobStatus"] == "InProgress"
        assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
        assert told["ProcessingInputs"][0]["AppManaged"] is False
        assert told["ProcessingInputs"][0]["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
        assert "Tags" not in told
        assert told["ProcessingEndTime"] is None

    def test_a_name_is_taken_once_until_it_is_deleted(self, context):
        create(context, request())
        with pytest.raises(Fault, match="already exists") as caught:
            create(context, request())
        assert caught.value.code == "ResourceInUse"
        with pytest.raises(Fault, match="can't be deleted"):
            processing.delete(context, {"ProcessingJobName": "job"})
        end(context)
        processing.delete(context, {"ProcessingJobName": "job"})
        create(context, request())

    def test_a_job_that_is_not_there(self, context):
        for operate in (processing.describe, processing.stop, processing.delete):
            with pytest.raises(Fault, match="Could not find requested job with name: no") as caught:
                operate(context, {"ProcessingJobName": "no"})
            assert caught.value.code == "ValidationException"

    def test_stopping(self, context):
        create(context, request())
        context.store.save_job(advance(context.store.job("job"), Started(), 1))
        processing.stop(context, {"ProcessingJobName": "job"})
        processing.stop(context, {"ProcessingJobName": "job"})
        assert context.store.job("job").phase is Phase.STOPPING
        create(context, request("other"))
        processing.stop(context, {"ProcessingJobName": "other"})
        with pytest.raises(Fault, match="status Stopped"):
            processing.stop(context, {"ProcessingJobName": "other"})

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"AppSpecification": {"ImageUri": "nginx", "ContainerEntrypoint": ["x"]}}, "Invalid image URI nginx"),
            ({"AppSpecification": {"ImageUri": "python:3.11"}}, "give ContainerEntrypoint"),
            ({"Environment": {"A": "x\0y"}}, "Environment.A holds a NUL"),
            ({"ProcessingInputs": [an_input(path="/data")]}, "'/data' of input 'in' is not a folder below"),
            ({"ProcessingInputs": [an_input(path="/opt/ml/processing/../x")]}, "not a folder below"),
            ({"ProcessingInputs": [an_input(), an_input("b")]}, "input 'b' and input 'in' have the same LocalPath"),
            ({"ProcessingInputs": [an_input(), an_input(path="/opt/ml/processing/b")]}, "'in' is used twice"),
            ({"ProcessingInputs": [{"InputName": "x"}]}, "exactly one of S3Input and DatasetDefinition"),
            ({"ProcessingInputs": [an_input(S3CompressionType="Gzip")]}, "needs the S3InputMode Pipe"),
            (
                {"ProcessingInputs": [an_input()], "ProcessingOutputConfig": {"Outputs": [an_output(path="/opt/ml/processing/in/x")]}},
                "overlaps",
            ),
            ({"ProcessingOutputConfig": {"Outputs": [an_output(), an_output(path="/opt/ml/processing/o")]}}, "'out' is used twice"),
            (
                {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "f", "FeatureStoreOutput": {"FeatureGroupName": "g"}}]}},
                "needs AppManaged=true",
            ),
            ({"ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 1}}}, "InstanceType or InstancePreferences"),
            (
                {
                    "ProcessingResources": {
                        "ClusterConfig": {
                            "VolumeSizeInGB": 1,
                            "InstancePreferences": [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.m5.large"}],
                        }
                    }
                },
                "ml.m5.large is named twice",
            ),
        ],
    )  # fmt: skip
    def test_a_request_that_makes_no_sense_is_refused_with_the_field(self, context, changes, words):
        with pytest.raises(Fault) as caught:
            create(context, request(**changes))
        assert caught.value.code == "ValidationException"
        assert words in str(caught.value)
        assert context.store.job("job") is None

    def test_all_broken_rules_are_told_at_once(self, context):
        with pytest.raises(Fault) as caught:
            create(context, request(ProcessingInputs=[an_input(path="/x"), an_input(path="/y")]))
        assert all(word in str(caught.value) for word in ("'/x'", "'/y'", "twice"))

    def test_preferences_choose_an_instance_type(self, context):
        cluster = {
            "VolumeSizeInGB": 1,
            "InstancePreferences": [{"InstanceType": "ml.m5.large", "InstanceCount": 3}],
        }
        create(context, request(ProcessingResources={"ClusterConfig": cluster}))
        told = processing.describe(context, {"ProcessingJobName": "job"})["ProcessingResources"][
            "ClusterConfig"
        ]
        assert (told["SelectedInstanceType"], told["SelectedInstanceCount"], told["InstanceCount"]) == (
            "ml.m5.large",
            3,
            3,
        )

    def test_lists_are_paged(self, context):
        for n in range(5):
            create(context, request(f"j{n}"))
        first = processing.list_jobs(context, {"MaxResults": 3})
        rest = processing.list_jobs(context, {"MaxResults": 3, "NextToken": first["NextToken"]})
        names = [s["ProcessingJobName"] for page in (first, rest) for s in page["ProcessingJobSummaries"]]
        assert names == [f"j{n}" for n in range(5)]
        assert rest["NextToken"] is None
        for bad in ("x", "MQ=="):
            with pytest.raises(Fault, match="NextToken"):
                processing.list_jobs(context, {"NextToken": bad})


class TestTags:
    ARN = "arn:aws:sagemaker:eu-west-1:111122223333:processing-job/job"

    def test_they_are_added_listed_and_deleted(self, context):
        create(context, request())
        answer = tags.add(
            context,
            {"ResourceArn": self.ARN, "Tags": [{"Key": "b", "Value": "1"}, {"Key": "a", "Value": ""}]},
        )
        assert answer["Tags"] == [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "1"}]
        tags.delete(context, {"ResourceArn": self.ARN, "TagKeys": ["a"]})
        assert tags.list_tags(context, {"ResourceArn": self.ARN.lower()}) == {
            "Tags": [{"Key": "b", "Value": "1"}],
            "NextToken": None,
        }

    def test_a_resource_has_at_most_fifty(self, context):
        create(context, request())
        tags.add(
            context, {"ResourceArn": self.ARN, "Tags": [{"Key": f"k{n}", "Value": ""} for n in range(50)]}
        )
        with pytest.raises(Fault, match="at most 50"):
            tags.add(context, {"ResourceArn": self.ARN, "Tags": [{"Key": "new", "Value": ""}]})

    def test_a_resource_that_is_not_there(self, context):
        with pytest.raises(Fault, match="does not exist"):
            tags.list_tags(context, {"ResourceArn": self.ARN})


class TestLogs:
    GROUP = logs.GROUP

    @pytest.fixture
    def streams(self, context):
        create(
            context,
            request(
                ProcessingResources={
                    "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
                }
            ),
        )
        job = context.store.job("job")
        hosts = [Host(job.uid, "job", f"algo-{n}", "d", f"job/algo-{n}-1700000000") for n in (1, 2)]
        context.store.add_hosts(advance(job, Started(), 1), hosts)
        context.logbook.append(job.uid, "algo-1", 0, b"10 a\n10 b\n20 c\n")
        context.logbook.append(job.uid, "algo-2", 0, b"15 x error\n")
        return [h.log_stream for h in hosts]

    def test_a_full_page_of_streams_carries_no_token(self, context, streams):
        page = logs.describe_streams(
            context, {"logGroupName": self.GROUP, "logStreamNamePrefix": "job/", "limit": 2}
        )
        assert [s["logStreamName"] for s in page["logStreams"]] == streams
        assert page["nextToken"] is None
        first = logs.describe_streams(context, {"logGroupName": self.GROUP, "limit": 1})
        rest = logs.describe_streams(
            context, {"logGroupName": self.GROUP, "limit": 1, "nextToken": first["nextToken"]}
        )
        assert rest["logStreams"][0]["logStreamName"] == streams[1]
        assert rest["nextToken"] is None

    def test_events_from_the_head_until_an_empty_page_with_the_same_token(self, context, streams):
        asked = {"logGroupName": self.GROUP, "logStreamName": streams[0], "startFromHead": True, "limit": 2}
        first = logs.get_events(context, asked)
        second = logs.get_events(context, {**asked, "nextToken": first["nextForwardToken"]})
        last = logs.get_events(context, {**asked, "nextToken": second["nextForwardToken"]})
        assert [[e["message"] for e in page["events"]] for page in (first, second, last)] == [
            ["a", "b"],
            ["c"],
            [],
        ]
        assert last["nextForwardToken"] == second["nextForwardToken"]
        back = logs.get_events(context, {**asked, "nextToken": second["nextBackwardToken"]})
        assert [e["message"] for e in back["events"]] == ["a", "b"]

    def test_a_start_time_is_inclusive_and_an_end_time_is_not(self, context, streams):
        asked = {"logGroupName": self.GROUP, "logStreamName": streams[0], "startFromHead": True}
        assert [e["message"] for e in logs.get_events(context, {**asked, "startTime": 10})["events"]] == [
            "a",
            "b",
            "c",
        ]
        assert [e["message"] for e in logs.get_events(context, {**asked, "startTime": 11})["events"]] == ["c"]
        assert [e["message"] for e in logs.get_events(context, {**asked, "endTime": 20})["events"]] == [
            "a",
            "b",
        ]

    def test_without_more_the_tail_comes(self, context, streams):
        asked = {"logGroupName": self.GROUP, "logStreamName": streams[0], "limit": 1}
        assert [e["message"] for e in logs.get_events(context, asked)["events"]] == ["c"]

    def test_streams_are_searched_together_by_time(self, context, streams):
        asked = {"logGroupName": self.GROUP, "logStreamNamePrefix": "job/"}
        found = logs.filter_events(context, {**asked, "limit": 3})
        more = logs.filter_events(context, {**asked, "nextToken": found["nextToken"]})
        assert [e["message"] for page in (found, more) for e in page["events"]] == ["a", "b", "x error", "c"]
        assert [
            e["message"] for e in logs.filter_events(context, {**asked, "filterPattern": "error"})["events"]
        ] == ["x error"]

    def test_what_is_not_there(self, context):
        with pytest.raises(Fault, match="log group") as caught:
            logs.get_events(context, {"logGroupName": "/x", "logStreamName": "y"})
        assert caught.value.code == "ResourceNotFoundException"
        with pytest.raises(Fault, match="log stream"):
            logs.get_events(context, {"logGroupName": self.GROUP, "logStreamName": "y"})
        assert logs.describe_groups(context, {"logGroupNamePrefix": "/no"}) == {"logGroups": []}


class TestApplication:
    @pytest.fixture
    def call(self, context):
        context = Context(context.store, context.logbook, "eu-west-1", "111122223333", now, lambda: None)

        async def gateway(_scope, _receive, send):
            await send({"type": "http.response.start", "status": 299, "headers": []})
            await send({"type": "http.response.body", "body": b"from the store"})

        key = signature.Key(KEY.access_key, KEY.secret_key)
        callers = Callers(key, LENDER, context.store.job_of_uid, now)
        application = Application(context, callers, gateway, lambda: {"store": "ready"}, lambda: None)

        def send(
            method="POST",
            path="/",
            body=b"{}",
            service="sagemaker",
            target="SageMaker.ListProcessingJobs",
            key=KEY,
            headers=(),
        ):
            sent = AWSRequest(method, f"http://127.0.0.1:1{path}", data=body, headers=dict(headers))
            sent.headers["Host"] = "127.0.0.1:1"
            if target:
                sent.headers["X-Amz-Target"] = target
            if key is not None:
                SigV4Auth(key, service, "eu-west-1").add_auth(sent)
            raw = [(k.lower().encode(), str(v).encode()) for k, v in sent.headers.items()]
            path, _, query = path.partition("?")
            scope = {
                "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
                "headers": raw, "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 1), "client": ("127.0.0.1", 2),
            }  # fmt: skip
            messages = [{"type": "http.request", "body": body, "more_body": False}]
            got = []

            async def receive():
                return messages.pop(0) if messages else {"type": "http.disconnect"}

            async def answer(message):
                got.append(message)

            asyncio.run(application(scope, receive, answer))
            content = b"".join(m.get("body", b"") for m in got[1:])
            return got[0]["status"], dict(got[0]["headers"]), content

        return send

    def code(self, answer):
        status, _, content = answer
        return status, json.loads(content)["__type"]

    def test_a_signed_call_is_answered(self, call):
        status, headers, content = call()
        assert (status, json.loads(content)) == (200, {"ProcessingJobSummaries": []})
        assert headers[b"x-amzn-requestid"]

    def test_unsigned_and_wrongly_signed_calls_are_refused(self, call):
        assert self.code(call(key=None))[1] == "MissingAuthenticationTokenException"
        assert self.code(call(key=Credentials("AKIAOTHER", "x")))[1] == "UnrecognizedClientException"
        assert self.code(call(key=Credentials(KEY.access_key, "wrong")))[1] == "InvalidSignatureException"

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"target": "SageMaker.CreateTrainingJob"}, "UnknownOperationException"),
            ({"target": ""}, "UnknownOperationException"),
            ({"target": "X.ListProcessingJobs"}, "UnknownOperationException"),
            ({"service": "ecr"}, "UnknownOperationException"),
            ({"body": b"{"}, "SerializationException"),
            ({"body": b"[]"}, "SerializationException"),
            ({"body": b'{"MaxResults": 1000}'}, "ValidationException"),
            ({"body": b"x" * (LARGEST_BODY + 1)}, "RequestEntityTooLargeException"),
        ],
    )
    def test_bad_calls_get_their_codes(self, call, changes, code):
        status, found = self.code(call(**changes))
        assert (status < 500, found) == (True, code)

    def test_an_error_of_ours_is_told_by_its_id_and_never_with_a_trace(self, call, monkeypatch, caplog):
        def broken(*_):
            raise RuntimeError("the inner truth")

        monkeypatch.setitem(OPERATIONS, ("sagemaker", "ListProcessingJobs"), broken)
        with caplog.at_level(logging.ERROR):
            status, headers, content = call()
        assert status == 500
        assert b"inner truth" not in content
        assert headers[b"x-amzn-requestid"].decode() in caplog.text

    def test_s3_goes_to_the_store(self, call):
        assert call("GET", "/bucket/key", b"", service="s3", target="")[::2] == (299, b"from the store")
        assert call("GET", "/bucket/key", b"", key=None, target="")[0] == 299

    def test_our_own_record_is_for_who_has_the_key(self, call, context):
        create(context, request())
        status, _, content = call("GET", "/penstock/jobs/job", b"", target="")
        assert (status, json.loads(content)["phase"]) == (200, "queued")
        assert call("GET", "/penstock/jobs/no", b"", target="")[0] == 400
        assert self.code(call("GET", "/penstock/jobs/job", b"", key=None, target=""))[0] != 200

    @pytest.fixture
    def lent(self, call, context):
        """Fetches credentials as a job's program does; two jobs are there, `job` and `other`."""
        for name in ("job", "other"):
            create(context, request(name))
            context.store.save_job(advance(context.store.job(name), Started(), 1))

        def fetch(name="job", token_of="job"):
            uid, other = (context.store.job(n).uid for n in (name, token_of))
            sent = {"Authorization": LENDER.token(other)}
            status, _, content = call(
                "GET", f"/penstock/credentials/{uid}", b"", key=None, target="", headers=sent
            )
            return status, json.loads(content)

        return fetch

    def credentials(self, told):
        return Credentials(told["AccessKeyId"], told["SecretAccessKey"], told["Token"])

    def test_a_jobs_program_is_lent_credentials_until_the_job_ends(self, call, lent, context):
        status, told = lent()
        assert status == 200
        left = datetime.fromisoformat(told["Expiration"]).timestamp() - now() / 1000
        assert LIFETIME - 60 < left <= LIFETIME
        key = self.credentials(told)
        described = {"body": b'{"ProcessingJobName": "job"}', "target": "SageMaker.DescribeProcessingJob"}
        assert call(key=key, **described)[0] == 200
        assert call("GET", "/penstock/jobs/job", b"", target="", key=key)[0] == 200
        context.store.save_job(advance(context.store.job("job"), Succeeded(), 2))
        assert self.code(call(key=key, **described)) == (400, "ExpiredTokenException")
        assert lent()[0] == 403

    def test_nobody_is_lent_credentials_of_another(self, lent, call):
        status, told = lent("job", token_of="other")
        assert status == 403
        assert "SecretAccessKey" not in told
        assert (
            call(
                "GET", "/penstock/credentials/none", b"", key=None, target="", headers={"Authorization": "x"}
            )[0]
            == 403
        )

    def test_credentials_are_good_with_their_own_token_alone(self, call, lent, context):
        told, others = lent()[1], lent("other", "other")[1]
        uid = context.store.job("job").uid
        longer = LENDER.lend(uid, now() // 1000 + 10 * LIFETIME).key
        forged = Lender("another secret").lend(uid, now() // 1000 + LIFETIME).key
        past = LENDER.lend(uid, now() // 1000 - 1).key
        asked = {"service": "sts", "target": "", "body": b"Action=GetCallerIdentity&Version=2011-06-15"}
        assert call(key=self.credentials(told), **asked)[0] == 200

        def refused(identifier, secret, token):
            status, _, content = call(key=Credentials(identifier, secret, token), **asked)
            return status, content.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()

        mine = told["AccessKeyId"], told["SecretAccessKey"]
        assert refused(*mine, None) == (403, "InvalidClientTokenId")
        assert refused(*mine, others["Token"]) == (403, "InvalidClientTokenId")
        assert refused(*mine, longer.token) == (403, "InvalidClientTokenId")
        assert refused(*mine, told["Token"] + "=") == (403, "InvalidClientTokenId")
        assert refused(*mine, "x" + told["Token"]) == (403, "InvalidClientTokenId")
        assert refused(told["AccessKeyId"], "wrong", told["Token"]) == (403, "SignatureDoesNotMatch")
        assert refused(KEY.access_key, KEY.secret_key, told["Token"]) == (403, "InvalidClientTokenId")
        assert refused(KEY.access_key, KEY.secret_key, "another") == (403, "InvalidClientTokenId")
        assert refused(forged.access_key_id, forged.secret, forged.token) == (403, "InvalidClientTokenId")
        assert refused(past.access_key_id, past.secret, past.token) == (403, "ExpiredToken")

    @pytest.mark.parametrize(
        ("service", "target", "body"),
        [
            ("sagemaker", "SageMaker.ListProcessingJobs", {}),
            ("sagemaker", "SageMaker.CreateProcessingJob", request("new")),
            ("sagemaker", "SageMaker.StopProcessingJob", {"ProcessingJobName": "other"}),
            ("sagemaker", "SageMaker.StopProcessingJob", {"ProcessingJobName": "JOB"}),
            ("sagemaker", "SageMaker.DescribeProcessingJob", {"ProcessingJobName": "other"}),
            ("sagemaker", "SageMaker.DeleteProcessingJob", {"ProcessingJobName": "job"}),
            ("logs", "Logs_20140328.DescribeLogStreams", {"logGroupName": logs.GROUP}),
            ("logs", "Logs_20140328.DescribeLogStreams", {"logGroupName": logs.GROUP, "logStreamNamePrefix": "job"}),
            ("logs", "Logs_20140328.GetLogEvents", {"logGroupName": logs.GROUP, "logStreamName": "other/algo-1-1"}),
            ("logs", "Logs_20140328.FilterLogEvents", {"logGroupName": logs.GROUP}),
            (
                "logs",
                "Logs_20140328.FilterLogEvents",
                {"logGroupName": logs.GROUP, "logStreamNames": ["job/a", "other/a"]},
            ),
        ],
    )  # fmt: skip
    def test_what_concerns_others_is_refused_to_a_job(self, call, lent, context, service, target, body):
        key = self.credentials(lent()[1])
        status, _, content = call(key=key, service=service, target=target, body=json.dumps(body).encode())
        told = json.loads(content)
        operation = target.partition(".")[2]
        assert (status, told["__type"]) == (400, "AccessDeniedException")
        assert (told.get("message") or told["Message"]).startswith(
            "User: arn:aws:sts::111122223333:assumed-role/r/SageMaker is not authorized to perform: "
            f"{service}:{operation} on resource: "
        )
        assert context.store.job("new") is None
        assert context.store.job("other").phase is Phase.PREPARING

    def test_what_concerns_itself_is_allowed_to_a_job(self, call, lent, context):
        key = self.credentials(lent()[1])
        arn = context.store.job("job").arn
        for service, target, body in (
            ("sagemaker", "SageMaker.ListTags", {"ResourceArn": arn}),
            (
                "logs",
                "Logs_20140328.DescribeLogStreams",
                {"logGroupName": logs.GROUP, "logStreamNamePrefix": "job/"},
            ),
            ("sagemaker", "SageMaker.StopProcessingJob", {"ProcessingJobName": "job"}),
        ):
            sent = json.dumps(body).encode()
            assert call(key=key, service=service, target=target, body=sent)[0] == 200
        assert context.store.job("job").phase is Phase.STOPPING
        assert (
            self.code(call("GET", "/penstock/jobs/other", b"", target="", key=key))[1]
            == "AccessDeniedException"
        )
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        assert b"assumed-role/r/SageMaker</Arn>" in call(key=key, service="sts", target="", body=body)[2]

    def test_reports_need_the_runs_token(self, call, context):
        create(context, request())
        uid = context.store.job("job").uid
        digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
        context.store.add_hosts(
            advance(context.store.job("job"), Started(), 1), [Host(uid, "job", "algo-1", digest, "s")]
        )

        def post(what, body, token="secret", host="algo-1"):
            path = f"/penstock/runs/{uid}/{host}/{what}"
            return call(
                "POST", path, body, key=None, target="", headers={"Authorization": f"Bearer {token}"}
            )[::2]

        assert post("log?offset=0", b"1 a\n") == (200, b'{"size":4}')
        event = {"sequence": 1, "kind": "phase", "at": 5, "data": {"phase": "running"}}
        assert post("events", json.dumps({"events": [event]}).encode()) == (200, b'{"sequence":1}')
        assert post("log?offset=0", b"", token="guess")[0] == 403
        assert post("log?offset=0", b"", host="algo-2")[0] == 404
        assert post("log?offset=x", b"")[0] == 400
        assert post("events", b"no json")[0] == 400
        assert post("events", b'{"events": [{}]}')[0] == 400
        assert post("other", b"")[0] == 404

        def moved():
            return json.loads(call("GET", "/penstock/jobs/job", b"", target="")[2])["progress"]

        progress = {"way": "download", "objects": 1, "bytes": 5, "total_objects": 2, "total_bytes": 10}
        assert moved() is None
        assert post("progress", json.dumps(progress).encode(), token="guess")[0] == 403
        assert post("progress", b"[]")[0] == 400
        assert post("progress", json.dumps(progress).encode())[0] == 200
        assert moved() == {**progress, "bytes_per_second": None, "seconds_left": None}
        assert post("events", json.dumps({"events": [{**event, "sequence": 2}]}).encode())[0] == 200
        assert moved() is None  # the phase is over
