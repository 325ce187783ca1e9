"""Requests for jobs, and jobs on record, for tests of operations."""

import asyncio

from penstock.api import experiments, processing, trials
from penstock.job.experiments import Experiment, Trial
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


def make_parents(context, config):
    """The experiment and the trial that an ExperimentConfig names, where they are not there yet."""
    experiment, trial = config.get("ExperimentName"), config.get("TrialName")
    if experiment and context.store.experiments.get(Experiment, experiment) is None:
        experiments.create(context, {"ExperimentName": experiment})
    if trial and context.store.experiments.get(Trial, trial) is None:
        trials.create(context, {"TrialName": trial, "ExperimentName": experiment})


def create_part(context, name, config, **more):
    """A job that is part of an experiment, which is made if need be; its component's name."""
    make_parents(context, config)
    create(context, request(name, ExperimentConfig=config, **more))
    return f"{name}-aws-processing-job".lower()


def end(context, name="job"):
    job = advance(context.store.job(name), Started(), 1)
    context.store.save_job(job)
    context.store.save_job(advance(job, Succeeded(), 2))
