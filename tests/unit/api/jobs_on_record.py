"""Requests for jobs, and jobs on record, for tests of operations."""

import asyncio

from penstock.api import processing
from penstock.job.life import Started, Succeeded, advance


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
