"""Credentials that a job's program is lent: how it gets them, and what the application takes them for."""

import json
from datetime import datetime

import pytest
from botocore.credentials import Credentials
from jobs_on_record import create, create_part, make_parents, request
from wire_client import KEY, LENDER, REGION, WireClient

from penstock.api import artifacts, logs, trial_components
from penstock.api.callers import LIFETIME, Lender
from penstock.api.entities import arn_of
from penstock.clock import now
from penstock.job.experiments import Component
from penstock.job.life import Phase, Started, Succeeded, advance
from penstock.job.run import S3Access


@pytest.fixture
def client(tmp_path):
    # Nothing listens at port 1: what reaches the store is answered by ServiceUnavailable.
    made = WireClient(tmp_path, access=S3Access("http://127.0.0.1:1", REGION, KEY.access_key, KEY.secret_key))
    yield made
    made.close()


@pytest.fixture
def context(client):
    return client.context


@pytest.fixture
def call(client):
    def send(*args, **how):
        answer = client.send(*args, **how)
        return answer.status, answer.headers, answer.body

    return send


def code(answer):
    status, _, content = answer
    return status, json.loads(content)["__type"]


def s3_code(answer):
    status, _, content = answer
    return status, content.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


@pytest.fixture
def lent(call, context):
    """Fetches credentials as a job's program does; two jobs are there, `job` and `other`."""
    for name in ("job", "other"):
        create_part(context, name, {"ExperimentName": "e", "TrialName": name, "RunName": f"run-of-{name}"})
        context.store.save_job(advance(context.store.job(name), Started(), 1))

    def fetch(name="job", token_of="job"):
        uid, other = (context.store.job(n).uid for n in (name, token_of))
        sent = {"Authorization": LENDER.token(other)}
        status, _, content = call(
            "GET", f"/penstock/credentials/{uid}", b"", key=None, target="", headers=sent
        )
        return status, json.loads(content)

    return fetch


def credentials(told):
    return Credentials(told["AccessKeyId"], told["SecretAccessKey"], told["Token"])


def test_a_jobs_program_is_lent_credentials_until_the_job_ends(call, lent, context):
    status, told = lent()
    assert status == 200
    left = datetime.fromisoformat(told["Expiration"]).timestamp() - now() / 1000
    assert LIFETIME - 60 < left <= LIFETIME
    key = credentials(told)
    described = {"body": b'{"ProcessingJobName": "job"}', "target": "SageMaker.DescribeProcessingJob"}
    assert call(key=key, **described)[0] == 200
    assert call("GET", "/penstock/jobs/job", b"", target="", key=key)[0] == 200
    context.store.save_job(advance(context.store.job("job"), Succeeded(), 2))
    assert code(call(key=key, **described)) == (400, "ExpiredTokenException")
    assert lent()[0] == 403


def test_nobody_is_lent_credentials_of_another(lent, call):
    status, told = lent("job", token_of="other")
    assert status == 403
    assert "SecretAccessKey" not in told
    assert (
        call("GET", "/penstock/credentials/none", b"", key=None, target="", headers={"Authorization": "x"})[0]
        == 403
    )


