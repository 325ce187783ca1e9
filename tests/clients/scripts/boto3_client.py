"""boto3 by itself; `python boto3_client.py CASE`."""

import sys
import urllib.request

import boto3
from botocore.exceptions import ClientError, WaiterError

sagemaker, s3 = boto3.client("sagemaker"), boto3.client("s3")


def life():
    """Create, waiter, Describe, List, tags, logs, Delete"""
    arn = _create("boto-life", ["sh", "-c", "echo one; echo two"])
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName=_named("boto-life"), WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    told = sagemaker.describe_processing_job(ProcessingJobName=_named("boto-life"))
    assert told["ProcessingJobStatus"] == "Completed"
    assert told["ProcessingJobArn"] == arn
    pages = sagemaker.get_paginator("list_processing_jobs").paginate(StatusEquals="Completed")
    listed = [job["ProcessingJobName"] for page in pages for job in page["ProcessingJobSummaries"]]
    assert _named("boto-life") in listed
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    logs = boto3.client("logs")
    group = "/aws/sagemaker/ProcessingJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=_named("boto-life") + "/")
    (stream,) = [s["logStreamName"] for s in streams["logStreams"]]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)["events"]
    assert [e["message"] for e in events][-2:] == ["one", "two"], events
    if hasattr(sagemaker, "delete_processing_job"):
        sagemaker.delete_processing_job(ProcessingJobName=_named("boto-life"))
        _refused(lambda: sagemaker.describe_processing_job(ProcessingJobName=_named("boto-life")))
    else:
        sys.stdout.write("DIFFERS DeleteProcessingJob is not in this version's model\n")


def stop():
    """Stop; the waiter takes Stopped for an end"""
    _create("boto-stop", ["sleep", "600"])
    sagemaker.stop_processing_job(ProcessingJobName=_named("boto-stop"))
    sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
        ProcessingJobName=_named("boto-stop"), WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    told = sagemaker.describe_processing_job(ProcessingJobName=_named("boto-stop"))
    assert told["ProcessingJobStatus"] == "Stopped"


def failure():
    """A failing job: FailureReason and ExitMessage; the waiter raises WaiterError"""
    _create("boto-fail", ["sh", "-c", "echo no such column > /opt/ml/output/message; exit 5"])
    waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
    patience = {"Delay": 1, "MaxAttempts": 120}
    name = _named("boto-fail")
    error = _raised(WaiterError, lambda: waiter.wait(ProcessingJobName=name, WaiterConfig=patience))
    assert error.last_response["ProcessingJobStatus"] == "Failed"
    assert "exit code: 5" in error.last_response["FailureReason"]
    assert error.last_response["ExitMessage"].strip() == "no such column"


def errors():
    """Errors: name taken (ResourceInUse), unknown job, a value that is not allowed (ValidationException)"""
    _create("boto-twice", ["true"])
    _raised(sagemaker.exceptions.ResourceInUse, lambda: _create("boto-twice", ["true"]))
    _refused(lambda: sagemaker.describe_processing_job(ProcessingJobName="no-such-job"))
    _refused(lambda: _create("bad name!", ["true"]))


def storage():
    """S3: put, get, list, multipart, checksums, presigned URLs, SSE-KMS with and without a key, owner"""
    bucket = _named("bucket")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a/plain", Body=b"text", ExpectedBucketOwner="000000000000")
    s3.put_object(Bucket=bucket, Key="a/summed", Body=b"text", ChecksumAlgorithm="CRC32")
    s3.put_object(Bucket=bucket, Key="a/kms", Body=b"text", ServerSideEncryption="aws:kms")
    s3.put_object(
        Bucket=bucket, Key="a/key", Body=b"text", ServerSideEncryption="aws:kms", SSEKMSKeyId="alias/mine"
    )
    with open("large", "wb") as file:
        file.truncate(20 << 20)
    s3.upload_file("large", bucket, "a/large", ExtraArgs={"ServerSideEncryption": "aws:kms"})
    found = {o["Key"]: o["Size"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="a/")["Contents"]}
    assert found == {"a/plain": 4, "a/summed": 4, "a/kms": 4, "a/key": 4, "a/large": 20 << 20}, found
    assert s3.get_object(Bucket=bucket, Key="a/kms", Range="bytes=1-2")["Body"].read() == b"ex"
    link = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a/plain"})
    assert urllib.request.urlopen(link, timeout=30).read() == b"text"


def identity():
    """STS GetCallerIdentity, also where AWS's own address is named; IAM GetRole"""
    for endpoint in (None, "https://sts.us-east-1.amazonaws.com"):
        told = boto3.client("sts", region_name="us-east-1", endpoint_url=endpoint).get_caller_identity()
        assert told["Account"] == "000000000000"
    assert boto3.client("iam").get_role(RoleName="some")["Role"]["Arn"].endswith("role/some")


def _named(name):
    return f"{name}-{boto3.__version__.replace('.', '-')}"


def _create(name, entrypoint):
    return sagemaker.create_processing_job(
        ProcessingJobName=_named(name),
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        AppSpecification={"ImageUri": "python:3.11", "ContainerEntrypoint": entrypoint},
        RoleArn="arn:aws:iam::000000000000:role/any",
        Tags=[{"Key": "a", "Value": "1"}],
    )["ProcessingJobArn"]


def _refused(call):
    error = _raised(ClientError, call)
    assert error.response["Error"]["Code"] == "ValidationException", error
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def _raised(kind, call):
    """The exception of `kind` that `call` must raise."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
