"""What AWS's documents leave open, as `docs/behaviour.md` says it is done here; seen from the wire."""

import pytest
from jobs_on_record import an_input, an_output, request
from wire_client import ACCOUNT, REGION

from penstock.job.events import Host
from penstock.job.life import Failed, Halted, Phase, Reached, Started, StopAsked, Succeeded, advance

PREFIX = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job"


def create(client, name="job", **changes):
    answer = client.call("CreateProcessingJob", request(name, **changes))
    assert answer.status == 200, answer
    return answer.json["ProcessingJobArn"]


def describe(client, name="job"):
    return client.call("DescribeProcessingJob", {"ProcessingJobName": name}).json


def happen(client, *events, name="job"):
    """Let things happen to a job, one after another, at 1, 2, 3 ... seconds after its creation."""
    job = client.store.job(name)
    for number, event in enumerate(events, 1):
        job = advance(job, event, job.created_at + 1000 * number)
        client.store.save_job(job)
    return job.created_at / 1000


def error(answer):
    return answer.status, answer.json["__type"], answer.json.get("message", answer.json.get("Message"))


def test_arns_keep_their_letters_and_are_found_by_any(client):
    arn = create(client, "MixedCase-1", Tags=[{"Key": "k", "Value": "v"}])
    assert arn == describe(client, "MixedCase-1")["ProcessingJobArn"] == f"{PREFIX}/MixedCase-1"
    for asked in (arn, arn.lower()):
        assert client.call("ListTags", {"ResourceArn": asked}).json["Tags"] == [{"Key": "k", "Value": "v"}]


def test_names_differ_by_their_letters_case(client):
    create(client, "job", Tags=[{"Key": "which", "Value": "small"}])
    create(client, "JOB", Tags=[{"Key": "which", "Value": "large"}])
    for name, which in (("job", "small"), ("JOB", "large")):
        [tag] = client.call("ListTags", {"ResourceArn": f"{PREFIX}/{name}"}).json["Tags"]
        assert tag["Value"] == which


def test_a_name_in_use(client):
    arn = create(client)
    text = (
        "Job name must be unique within an AWS account and region, and a job with this name already exists "
        f"({arn})"
    )
    assert error(client.call("CreateProcessingJob", request())) == (400, "ResourceInUse", text)


def test_what_is_not_there(client):
    text = "Could not find requested job with name: gone"
    for operation in ("DescribeProcessingJob", "StopProcessingJob", "DeleteProcessingJob"):
        answer = client.call(operation, {"ProcessingJobName": "gone"})
        assert error(answer) == (400, "ValidationException", text)
    for operation, more in (("ListTags", {}), ("DeleteTags", {"TagKeys": ["a"]}), ("AddTags", {"Tags": []})):
        answer = client.call(operation, {"ResourceArn": f"{PREFIX}/gone", **more})
        assert error(answer) == (400, "ValidationException", f"The resource {PREFIX}/gone does not exist.")


def test_a_job_that_has_ended_can_not_be_stopped(client):
    create(client)
    happen(client, Started(), Succeeded())
    assert error(client.call("StopProcessingJob", {"ProcessingJobName": "job"})) == (
        400,
        "ValidationException",
        "The request was rejected because the processing job is in status Completed.",
    )


def test_a_job_that_is_stopping_can_be_stopped_again(client):
    create(client)
    happen(client, Started())
    for _ in range(2):
        answer = client.call("StopProcessingJob", {"ProcessingJobName": "job"})
        assert (answer.status, answer.body) == (200, b"")
        assert describe(client)["ProcessingJobStatus"] == "Stopping"


def test_only_what_has_ended_can_be_deleted(client):
    create(client)
    for event, status in ((Started(), "InProgress"), (StopAsked(), "Stopping")):
        happen(client, event)
        code, name, text = error(client.call("DeleteProcessingJob", {"ProcessingJobName": "job"}))
        assert (code, name) == (400, "ResourceInUse")
        assert status in text
    happen(client, Halted())
    assert client.call("DeleteProcessingJob", {"ProcessingJobName": "job"}).status == 200
    create(client)