def test_credentials_are_good_with_their_own_token_alone(call, lent, context):
    told, others = lent()[1], lent("other", "other")[1]
    uid = context.store.job("job").uid
    longer = LENDER.lend(uid, now() // 1000 + 10 * LIFETIME).key
    forged = Lender("another secret").lend(uid, now() // 1000 + LIFETIME).key
    past = LENDER.lend(uid, now() // 1000 - 1).key
    asked = {"service": "sts", "target": "", "body": b"Action=GetCallerIdentity&Version=2011-06-15"}
    assert call(key=credentials(told), **asked)[0] == 200

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
def test_what_concerns_others_is_refused_to_a_job(call, lent, context, service, target, body):
    key = credentials(lent()[1])
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


def test_what_concerns_itself_is_allowed_to_a_job(call, lent, context):
    key = credentials(lent()[1])
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
    assert code(call("GET", "/penstock/jobs/other", b"", target="", key=key))[1] == "AccessDeniedException"
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    assert b"assumed-role/r/SageMaker</Arn>" in call(key=key, service="sts", target="", body=body)[2]


def test_s3_tells_a_wrong_token_by_a_code_of_its_own(call, lent, context):
    told, others = lent()[1], lent("other", "other")[1]
    uid = context.store.job("job").uid
    past = LENDER.lend(uid, now() // 1000 - 1).key

    def asked(identifier, secret, token):
        key = Credentials(identifier, secret, token)
        return s3_code(call("GET", "/bucket/key", b"", service="s3", target="", key=key))

    mine = told["AccessKeyId"], told["SecretAccessKey"]
    assert asked(*mine, told["Token"]) == (503, "ServiceUnavailable")
    assert asked(*mine, others["Token"]) == (403, "InvalidAccessKeyId")
    assert asked(KEY.access_key, KEY.secret_key, None) == (503, "ServiceUnavailable")
    assert asked(KEY.access_key, KEY.secret_key, told["Token"]) == (400, "InvalidToken")
    assert asked(KEY.access_key, KEY.secret_key, "another") == (400, "InvalidToken")
    assert asked(past.access_key_id, past.secret, past.token) == (400, "ExpiredToken")


def test_region_and_service_are_looked_at_before_whose_credentials_they_are(call, lent):
    key = credentials(lent()[1])
    status, _, content = call(key=key, region="eu-north-1")
    told = json.loads(content)
    assert (status, told["__type"]) == (400, "InvalidSignatureException")
    assert "scoped to a valid region" in told["message"]


def test_a_job_reads_its_own_record_alone_and_what_it_has_stored(call, lent):
    key = credentials(lent()[1])
    for part in ("", "/outputs"):
        assert call("GET", f"/penstock/jobs/job{part}", b"", target="", key=key)[0] == 200
        refused = call("GET", f"/penstock/jobs/other{part}", b"", target="", key=key)
        assert code(refused) == (400, "AccessDeniedException")
        none = call("GET", f"/penstock/jobs/none{part}", b"", target="", key=key)
        assert code(none) == (400, "AccessDeniedException")


def test_a_job_puts_and_gets_metrics_of_its_own_trial_component(call, lent, context):
    key = credentials(lent()[1])

    def put(component):
        data = [{"MetricName": "loss", "Timestamp": now() // 1000, "Step": 1, "Value": 0.5}]
        body = json.dumps({"TrialComponentName": component, "MetricData": data}).encode()
        return call("PUT", "/BatchPutMetrics", body, key=key, target="")

    def get(*arns):
        common = {"MetricName": "loss", "MetricStat": "Max", "Period": "IterationNumber"}
        queries = [{**common, "XAxisType": "IterationNumber", "ResourceArn": arn} for arn in arns]
        body = json.dumps({"MetricQueries": queries}).encode()
        return call("POST", "/BatchGetMetrics", body, key=key, target="")

    own, others = context.store.job("job"), context.store.job("other")
    assert put(own.trial_component)[0] == 200
    mine = own.arn, arn_of(context, Component, own.trial_component)
    status, _, content = get(*mine)
    results = json.loads(content)["MetricQueryResults"]
    assert (status, [r["MetricValues"] for r in results]) == (200, [[0.5], [0.5]])

    theirs = arn_of(context, Component, others.trial_component)
    for refused, operation, resource in (
        (put(others.trial_component), "BatchPutMetrics", theirs),
        (get(*mine, theirs), "BatchGetMetrics", theirs),
        (get(others.arn), "BatchGetMetrics", others.arn),
    ):
        status, headers, content = refused
        assert (status, headers[b"x-amzn-errortype"]) == (400, b"AccessDeniedException")
        said = f"to perform: sagemaker:{operation} on resource: {resource} because"
        assert said in json.loads(content)["message"]
    assert context.store.metrics.of(others.trial_component, "loss") == []


def test_a_job_uses_what_it_is_part_of_and_its_run_and_no_other(call, lent, context):
    key = credentials(lent()[1])

    def ask(operation, **given):
        return call(body=json.dumps(given).encode(), key=key, target=f"SageMaker.{operation}")

    def told(operation, **given):
        status, _, content = ask(operation, **given)
        assert status == 200, content
        return json.loads(content)

    assert told("DescribeExperiment", ExperimentName="E")["ExperimentName"] == "e"
    assert told("DescribeTrial", TrialName="job")["ExperimentName"] == "e"
    assert told("CreateTrialComponent", TrialComponentName="run-of-job")["TrialComponentArn"]
    assert told("AssociateTrialComponent", TrialComponentName="run-of-job", TrialName="job")
    assert told("UpdateTrialComponent", TrialComponentName="run-of-job", Parameters={"a": {"NumberValue": 1}})
    arn = told("DescribeTrialComponent", TrialComponentName="job-aws-processing-job")["Source"]["SourceArn"]
    [its_own] = told(
        "ListTrialComponents", SourceArn=arn.upper().replace("ARN:AWS:SAGEMAKER", "arn:aws:sagemaker")
    )["TrialComponentSummaries"]
    assert its_own["TrialComponentName"] == "job-aws-processing-job"
    assert told("DescribeTrialComponent", TrialComponentName=its_own["TrialComponentArn"])[
        "TrialComponentName"
    ]
    found = told("Search", Resource="ExperimentTrialComponent", SortBy="CreationTime", SortOrder="Ascending")
    assert [r["TrialComponent"]["TrialComponentName"] for r in found["Results"]] == [
        "job-aws-processing-job",
        "run-of-job",
    ]
    assert [r["Trial"]["TrialName"] for r in told("Search", Resource="ExperimentTrial")["Results"]] == ["job"]
    status, _, content = ask("CreateExperiment", ExperimentName="e")
    assert (status, "already exists" in json.loads(content)["message"]) == (400, True)
    status, _, content = ask("CreateTrial", ExperimentName="e", TrialName="job")
    assert (status, "already exists" in json.loads(content)["message"]) == (400, True)
    made = told("CreateArtifact", Source={"SourceUri": "s3://b/by-the-job"}, ArtifactType="t")["ArtifactArn"]
    assert artifacts.describe(context, {"ArtifactArn": made})["CreatedBy"] == {
        "IamIdentity": {
            "Arn": "arn:aws:sts::111122223333:assumed-role/r/SageMaker",
            "PrincipalId": "AROAPENSTOCK00000000:SageMaker",
        }
    }
    others = its_own["TrialComponentArn"].replace("job-aws", "other-aws")
    assert told("AddAssociation", SourceArn=its_own["TrialComponentArn"], DestinationArn=made)
    _, _, content = call(
        body=json.dumps({"Source": {"SourceUri": "s3://b/other"}, "ArtifactType": "t"}).encode(),
        key=credentials(lent("other", "other")[1]),
        target="SageMaker.CreateArtifact",
    )
    made_by_another = json.loads(content)["ArtifactArn"]
    image = artifacts.list_artifacts(context, {"ArtifactType": "Image"})["ArtifactSummaries"][0][
        "ArtifactArn"
    ]
    make_parents(context, {"ExperimentName": "f", "TrialName": "elsewhere"})
    trial_components.create(context, {"TrialComponentName": "by-hand"})
    for operation, given in (
        ("AddAssociation", {"SourceArn": made_by_another, "DestinationArn": its_own["TrialComponentArn"]}),
        ("AddAssociation", {"SourceArn": image, "DestinationArn": its_own["TrialComponentArn"]}),
        ("AssociateTrialComponent", {"TrialComponentName": "run-of-job", "TrialName": "elsewhere"}),
        ("AssociateTrialComponent", {"TrialComponentName": "by-hand", "TrialName": "job"}),
        ("CreateTrial", {"TrialName": "job", "ExperimentName": "f"}),
        ("CreateTrial", {"TrialName": "new", "ExperimentName": "f"}),
        ("AddAssociation", {"SourceArn": others, "DestinationArn": made}),
        ("DeleteAssociation", {"SourceArn": its_own["TrialComponentArn"], "DestinationArn": made}),
        ("QueryLineage", {"StartArns": [made]}),
        ("DeleteArtifact", {"ArtifactArn": made}),
        ("DescribeTrial", {"TrialName": "elsewhere"}),
        ("DescribeTrialComponent", {"TrialComponentName": "other-aws-processing-job"}),
        (
            "DescribeTrialComponent",
            {"TrialComponentName": its_own["TrialComponentArn"].replace("job-aws", "other-aws")},
        ),
        ("CreateExperiment", {"ExperimentName": "new"}),
        ("UpdateTrialComponent", {"TrialComponentName": "by-hand"}),
        ("ListTrialComponents", {"SourceArn": arn.replace("/job", "/other")}),
        ("ListTrialComponents", {"ExperimentName": "e"}),
        ("ListTrialComponents", {}),
        ("DisassociateTrialComponent", {"TrialComponentName": "run-of-job", "TrialName": "job"}),
        ("DeleteTrialComponent", {"TrialComponentName": "run-of-job"}),
        ("ListExperiments", {}),
        ("UpdateExperiment", {"ExperimentName": "e"}),
    ):
        assert code(ask(operation, **given)) == (400, "AccessDeniedException"), (operation, given)


def keys_of(context, name):
    key = LENDER.lend(context.store.job(name).uid, now() // 1000 + LIFETIME).key
    return Credentials(key.access_key_id, key.secret, key.token)


def test_a_job_without_a_trial_of_its_own_choice_uses_the_one_that_was_made_for_it(call, context):
    component = create_part(context, "job", {"ExperimentName": "e"})
    trial = f"{context.store.job('job').uid}-aws-trial"
    create_part(context, "other", {"ExperimentName": "f"})
    body = json.dumps({"TrialComponentName": component, "TrialName": trial}).encode()

    def associate(name):
        key = keys_of(context, name)
        return call(body=body, key=key, target="SageMaker.AssociateTrialComponent")

    assert associate("job")[0] == 200
    assert code(associate("other")) == (400, "AccessDeniedException")


def test_a_job_without_an_experiment_makes_none_and_is_told_how(call, context):
    create(context, request("plain"))
    body = json.dumps({"ExperimentName": "new"}).encode()
    status, _, content = call(body=body, key=keys_of(context, "plain"), target="SageMaker.CreateExperiment")
    told = json.loads(content)
    assert (status, told["__type"]) == (400, "AccessDeniedException")
    assert told["message"].endswith(
        "(The job's ExperimentConfig names no experiment: its program may use the one that is named there, and make "
        "runs in it. On the server PENSTOCK_JOB_EXPERIMENTS=all allows all.)"
    )


def test_a_job_without_a_trial_component_has_no_metrics(call, context):
    create(context, request("plain"))
    lent = keys_of(context, "plain")
    data = [{"MetricName": "loss", "Timestamp": now() // 1000, "Value": 0.5}]
    body = json.dumps({"TrialComponentName": "plain-aws-processing-job", "MetricData": data}).encode()
    status, headers, _ = call("PUT", "/BatchPutMetrics", body, key=lent, target="")
    assert (status, headers[b"x-amzn-errortype"]) == (400, b"AccessDeniedException")
