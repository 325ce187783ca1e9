"""boto3: processing jobs and their tags."""

from datetime import timedelta

import boto3
from botocore.exceptions import ClientError, WaiterError
from case import differs, main, raised, unique

sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")
GROUP = "/aws/sagemaker/ProcessingJobs"
PATIENCE = {"Delay": 1, "MaxAttempts": 180}


def arguments():
    """Entrypoint, arguments, environment, time limit, tags; the log as it stands at the end"""
    name = unique("job")
    arn = _create(
        name,
        ["sh", "-c", 'echo "$COLOUR" "$@"', "sh"],
        arguments=["--n", "two words"],
        Environment={"COLOUR": "green"},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        Tags=[{"Key": "team", "Value": "a"}],
    )
    told = _ended(name)
    assert told["ProcessingJobStatus"] == "Completed", told
    assert told["ProcessingJobArn"] == arn
    assert told["Environment"] == {"COLOUR": "green"}
    assert told["StoppingCondition"] == {"MaxRuntimeInSeconds": 600}
    assert told["AppSpecification"]["ContainerArguments"] == ["--n", "two words"]
    assert told["CreationTime"] <= told["ProcessingStartTime"] <= told["ProcessingEndTime"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    logs = boto3.client("logs")
    streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    (stream,) = [stream["logStreamName"] for stream in streams]
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True)["events"]
    assert events[-1]["message"] == "green --n two words", events


def script():
    """put_object, create_processing_job, get_object"""
    name, bucket = unique("job"), unique("script")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(
        Bucket=bucket,
        Key="code/run.py",
        Body=b"import shutil; shutil.copytree('in', 'out', dirs_exist_ok=True)",
    )
    s3.put_object(Bucket=bucket, Key="data/deep/d.csv", Body=b"1,2\n")
    root = "/opt/ml/processing"
    given = [
        {
            "InputName": key,
            "S3Input": {
                "S3Uri": f"s3://{bucket}/{prefix}",
                "LocalPath": f"{root}/{key}",
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
            },
        }
        for key, prefix in (("code", "code/run.py"), ("in", "data"))
    ]
    output = {"S3Uri": f"s3://{bucket}/out", "LocalPath": f"{root}/out", "S3UploadMode": "EndOfJob"}
    _create(
        name,
        ["sh", "-c", f"cd {root} && python3 code/run.py"],
        ProcessingInputs=given,
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": output}]},
    )
    assert _ended(name)["ProcessingJobStatus"] == "Completed"
    assert s3.get_object(Bucket=bucket, Key="out/deep/d.csv")["Body"].read() == b"1,2\n"


def network():
    """EnableNetworkIsolation; VpcConfig as it was given"""
    name = unique("job")
    wanted = {
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]},
    }
    port = sagemaker.meta.endpoint_url.rpartition(":")[2]
    code = f"import socket, sys; sys.exit(socket.socket().connect_ex(('127.0.0.1', {port})) == 0)"
    _create(name, ["python3", "-c", code], NetworkConfig=wanted)
    told = _ended(name)
    assert told["ProcessingJobStatus"] == "Completed", told
    assert told["NetworkConfig"] == wanted


def stop():
    """stop_processing_job; the waiter takes Stopped for an end"""
    name = unique("job")
    _create(name, ["sleep", "600"])
    sagemaker.stop_processing_job(ProcessingJobName=name)
    assert _ended(name)["ProcessingJobStatus"] == "Stopped"
    error = raised(ClientError, lambda: sagemaker.stop_processing_job(ProcessingJobName=name))
    assert error.response["Error"]["Code"] == "ValidationException"


def failure():
    """FailureReason and ExitMessage; the waiter raises WaiterError"""
    name = unique("job")
    _create(name, ["sh", "-c", "echo no such column > /opt/ml/output/message; exit 5"])
    told = raised(WaiterError, lambda: _ended(name)).last_response
    assert told["ProcessingJobStatus"] == "Failed"
    assert told["FailureReason"].startswith("AlgorithmError: "), told
    assert told["FailureReason"].endswith("exit code: 5"), told
    assert told["ExitMessage"].strip() == "no such column"


