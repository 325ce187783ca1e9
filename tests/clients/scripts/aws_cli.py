"""The AWS CLI, one process a command; `python aws_cli.py CASE`."""

import json
import subprocess
import sys
import time
from pathlib import Path

RESOURCES = {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}}


def jobs():
    """create-, describe-, list-processing-jobs, list-tags, wait; logs get-log-events"""
    arn = _create("cli-job", ["sh", "-c", "echo said $WORD"])
    _aws("sagemaker", "wait", "processing-job-completed-or-stopped", "--processing-job-name", "cli-job")
    told = _aws("sagemaker", "describe-processing-job", "--processing-job-name", "cli-job")
    assert told["ProcessingJobStatus"] == "Completed"
    assert told["ProcessingJobArn"] == arn
    listed = _aws("sagemaker", "list-processing-jobs", "--name-contains", "cli-j")["ProcessingJobSummaries"]
    assert [job["ProcessingJobName"] for job in listed] == ["cli-job"]
    assert _aws("sagemaker", "list-tags", "--resource-arn", arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    group = ["--log-group-name", "/aws/sagemaker/ProcessingJobs"]
    streams = _aws("logs", "describe-log-streams", *group, "--log-stream-name-prefix", "cli-job/")[
        "logStreams"
    ]
    name = streams[0]["logStreamName"]
    events = _aws("logs", "get-log-events", *group, "--log-stream-name", name, "--start-from-head")["events"]
    assert events[-1]["message"] == "said hello"


def stop():
    """stop-processing-job"""
    _create("cli-stop", ["sleep", "600"])
    _aws("sagemaker", "stop-processing-job", "--processing-job-name", "cli-stop")
    deadline = time.monotonic() + 120
    while True:
        told = _aws("sagemaker", "describe-processing-job", "--processing-job-name", "cli-stop")
        if told["ProcessingJobStatus"] == "Stopped":
            return
        assert time.monotonic() < deadline, told
        time.sleep(1)


def errors():
    """An unknown job: exit code and message as AWS's"""
    command = ["aws", "sagemaker", "describe-processing-job", "--processing-job-name", "no-such"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode in {254, 255}, ended
    assert "(ValidationException) when calling the DescribeProcessingJob" in ended.stderr, ended.stderr


def storage():
    """s3 mb, cp, ls, sync, rm; cp --sse aws:kms; sts get-caller-identity"""
    Path("folder/deep").mkdir(parents=True)
    Path("folder/a").write_text("a")
    Path("folder/deep/b").write_text("bb")
    with Path("large").open("wb") as file:
        file.truncate(20 << 20)
    _aws("s3", "mb", "s3://cli-bucket")
    _aws("s3", "sync", "folder", "s3://cli-bucket/up")
    _aws("s3", "cp", "large", "s3://cli-bucket/large")
    _aws("s3", "cp", "folder/a", "s3://cli-bucket/up/kms", "--sse", "aws:kms")
    listed = [line.split()[2:] for line in _aws("s3", "ls", "--recursive", "s3://cli-bucket/").splitlines()]
    assert listed == [[str(20 << 20), "large"], ["1", "up/a"], ["2", "up/deep/b"], ["1", "up/kms"]], listed
    assert _aws("s3", "cp", "s3://cli-bucket/up/deep/b", "-") == "bb"
    _aws("s3", "rm", "--recursive", "s3://cli-bucket/up")
    assert len(_aws("s3", "ls", "--recursive", "s3://cli-bucket/").splitlines()) == 1
    assert _aws("sts", "get-caller-identity")["Account"] == "000000000000"


def _create(name, entrypoint):
    application = {"ImageUri": "python:3.11", "ContainerEntrypoint": entrypoint}
    return _aws(
        *("sagemaker", "create-processing-job", "--processing-job-name", name),
        *("--processing-resources", json.dumps(RESOURCES)),
        *("--app-specification", json.dumps(application)),
        *("--role-arn", "arn:aws:iam::000000000000:role/any"),
        *("--environment", "WORD=hello"),
        *("--tags", "Key=team,Value=a"),
    )["ProcessingJobArn"]


def _aws(*command):
    """Run a command; its output, read when it is JSON."""
    ended = subprocess.run(["aws", *command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (command, ended.stderr)
    return json.loads(ended.stdout) if ended.stdout.startswith("{") else ended.stdout


if __name__ == "__main__":
    globals()[sys.argv[1]]()
