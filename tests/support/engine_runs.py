"""Runs for the conformance suite of engines, whose runners report to nobody."""

import pytest

from penstock.job.run import Run, S3Access


def run_of(settings, host, program, kind="ml.t3.medium", **more):
    """One of the two instances of a job that runs a line of shell."""
    cluster = {"InstanceType": kind, "InstanceCount": 2, "VolumeSizeInGB": 1}
    request = {
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["sh", "-c", program]},
        "ProcessingResources": {"ClusterConfig": cluster},
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return Run(
        job_name="j",
        job_uid="j-1",
        job_arn="arn",
        host=host,
        hosts=("algo-1", "algo-2"),
        request=request,
        region="us-east-1",
        token="t",
        report_url="http://127.0.0.1:9",
        home=None,
        s3=S3Access("http://127.0.0.1:9", "us-east-1", "id", "key"),
        environments=str(settings.environments),
        stop_grace=1,
        patience=0,
        **more,
    )


class RealRuns:
    """What the conformance suite asks of an engine that starts Penstock's own runners."""

    @pytest.fixture
    def long_run(self, settings):
        return lambda host: run_of(settings, host, "echo begun; sleep 600")

    @pytest.fixture
    def short_run(self, settings):
        return lambda host: run_of(settings, host, "echo hello")
