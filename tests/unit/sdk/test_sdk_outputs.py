"""Outputs for folders of this machine: they go to S3, and from there to the folder once the job has ended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from sdk_fakes import FakeBoto

from penstock.client.processor import Processor
from penstock.processing import ProcessingOutput
from penstock.session import Session


def ends(fake: FakeBoto, status: str) -> None:
    """Every job has this status; what a job has written to S3 is one file, whose text is its key."""

    def listing(**request: Any) -> dict[str, Any]:
        return {"Contents": [{"Key": f"{request['Prefix']}/sub/x", "Size": 1}]}

    def download(**request: Any) -> None:
        Path(request["Filename"]).write_text(request["Key"])

    fake.answers |= {
        "describe_processing_job": {"ProcessingJobStatus": status},
        "list_objects_v2": listing,
        "download_file": download,
    }


def output(folder: Path) -> ProcessingOutput:
    return ProcessingOutput("/opt/ml/processing/output/o", f"file://{folder}", "o")


def test_a_completed_job_s_output_is_fetched(local: FakeBoto, tmp_path: Path) -> None:
    ends(local, "Completed")
    folder = tmp_path / "new" / "out"
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    outputs = [output(folder)]
    processor.run(outputs=outputs, logs=False, job_name="j1")
    place = "s3://sagemaker-eu-west-1-000000000000/j1/output/o"
    assert local.job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == place
    assert (folder / "sub" / "x").read_text() == "j1/output/o/sub/x"
    # The object now names its place in S3, as SageMaker's does; the folder is not forgotten.
    (folder / "sub" / "x").unlink()
    processor.run(outputs=outputs, logs=False, job_name="j2")
    assert (folder / "sub" / "x").exists()


def test_without_wait_it_is_fetched_by_a_wait_later(
    local: FakeBoto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends(local, "Completed")
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    with caplog.at_level(logging.WARNING):
        processor.run(outputs=[output(tmp_path / "out")], wait=False, logs=False, job_name="j")
    assert f"{tmp_path}/out are fetched by `wait()` of the job j" in caplog.text
    assert not (tmp_path / "out").exists()
    assert processor.latest_job is not None
    processor.latest_job.wait(logs=False)
    assert (tmp_path / "out" / "sub" / "x").exists()


def test_a_stopped_job_s_output_is_left_in_s3(local: FakeBoto, tmp_path: Path) -> None:
    ends(local, "Stopped")
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    processor.run(outputs=[output(tmp_path / "out")], logs=False)
    assert not (tmp_path / "out").exists()


def test_a_session_of_the_user_s_own_fetches_nothing(
    boto: FakeBoto, session: Session, tmp_path: Path
) -> None:
    ends(boto, "Completed")
    processor = Processor("a/role", "i:1", 1, "ml.m5.large", sagemaker_session=session)
    processor.run(outputs=[output(tmp_path / "out")], logs=False, job_name="j")
    assert boto.job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == "s3://bucket/j/output/o"
    assert not (tmp_path / "out").exists()