def waiters():
    """processing_job_completed_or_stopped: of an ended job, and of one that is not there"""
    name = unique("job")
    _create(name, ["true"])
    _ended(name)
    error = raised(WaiterError, lambda: _ended("no-such-job")).last_response["Error"]
    assert error["Message"].startswith("Could not find requested job"), error


def lists():
    """The paginator of list_processing_jobs: NameContains, StatusEquals, times, SortBy, SortOrder"""
    names = [unique(f"job{n}") for n in range(5)]
    for name in names:
        _create(name, ["true"])
    _ended(names[-1])
    pages = sagemaker.get_paginator("list_processing_jobs")
    mine = {"NameContains": unique("")}

    def found(**asked):
        answers = pages.paginate(**mine, **asked, PaginationConfig={"PageSize": 2})
        return [job["ProcessingJobName"] for page in answers for job in page["ProcessingJobSummaries"]]

    assert found() == names
    assert found(SortBy="Name", SortOrder="Descending") == names[::-1]
    made = sagemaker.describe_processing_job(ProcessingJobName=names[0])["CreationTime"]
    assert found(CreationTimeAfter=made - timedelta(minutes=1)) == names
    assert found(CreationTimeAfter=made + timedelta(minutes=1)) == []
    assert names[-1] in found(StatusEquals="Completed")
    assert found(StatusEquals="Failed") == []


def tags():
    """add_tags, list_tags, delete_tags; the ARN in other letters"""
    name = unique("job")
    arn = _create(name, ["true"], Tags=[{"Key": "a", "Value": "1"}])
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert sagemaker.list_tags(ResourceArn=arn.lower())["Tags"] == [{"Key": "b", "Value": ""}]


def delete():
    """delete_processing_job"""
    name = unique("job")
    _create(name, ["true"])
    _ended(name)
    if not hasattr(sagemaker, "delete_processing_job"):
        differs("DeleteProcessingJob is not in this version's model")
        return
    sagemaker.delete_processing_job(ProcessingJobName=name)
    raised(ClientError, lambda: sagemaker.describe_processing_job(ProcessingJobName=name))
    _create(name, ["true"])


def errors():
    """A name taken (ResourceInUse), an unknown job and values not allowed (ValidationException); HTTP 400"""
    name = unique("job")
    _create(name, ["true"])
    in_use = raised(sagemaker.exceptions.ResourceInUse, lambda: _create(name, ["true"]))
    assert in_use.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    unknown = _refused(lambda: sagemaker.describe_processing_job(ProcessingJobName="no-such-job"))
    assert unknown["Message"].startswith("Could not find requested job"), unknown
    bad = _refused(lambda: _create("bad name!", ["true"], RoleArn="arn:aws:iam::1:role/x"))
    assert bad["Message"].startswith("2 validation errors detected: Value"), bad
    assert "at 'processingJobName' failed to satisfy constraint: Member must satisfy" in bad["Message"], bad


def _create(name, entrypoint, arguments=(), **more):
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    application = {"ImageUri": "python:3.11", "ContainerEntrypoint": entrypoint}
    if arguments:
        application["ContainerArguments"] = arguments
    return sagemaker.create_processing_job(
        **{
            "ProcessingJobName": name,
            "ProcessingResources": {"ClusterConfig": cluster},
            "AppSpecification": application,
            "RoleArn": "arn:aws:iam::000000000000:role/any",
            **more,
        }
    )["ProcessingJobArn"]


def _ended(name):
    """What Describe tells of the job after it has ended."""
    waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName=name, WaiterConfig=PATIENCE)
    return sagemaker.describe_processing_job(ProcessingJobName=name)


def _refused(call):
    error = raised(ClientError, call).response
    assert error["Error"]["Code"] == "ValidationException", error
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error["Error"]


if __name__ == "__main__":
    main(globals())
