"""The AWS CLI: sagemaker and logs."""

import json
from pathlib import Path

from awscli_run import aws, refused
from case import main, unique, until

GROUP = ("--log-group-name", "/aws/sagemaker/ProcessingJobs")
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}


def arguments():
    """create-processing-job with arguments, environment, tags; describe; logs get-log-events"""
    name = unique("job")
    arn = _create(
        name,
        ["sh", "-c", 'echo said "$WORD" "$@"', "sh"],
        *("--environment", "WORD=hello", "--tags", "Key=team,Value=a"),
        *("--stopping-condition", "MaxRuntimeInSeconds=600"),
        arguments=["--n", "two words"],
    )
    told = _ended(name)
    assert told["ProcessingJobStatus"] == "Completed"
    assert told["ProcessingJobArn"] == arn
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    assert aws("sagemaker", "list-tags", "--resource-arn", arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    (stream,) = _streams(name)
    events = aws("logs", "get-log-events", *GROUP, "--log-stream-name", stream, "--start-from-head")["events"]
    assert events[-1]["message"] == "said hello --n two words", events


def script():
    """s3 cp, create-processing-job, s3 cp back"""
    name, bucket = unique("job"), unique("script")
    Path("d.csv").write_text("1,2\n")
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "cp", "d.csv", f"s3://{bucket}/in/d.csv")
    root = "/opt/ml/processing"
    given = {
        "S3Uri": f"s3://{bucket}/in",
        "LocalPath": f"{root}/in",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    output = {"S3Uri": f"s3://{bucket}/out", "LocalPath": f"{root}/out", "S3UploadMode": "EndOfJob"}
    outputs = {"Outputs": [{"OutputName": "out", "S3Output": output}]}
    _create(
        name,
        ["cp", f"{root}/in/d.csv", f"{root}/out/e.csv"],
        *("--processing-inputs", json.dumps([{"InputName": "in", "S3Input": given}])),
        *("--processing-output-config", json.dumps(outputs)),
    )
    assert _ended(name)["ProcessingJobStatus"] == "Completed"
    assert aws("s3", "cp", f"s3://{bucket}/out/e.csv", "-") == "1,2\n"


def network():
    """--network-config EnableNetworkIsolation=true"""
    name = unique("job")
    code = "import socket; print(sorted(name for _, name in socket.if_nameindex()))"
    _create(name, ["python3", "-c", code], "--network-config", "EnableNetworkIsolation=true")
    assert _ended(name)["NetworkConfig"] == {"EnableNetworkIsolation": True}
    (stream,) = _streams(name)
    events = aws("logs", "get-log-events", *GROUP, "--log-stream-name", stream)["events"]
    assert events[-1]["message"] == "['lo']", events


def stop():
    """stop-processing-job"""
    name = unique("job")
    _create(name, ["sleep", "600"])
    aws("sagemaker", "stop-processing-job", "--processing-job-name", name)
    until(lambda: _described(name)["ProcessingJobStatus"] == "Stopped")


def failure():
    """failure-reason and exit-message; the waiter's exit code is 255"""
    name = unique("job")
    _create(name, ["sh", "-c", "echo no such column > /opt/ml/output/message; exit 5"])
    until(lambda: _described(name)["ProcessingJobStatus"] == "Failed")
    told = _described(name)
    assert told["FailureReason"].endswith("exit code: 5"), told
    assert told["ExitMessage"].strip() == "no such column"
    said = refused("sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", name)
    assert "terminal failure state" in said, said


def waiters():
    """wait processing-job-completed-or-stopped"""
    name = unique("job")
    _create(name, ["true"])
    assert _ended(name)["ProcessingJobStatus"] == "Completed"


def lists():
    """list-processing-jobs: --name-contains, --max-items, --page-size, --sort-by, --sort-order"""
    names = [unique(f"job{n}") for n in range(3)]
    for name in names:
        _create(name, ["true"])
    asked = ("sagemaker", "list-processing-jobs", "--name-contains", unique("")[1:])
    listed = aws(*asked, "--page-size", "1")["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"] for job in listed] == names
    ordered = aws(*asked, "--sort-by", "Name", "--sort-order", "Descending", "--max-items", "2")
    assert [job["ProcessingJobName"] for job in ordered["ProcessingJobSummaries"]] == names[:0:-1]


def tags():
    """add-tags, list-tags, delete-tags"""
    arn = _create(unique("job"), ["true"], "--tags", "Key=a,Value=1")
    aws("sagemaker", "add-tags", "--resource-arn", arn, "--tags", "Key=b,Value=2")
    aws("sagemaker", "delete-tags", "--resource-arn", arn, "--tag-keys", "a")
    assert aws("sagemaker", "list-tags", "--resource-arn", arn)["Tags"] == [{"Key": "b", "Value": "2"}]


def delete():
    """delete-processing-job"""
    name = unique("job")
    _create(name, ["true"])
    _ended(name)
    aws("sagemaker", "delete-processing-job", "--processing-job-name", name)
    said = refused("sagemaker", "describe-processing-job", "--processing-job-name", name)
    assert "(ValidationException)" in said, said


def errors():
    """An unknown job: exit code and message as AWS's"""
    said = refused("sagemaker", "describe-processing-job", "--processing-job-name", "no-such")
    assert "(ValidationException) when calling the DescribeProcessingJob operation" in said, said
    assert "Could not find requested job" in said, said


def log_pages():
    """logs describe-log-streams, get-log-events --limit, filter-log-events"""
    name = unique("job")
    _create(name, ["sh", "-c", "for n in 1 2 3 4 5; do echo line $n; done"])
    _ended(name)
    (stream,) = _streams(name)
    read = ("logs", "get-log-events", *GROUP, "--log-stream-name", stream)
    page = aws(*read, "--limit", "2")
    assert [event["message"] for event in page["events"]] == ["line 4", "line 5"], page
    after = aws(*read, "--next-token", page["nextForwardToken"])
    assert after["events"] == []
    assert after["nextForwardToken"] == page["nextForwardToken"]
    found = aws("logs", "filter-log-events", *GROUP, "--log-stream-names", stream, "--filter-pattern", "3")
    assert [event["message"] for event in found["events"]] == ["line 3"], found


def _create(name, entrypoint, *more, arguments=()):
    application = {"ImageUri": "python:3.11", "ContainerEntrypoint": entrypoint}
    if arguments:
        application["ContainerArguments"] = arguments
    return aws(
        *("sagemaker", "create-processing-job", "--processing-job-name", name),
        *("--processing-resources", json.dumps({"ClusterConfig": CLUSTER})),
        *("--app-specification", json.dumps(application)),
        *("--role-arn", "arn:aws:iam::000000000000:role/any"),
        *more,
    )["ProcessingJobArn"]


def _described(name):
    return aws("sagemaker", "describe-processing-job", "--processing-job-name", name)


def _ended(name):
    aws("sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", name)
    return _described(name)


def _streams(name):
    told = aws("logs", "describe-log-streams", *GROUP, "--log-stream-name-prefix", f"{name}/")
    return [stream["logStreamName"] for stream in told["logStreams"]]


if __name__ == "__main__":
    main(globals())