@pytest.mark.parametrize("end", [Succeeded(), Halted()])
def test_a_stopping_job_ends_stopped_however_its_program_ends(client, end):
    create(client)
    happen(client, Started(), Reached(Phase.RUNNING), StopAsked(), end)
    told = describe(client)
    assert told["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in told


def test_the_time_limit_stops_a_job_at_once(client):
    """It is InProgress until it is Stopped: no Stopping is seen, and no reason told."""
    create(client)
    happen(client, Started(), Reached(Phase.RUNNING))
    assert describe(client)["ProcessingJobStatus"] == "InProgress"
    happen(client, Halted())
    told = describe(client)
    assert told["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in told


def test_when_a_job_starts_ends_and_changes(client):
    create(client)
    told = describe(client)
    assert told["LastModifiedTime"] == told["CreationTime"]
    assert not {"ProcessingStartTime", "ProcessingEndTime", "ExitMessage", "FailureReason"} & set(told)
    begun = happen(client, Started())
    told = describe(client)
    assert told["LastModifiedTime"] == begun + 1
    assert "ProcessingStartTime" not in told
    happen(client, Reached(Phase.DOWNLOADING))
    assert describe(client)["ProcessingStartTime"] == begun + 1
    happen(client, Reached(Phase.RUNNING), Failed("AlgorithmError: , exit code: 3"))
    told = describe(client)
    assert told["ProcessingEndTime"] == told["LastModifiedTime"]
    assert told["FailureReason"] == "AlgorithmError: , exit code: 3"


def test_defaults_that_are_shown_and_those_that_are_not(client):
    s3 = {"S3Uri": "s3://b/k", "S3DataType": "S3Prefix"}
    create(
        client,
        ProcessingInputs=[an_input(), {"InputName": "own", "AppManaged": True, "S3Input": s3}],
        ProcessingOutputConfig={"Outputs": [an_output()]},
    )
    told = describe(client)
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    managed, own = told["ProcessingInputs"]
    assert managed["AppManaged"] is False
    assert managed["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    assert "S3CompressionType" not in managed["S3Input"]
    assert "S3InputMode" not in own["S3Input"]
    assert told["ProcessingOutputConfig"]["Outputs"][0]["AppManaged"] is False


def test_pages_of_ten_oldest_first(client):
    for number in range(12):
        create(client, f"job-{number:02}")  # those of the same millisecond come by name
    first = client.call("ListProcessingJobs", {}).json
    names = [summary["ProcessingJobName"] for summary in first["ProcessingJobSummaries"]]
    assert names == [f"job-{number:02}" for number in range(10)]
    rest = client.call("ListProcessingJobs", {"NextToken": first["NextToken"]}).json
    assert len(rest["ProcessingJobSummaries"]) == 2
    assert "NextToken" not in rest


def test_inputs_are_not_looked_for_at_create(client):
    create(client, ProcessingInputs=[an_input(S3Uri="s3://no-such-bucket/no/such/key")])


def test_what_is_taken_of_any_account_and_any_number(client):
    many = {"InstanceType": "ml.p5.4xlarge", "InstanceCount": 100, "VolumeSizeInGB": 30}
    role = "arn:aws:iam::999999999999:role/somebody-elses"
    create(client, RoleArn=role, ProcessingResources={"ClusterConfig": many})
    assert describe(client)["RoleArn"] == role


def test_modes_that_jobs_can_not_have_yet_are_taken(client):
    """They are AWS's; the job fails and says so."""
    output = an_output()
    output["S3Output"]["S3UploadMode"] = "Continuous"
    create(
        client,
        ProcessingInputs=[an_input(S3InputMode="Pipe", S3CompressionType="Gzip")],
        ProcessingOutputConfig={"Outputs": [output]},
    )


def test_unknown_members_are_passed_over(client):
    create(client, Novelty={"a": [1]})
    assert "Novelty" not in describe(client)


def test_tags_stay_with_the_job(client):
    create(client, Tags=[{"Key": "a", "Value": "1"}])
    happen(client, Started(), Succeeded())
    client.call("DeleteProcessingJob", {"ProcessingJobName": "job"})
    arn = create(client)
    assert client.call("ListTags", {"ResourceArn": arn}).json["Tags"] == []


def test_a_reused_name_has_logs_of_its_own(client):
    """Deleting forgets the log: the next job of the name begins with none."""
    create(client)
    job = client.store.job("job")
    host = Host(job.uid, "job", "algo-1", "d", "job/algo-1-1700000000")
    client.store.add_hosts(advance(job, Started(), job.created_at), [host])
    client.context.logbook.append(job.uid, "algo-1", 0, b"10 a\n")
    client.store.save_job(advance(client.store.job("job"), Succeeded(), job.created_at))
    client.call("DeleteProcessingJob", {"ProcessingJobName": "job"})
    create(client)
    asked = {"logGroupName": "/aws/sagemaker/ProcessingJobs", "logStreamNamePrefix": "job/"}
    found = client.call("DescribeLogStreams", asked, service="logs", prefix="Logs_20140328")
    assert found.json["logStreams"] == []
