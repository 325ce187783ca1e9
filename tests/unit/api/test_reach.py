"""What of experiments a job's program may use and make beside what its ExperimentConfig names."""

import json
from dataclasses import replace

import pytest
from botocore.credentials import Credentials
from jobs_on_record import create, create_part, make_parents, request
from wire_client import LENDER, WireClient

from penstock.api import artifacts, trial_components, trials
from penstock.api.callers import LIFETIME
from penstock.api.entities import arn_of
from penstock.clock import now
from penstock.job.experiments import Component


@pytest.fixture
def client(tmp_path):
    made = WireClient(tmp_path)
    yield made
    made.close()


@pytest.fixture
def context(client):
    return client.context


@pytest.fixture
def ask(client):
    """Calls an operation with the credentials of a job; the code of the refusal, or the answer."""

    def call(job, operation, **given):
        lent = LENDER.lend(client.store.job(job).uid, now() // 1000 + LIFETIME).key
        key = Credentials(lent.access_key_id, lent.secret, lent.token)
        how = {"target": f"SageMaker.{operation}"}
        if operation.startswith("Batch"):
            how = {
                "target": "",
                "path": f"/{operation}",
                "method": "PUT" if operation == "BatchPutMetrics" else "POST",
            }
        answer = client.send(body=json.dumps(given).encode(), key=key, **how)
        if answer.status == 200:
            return answer.json
        told = answer.headers.get(b"x-amzn-errortype", b"").decode()
        return told or answer.json["__type"], answer.text

    return call


def denied(answer):
    return isinstance(answer, tuple) and answer[0] == "AccessDeniedException"


def exists(answer):
    return isinstance(answer, tuple) and answer[0] == "ValidationException" and "already exists" in answer[1]


def run(ask, job, experiment, name):
    """What `Run(experiment, name)` of SageMaker's SDK asks for, call by call."""
    group = f"Default-Run-Group-{experiment}"
    return [
        ask(job, "CreateExperiment", ExperimentName=experiment),
        ask(job, "DescribeExperiment", ExperimentName=experiment),
        ask(job, "CreateTrial", TrialName=group, ExperimentName=experiment),
        ask(job, "DescribeTrial", TrialName=group),
        ask(job, "CreateTrialComponent", TrialComponentName=f"{experiment}-{name}"),
        ask(job, "DescribeTrialComponent", TrialComponentName=f"{experiment}-{name}"),
        ask(job, "AssociateTrialComponent", TrialComponentName=f"{experiment}-{name}", TrialName=group),
        ask(
            job,
            "UpdateTrialComponent",
            TrialComponentName=f"{experiment}-{name}",
            Parameters={"by": {"StringValue": job}},
        ),
        put(ask, job, f"{experiment}-{name}"),
        got(ask, job, f"{experiment}-{name}"),
    ]


def put(ask, job, component):
    data = [{"MetricName": "loss", "Timestamp": now() // 1000, "Value": 0.5, "Step": 1}]
    return ask(job, "BatchPutMetrics", TrialComponentName=component, MetricData=data)


def got(ask, job, *components):
    def query(component):
        arn = f"arn:aws:sagemaker:eu-west-1:111122223333:experiment-trial-component/{component}"
        iteration = {"Period": "IterationNumber", "XAxisType": "IterationNumber"}
        return {"MetricName": "loss", "ResourceArn": arn, "MetricStat": "Last", **iteration}

    return ask(job, "BatchGetMetrics", MetricQueries=list(map(query, components)))


@pytest.mark.parametrize("config", [{"ExperimentName": "E"}, {"TrialName": "t"}])
def test_a_program_makes_runs_in_the_experiment_of_its_job(ask, context, config):
    make_parents(context, {"ExperimentName": "e", "TrialName": "t"})
    create_part(context, "job", config)
    made = run(ask, "job", "e", "new")
    assert exists(made[0])
    assert not any(denied(answer) for answer in made), made
    assert made[-1]["MetricQueryResults"][0]["MetricValues"] == [0.5]
    assert context.store.experiments.parents(["e-new"])["e-new"] == [("Default-Run-Group-e", "e")]
    # A job that comes after it goes on with the same run.
    create_part(context, "later", config)
    again = run(ask, "later", "e", "new")
    assert exists(again[4])
    assert not any(denied(answer) for answer in again), again
    assert context.store.experiments.get(Component, "e-new").parameters["by"] == {"StringValue": "later"}
    own = got(ask, "later", "later-aws-processing-job", "e-new")["MetricQueryResults"]
    assert [one["MetricValues"] for one in own] == [[], [0.5]]


def test_a_program_uses_no_component_of_another_job_in_its_experiment(ask, context):
    create_part(context, "job", {"ExperimentName": "e", "TrialName": "t"})
    others = create_part(context, "other", {"ExperimentName": "e", "TrialName": "t"}, Environment={"K": "v"})
    arn = arn_of(context, Component, others)
    artifact = ask("job", "CreateArtifact", Source={"SourceUri": "s3://b/k"}, ArtifactType="t")["ArtifactArn"]
    for answer in (
        ask("job", "DescribeTrialComponent", TrialComponentName=others),
        ask("job", "DescribeTrialComponent", TrialComponentName=others.upper()),
        ask("job", "DescribeTrialComponent", TrialComponentName=arn),
        ask("job", "DescribeTrialComponent", TrialComponentName=arn.replace("other-aws", "OTHER-aws")),
        ask("job", "UpdateTrialComponent", TrialComponentName=others),
        ask("job", "AssociateTrialComponent", TrialComponentName=others, TrialName="t"),
        ask("job", "AddAssociation", SourceArn=arn, DestinationArn=artifact),
        ask("job", "ListTrials", ExperimentName="e", TrialComponentName=others),
        put(ask, "job", others),
        got(ask, "job", others),
        got(ask, "job", "job-aws-processing-job", others),
    ):
        assert denied(answer), answer


def test_a_program_takes_no_name_that_leads_others_astray(ask, context):
    make_parents(context, {"ExperimentName": "secret"})
    create_part(context, "job", {"ExperimentName": "e"})
    # The run group of another experiment would be found in this one, with all runs that are made there.
    for group in ("Default-Run-Group-secret", "default-run-group-new"):
        assert denied(ask("job", "CreateTrial", TrialName=group, ExperimentName="e"))
    assert not denied(ask("job", "CreateTrial", TrialName="default-run-group-E", ExperimentName="e"))
    # A job that is named so would be refused.
    for kind in ("processing", "training", "transform"):
        name = f"Next-aws-{kind}-job"
        assert denied(ask("job", "CreateTrialComponent", TrialComponentName=name))
        assert denied(ask("job", "DescribeTrialComponent", TrialComponentName=name))


def test_what_a_program_has_made_is_others_once_they_have_taken_it(ask, context):
    create_part(context, "job", {"ExperimentName": "e"})
    make_parents(context, {"ExperimentName": "f", "TrialName": "u"})
    assert not denied(ask("job", "CreateTrialComponent", TrialComponentName="f-run"))
    assert not denied(ask("job", "UpdateTrialComponent", TrialComponentName="f-run"))
    trials.associate(context, {"TrialComponentName": "f-run", "TrialName": "u"})
    assert denied(ask("job", "UpdateTrialComponent", TrialComponentName="f-run"))
    assert denied(ask("job", "DescribeTrialComponent", TrialComponentName="f-run"))
    # What is in no trial is whose who has made it.
    trial_components.create(context, {"TrialComponentName": "by-hand"})
    assert denied(ask("job", "DescribeTrialComponent", TrialComponentName="by-hand"))
    create_part(context, "other", {"ExperimentName": "e"})
    assert not denied(ask("other", "CreateTrialComponent", TrialComponentName="of-other"))
    assert denied(ask("job", "DescribeTrialComponent", TrialComponentName="of-other"))


def test_other_experiments_are_beyond_reach_unless_the_server_allows_all(ask, client, context):
    make_parents(context, {"ExperimentName": "f", "TrialName": "u"})
    create_part(context, "job", {"ExperimentName": "e"})
    create(context, request("plain"))
    for job in ("job", "plain"):
        assert all(denied(answer) for answer in run(ask, job, "f", "new")[:3])
        assert denied(ask(job, "AssociateTrialComponent", TrialComponentName="f-new", TrialName="u"))
    told = ask("plain", "CreateExperiment", ExperimentName="g")
    assert "ExperimentConfig names no experiment" in told[1]
    client.application._context = replace(context, all_experiments=True)
    made = run(ask, "plain", "g", "r")
    assert not any(denied(answer) or exists(answer) for answer in made), made
    assert not any(denied(answer) for answer in run(ask, "job", "f", "new"))
    # What no program may do stays so.
    for operation, given in (
        ("DescribeTrialComponent", {"TrialComponentName": "job-aws-processing-job"}),
        ("DeleteTrialComponent", {"TrialComponentName": "g-r"}),
        ("DeleteExperiment", {"ExperimentName": "g"}),
        ("CreateTrial", {"TrialName": "default-run-group-x", "ExperimentName": "g"}),
        ("ListExperiments", {}),
    ):
        assert denied(ask("plain", operation, **given)), operation


def test_a_program_lists_artifacts_of_its_own_making_alone(ask, context):
    create_part(context, "job", {"ExperimentName": "e"})
    source = {"SourceUri": "s3://b/k", "SourceTypes": [{"SourceIdType": "S3ETag", "Value": "one"}]}
    made = ask("job", "CreateArtifact", Source=source, ArtifactType="t")["ArtifactArn"]
    artifacts.create(context, {"Source": {"SourceUri": "s3://b/k"}, "ArtifactType": "t"})
    artifacts.create(context, {"Source": {"SourceUri": "s3://b/other"}, "ArtifactType": "t"})

    def listed(**given):
        return [one["ArtifactArn"] for one in ask("job", "ListArtifacts", **given)["ArtifactSummaries"]]

    assert exists(ask("job", "CreateArtifact", Source=source, ArtifactType="t"))
    assert listed(SourceUri="s3://b/k") == [made]
    assert listed(SourceUri="s3://b/other") == []
    assert denied(ask("job", "ListArtifacts"))
    assert denied(ask("job", "ListArtifacts", ArtifactType="t"))
    assert denied(ask("job", "DescribeArtifact", ArtifactArn=made))
