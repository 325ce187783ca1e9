"""boto3: CloudWatch Logs, as SageMaker's SDKs read it."""

import boto3
from case import main, raised, unique

sagemaker, logs = boto3.client("sagemaker"), boto3.client("logs")
GROUP = "/aws/sagemaker/ProcessingJobs"


def log_pages():
    """Two instances: streams by prefix, page by page; events from the head, by time, to the empty last page"""
    name = unique("job")
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        AppSpecification={
            "ImageUri": "python:3.11",
            "ContainerEntrypoint": ["sh", "-c", "for n in 1 2 3 4 5; do echo line $n; done"],
        },
        RoleArn="arn:aws:iam::000000000000:role/any",
    )
    waiter = sagemaker.get_waiter("processing_job_completed_or_stopped")
    waiter.wait(ProcessingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180})

    asked = {"logGroupName": GROUP, "logStreamNamePrefix": f"{name}/", "orderBy": "LogStreamName"}
    full = logs.describe_log_streams(**asked, limit=2)
    assert "nextToken" not in full, full  # the SDKs would ask for ever
    names = [stream["logStreamName"] for stream in full["logStreams"]]
    assert [one.rpartition("-")[0] for one in names] == [f"{name}/algo-1", f"{name}/algo-2"], names
    first = logs.describe_log_streams(**asked, limit=1)
    second = logs.describe_log_streams(**asked, limit=1, nextToken=first["nextToken"])
    assert [page["logStreams"][0]["logStreamName"] for page in (first, second)] == names
    assert "nextToken" not in second

    page = {"logGroupName": GROUP, "logStreamName": names[0], "startFromHead": True, "limit": 2}
    found, answer = [], logs.get_log_events(**page)
    while answer["events"]:
        found += answer["events"]
        token = answer["nextForwardToken"]
        answer = logs.get_log_events(**page, nextToken=token)
    assert answer["nextForwardToken"] == token  # the same at the end, as on CloudWatch
    said = [event["message"] for event in found]
    assert said[-5:] == [f"line {n}" for n in range(1, 6)], said
    times = [event["timestamp"] for event in found]
    assert times == sorted(times)
    late = logs.get_log_events(**{**page, "limit": 100}, startTime=times[-1])["events"]
    assert [event["timestamp"] for event in late] == [time for time in times if time >= times[-1]]
    tail = logs.get_log_events(logGroupName=GROUP, logStreamName=names[0], limit=1)["events"]
    assert tail == found[-1:]
    both = logs.filter_log_events(
        logGroupName=GROUP, logStreamNamePrefix=f"{name}/", filterPattern='"line 3"'
    )
    assert sorted(event["logStreamName"] for event in both["events"]) == names
    missing = logs.exceptions.ResourceNotFoundException
    raised(missing, lambda: logs.get_log_events(logGroupName=GROUP, logStreamName="no-such"))


if __name__ == "__main__":
    main(globals())
