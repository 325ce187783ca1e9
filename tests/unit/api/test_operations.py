"""Operations, called as functions over a real store, and the application over ASGI with real signatures."""

import base64
import json
import logging
from dataclasses import replace

import pytest
from botocore.credentials import Credentials
from jobs_on_record import an_input, an_output, create, end, request
from wire_client import KEY

from penstock.api import logs, processing, tags
from penstock.api.body import LARGEST_BODY
from penstock.api.operations import OPERATIONS
from penstock.clock import now
from penstock.job.events import Host
from penstock.job.life import Failed, Halted, Phase, Started, Succeeded, advance
from penstock.job.seal import NONCE, SEAL, seal
from penstock.job.uploads import Upload
from penstock.wire.faults import Fault


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

    def test_a_call_that_is_tried_again_makes_one_job_and_is_told_so(self, context):
        """Its first answer may have been lost with a server that died; another call of that name is none of it."""
        again = replace(context, invocation="b0f9")
        told = create(again, request())
        assert create(again, request()) == told
        with pytest.raises(Fault, match="already exists"):
            create(replace(context, invocation="b0fa"), request())
        with pytest.raises(Fault, match="already exists"):
            create(context, request())
        assert context.store.active_count() == 1

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
            ({"Environment": {f"A{n}": "é" * 30_000 for n in range(30)}}, "have 1800420 bytes together, 300420 more"),
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

    @pytest.mark.parametrize(
        ("cluster", "selected"),
        [
            ({"InstancePreferences": [{"InstanceType": "ml.m5.large", "InstanceCount": 3}]}, ("ml.m5.large", 3)),
            (
                {"InstancePreferences": [{"InstanceType": "ml.c5.xlarge"}, {"InstanceType": "ml.m5.large"}], "InstanceCount": 2},
                ("ml.c5.xlarge", 2),
            ),
        ],
    )  # fmt: skip
    def test_the_first_preference_is_selected(self, context, cluster, selected):
        cluster["VolumeSizeInGB"] = 1
        create(context, request(ProcessingResources={"ClusterConfig": cluster}))
        told = processing.describe(context, {"ProcessingJobName": "job"})["ProcessingResources"][
            "ClusterConfig"
        ]
        assert (told["SelectedInstanceType"], told["SelectedInstanceCount"]) == selected
        assert told["InstanceCount"] == selected[1]
        assert told["InstancePreferences"] == cluster["InstancePreferences"]
        assert "InstanceType" not in told

    @pytest.mark.parametrize(
        ("cluster", "words"),
        [
            ({"InstanceType": "ml.m5.large", "SelectedInstanceType": "ml.m5.large"}, "SelectedInstanceType is set by"),
            ({"InstanceType": "ml.m5.large", "SelectedInstanceCount": 1}, "SelectedInstanceCount is set by"),
            ({"InstanceType": "ml.m5.large", "InstancePreferences": [{"InstanceType": "ml.c5.large"}]}, "exclude each other"),
            ({"InstancePreferences": [{"InstanceType": "ml.c5.large"}]}, "give InstanceCount either"),
            ({"InstancePreferences": [{"InstanceType": "ml.c5.large", "InstanceCount": 1}], "InstanceCount": 1}, "give InstanceCount either"),
            (
                {"InstancePreferences": [{"InstanceType": "ml.c5.large", "InstanceCount": 1}, {"InstanceType": "ml.m5.large"}]},
                "give InstanceCount either",
            ),
            ({"InstanceType": "ml.g5.xlarge", "VolumeSizeInGB": 251}, "has 250 GB of local storage"),
            ({"InstanceType": "ml.r5d.large", "VolumeKmsKeyId": "k"}, "no VolumeKmsKeyId"),
            (
                {"InstancePreferences": [{"InstanceType": "ml.m5.large"}, {"InstanceType": "ml.g4dn.xlarge"}], "InstanceCount": 1, "VolumeSizeInGB": 200},
                "ml.g4dn.xlarge has 125 GB of local storage",
            ),
        ],
    )  # fmt: skip
    def test_a_cluster_that_makes_no_sense_is_refused(self, context, cluster, words):
        with pytest.raises(Fault, match=words) as caught:
            create(context, request(ProcessingResources={"ClusterConfig": {"VolumeSizeInGB": 1, **cluster}}))
        assert caught.value.code == "ValidationException"

    def test_what_is_managed_by_the_program_needs_no_path_and_no_mode(self, context):
        given = request(
            ProcessingInputs=[
                {"InputName": "a", "AppManaged": True, "S3Input": {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix"}},
                {"InputName": "d", "AppManaged": True, "DatasetDefinition": {"AthenaDatasetDefinition": {}}},
            ],
            ProcessingOutputConfig={
                "Outputs": [
                    {"OutputName": "f", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "g"}},
                    {"OutputName": "s", "AppManaged": True, "S3Output": {"S3Uri": "s3://b/o", "S3UploadMode": "EndOfJob"}},
                ]
            },
        )  # fmt: skip
        create(context, given)
        told = processing.describe(context, {"ProcessingJobName": "job"})
        assert [i["AppManaged"] for i in told["ProcessingInputs"]] == [True, True]
        assert told["ProcessingOutputConfig"] == given["ProcessingOutputConfig"]
        for member in ("LocalPath", "S3InputMode"):
            unmanaged = an_input()
            del unmanaged["S3Input"][member]
            with pytest.raises(Fault, match=f"needs an? {member}, for it is not AppManaged"):
                create(context, request("other", ProcessingInputs=[unmanaged]))

    def test_a_bare_request_is_described_with_the_defaults_and_nothing_else(self, context):
        given = request()
        del given["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
        create(context, given)
        told = processing.describe(context, {"ProcessingJobName": "job"})
        assert told.pop("CreationTime") == told.pop("LastModifiedTime")
        assert {k: v for k, v in told.items() if v is not None} == {
            **request(),
            "ProcessingJobArn": "arn:aws:sagemaker:eu-west-1:111122223333:processing-job/job",
            "ProcessingJobStatus": "InProgress",
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        }
        assert given == {**request(), "ProcessingResources": given["ProcessingResources"]}  # left as it was

    @pytest.mark.parametrize(
        ("event", "end"),
        [
            (Succeeded("well"), {"ExitMessage": "well"}),
            (Failed("AlgorithmError: , exit code: 3", "bad"), {"FailureReason": "AlgorithmError: , exit code: 3", "ExitMessage": "bad"}),
            (Halted("cut"), {"ExitMessage": "cut"}),
        ],
    )  # fmt: skip
    def test_an_end_is_told_with_its_reason_and_message(self, context, event, end):
        create(context, request())
        at = context.clock()
        started = advance(context.store.job("job"), Started(), at + 5)
        context.store.save_job(started)
        context.store.save_job(advance(started, event, at + 7))
        told = processing.describe(context, {"ProcessingJobName": "job"})
        [line] = processing.list_jobs(context, {})["ProcessingJobSummaries"]
        for shown in (told, line):
            members = ("ExitMessage", "FailureReason")
            assert {k: shown[k] for k in members if shown[k] is not None} == end
            assert shown["ProcessingEndTime"] == at + 7

    def test_a_deleted_jobs_tags_and_logs_are_not_those_of_the_next(self, context):
        create(context, request(Tags=[{"Key": "k", "Value": "old"}]))
        context.logbook.append(context.store.job("job").uid, "algo-1", 0, b"1 old\n")
        end(context)
        uid = context.store.job("job").uid
        processing.delete(context, {"ProcessingJobName": "job"})
        assert context.logbook.size(uid, "algo-1") == 0
        create(context, request())
        assert tags.list_tags(context, {"ResourceArn": context.job_arn("job")}) == {"Tags": []}

    def test_a_stopping_job_is_in_use(self, context):
        create(context, request())
        context.store.save_job(advance(context.store.job("job"), Started(), 1))
        processing.stop(context, {"ProcessingJobName": "job"})
        with pytest.raises(Fault, match="status Stopping") as caught:
            processing.delete(context, {"ProcessingJobName": "job"})
        assert caught.value.code == "ResourceInUse"

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

    def test_a_token_of_no_characters_is_refused(self, context):
        """Half of a surrogate pair, which no database takes."""

        def bad(place):
            return base64.urlsafe_b64encode(place).decode()

        for place in (rb'["\ud800", "x"]', rb'["x", "\ud800"]'):
            with pytest.raises(Fault, match="NextToken"):
                processing.list_jobs(context, {"NextToken": bad(place), "SortBy": "Name"})
        group = {"logGroupName": "/aws/sagemaker/ProcessingJobs"}
        with pytest.raises(Fault, match="NextToken"):
            logs.describe_streams(context, {**group, "nextToken": bad(rb'"\ud800"')})


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
            "Tags": [{"Key": "b", "Value": "1"}]
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
        create(context, request())
        for other in (
            self.ARN.replace("111122223333", "999999999999"),
            self.ARN.replace("processing", "training"),
        ):
            with pytest.raises(Fault, match="does not exist"):
                tags.add(context, {"ResourceArn": other, "Tags": []})

    def test_a_full_set_comes_on_one_page_and_there_is_no_token(self, context):
        create(context, request(Tags=[{"Key": f"k{n:02}", "Value": str(n)} for n in range(50)]))
        page = tags.list_tags(context, {"ResourceArn": self.ARN, "MaxResults": 50})
        assert page == {"Tags": [{"Key": f"k{n:02}", "Value": str(n)} for n in range(50)]}
        with pytest.raises(Fault, match="NextToken"):
            tags.list_tags(context, {"ResourceArn": self.ARN, "NextToken": "MA=="})

    def test_a_full_set_can_be_changed_but_not_grow(self, context):
        create(context, request(Tags=[{"Key": f"k{n:02}", "Value": ""} for n in range(50)]))
        answer = tags.add(context, {"ResourceArn": self.ARN, "Tags": [{"Key": "k07", "Value": "new"}]})
        assert answer["Tags"][7] == {"Key": "k07", "Value": "new"}
        assert len(answer["Tags"]) == 50
        both = [{"Key": "k00", "Value": "x"}, {"Key": "one-more", "Value": ""}]
        with pytest.raises(Fault, match="at most 50"):
            tags.add(context, {"ResourceArn": self.ARN, "Tags": both})
        assert tags.list_tags(context, {"ResourceArn": self.ARN})["Tags"][0] == {"Key": "k00", "Value": ""}


class TestApplication:
    @pytest.fixture
    def context(self, client):
        return client.context

    @pytest.fixture
    def call(self, client):
        def send(*args, **how):
            answer = client.send(*args, **how)
            return answer.status, answer.headers, answer.body

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
            ({"service": "ecr", "target": "X.Describe"}, "UnknownOperationException"),
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

    def test_metrics_are_told_by_method_and_path(self, call, context):
        create(context, request(ExperimentConfig={"RunName": "r"}))

        def put(component="job-aws-processing-job", **changes):
            data = [{"MetricName": "loss", "Timestamp": now() / 1000, "Value": 0.5}]
            body = json.dumps({"TrialComponentName": component, "MetricData": data}).encode()
            return call(
                **{"method": "PUT", "path": "/BatchPutMetrics", "body": body, "target": "", **changes}
            )

        status, headers, content = put()
        assert (status, headers[b"content-type"], content) == (200, b"application/json", b"{}")
        for changes, code in (
            ({"component": "nobody"}, b"ValidationException"),
            ({"component": "Job-aws-processing-job"}, b"ValidationException"),  # upper case: by the model
            ({"key": None}, b"MissingAuthenticationTokenException"),
            ({"body": b"{"}, b"SerializationException"),
        ):
            status, headers, content = put(**changes)
            assert (status, headers[b"x-amzn-errortype"]) == (400, code)
            assert json.loads(content)["message"]
        assert (
            call("GET", "/BatchPutMetrics", b"", key=None, target="")[0] == 299
        )  # not an operation: anonymous S3

    def test_s3_goes_to_the_store(self, call):
        assert call("GET", "/bucket/key", b"", service="s3", target="")[::2] == (299, b"from the store")
        assert call("GET", "/bucket/key", b"", key=None, target="")[0] == 299

    def test_our_own_record_is_for_who_has_the_key(self, call, context):
        create(context, request())
        status, _, content = call("GET", "/penstock/jobs/job", b"", target="")
        assert (status, json.loads(content)["phase"]) == (200, "queued")
        assert call("GET", "/penstock/jobs/no", b"", target="")[0] == 400
        assert self.code(call("GET", "/penstock/jobs/job", b"", key=None, target=""))[0] != 200

    def test_reports_need_the_runs_token(self, call, context):
        create(context, request())
        uid = context.store.job("job").uid
        digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
        context.store.add_hosts(
            advance(context.store.job("job"), Started(), 1), [Host(uid, "job", "algo-1", digest, "s")]
        )

        def post(what, body, token="secret", host="algo-1"):
            """Status and body; whatever a run is told that is known is sealed, and nothing else."""
            path = f"/penstock/runs/{uid}/{host}/{what}"
            headers = {"Authorization": f"Bearer {token}", NONCE: "n"}
            status, told, content = call("POST", path, body, key=None, target="", headers=headers)
            known = (token, host) == ("secret", "algo-1") and what != "other"
            sealed = seal(digest, "n", status, content).encode() if known else None
            assert told.get(SEAL.encode()) == sealed
            return status, content

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
        uploads = [Upload("out", f"s3://b/{n:04}", n, "00", 7) for n in range(1001)]
        lines = b"".join(one.to_line() for one in uploads)
        for _ in range(2):
            assert post("uploads", lines) == (200, b'{"taken":1001}')
        assert post("uploads", b"{}\n")[0] == 400
        event = {"sequence": 3, "kind": "ended", "at": 5, "data": {"outcome": "succeeded"}}
        assert post("events", json.dumps({"events": [event]}).encode())[0] == 200
        assert post("lease", b"")[0] == 410
        assert post("uploads", lines, token="guess")[0] == 403

        def get(path):
            status, _, content = call("GET", f"/penstock/jobs/job{path}", b"", target="")
            assert status == 200
            return json.loads(content)

        assert get("")["uploads"] == [{"name": "out", "objects": 1001, "bytes": sum(range(1001))}]
        first = get("/outputs")
        second = get(f"/outputs?after={first['next']}")
        assert second["next"] is None
        assert [one["uri"] for one in first["uploads"] + second["uploads"]] == [one.uri for one in uploads]
        assert first["uploads"][3] == {
            "host": "algo-1",
            "output": "out",
            "uri": "s3://b/0003",
            "size": 3,
            "sha256": "00",
            "at": 7,
        }
        assert call("GET", "/penstock/jobs/job/else", b"", target="")[0] == 400
        assert call("GET", "/penstock/jobs/job/outputs?after=x", b"", target="")[0] == 400
