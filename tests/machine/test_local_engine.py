"""The engine of this machine, with real runners that report to nobody: there is no server."""

import pytest

from penstock.engines.local import LocalEngine
from penstock.job.run import Run, S3Access
from penstock.testing.engines import EngineSuite

pytestmark = pytest.mark.machine


class TestLocalEngine(EngineSuite):
    @pytest.fixture
    def engine(self, tmp_path):
        return LocalEngine(tmp_path / "runs")

    @pytest.fixture
    def make(self, settings):
        def make(host, program):
            request = {
                "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["sh", "-c", program]},
                "ProcessingResources": {
                    "ClusterConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
                },
                "RoleArn": "arn:aws:iam::000000000000:role/r",
                "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            }
            s3 = S3Access("http://127.0.0.1:9", "us-east-1", "id", "key")
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
                s3=s3,
                environments=str(settings.environments),
                stop_grace=1,
                patience=0,
            )

        return make

    @pytest.fixture
    def long_run(self, make):
        return lambda host: make(host, "echo begun; sleep 600")

    @pytest.fixture
    def short_run(self, make):
        return lambda host: make(host, "echo hello")
