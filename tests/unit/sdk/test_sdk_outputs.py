"""Outputs for folders of this machine: they go to S3, and from there to the folder once the job has ended."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from sdk_fakes import FakeBoto

from penstock.client.processor import Processor
from penstock.exceptions import UnexpectedStatusException
from penstock.local import LocalSession
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
        "describe_log_streams": {"logStreams": []},
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
    place = "s3://sagemaker-eu-west-1-000000000000/j/output/o"
    assert f"for {tmp_path}/out goes to {place}; `wait()` of the job j brings it to the folder" in caplog.text
    assert not (tmp_path / "out").exists()
    assert processor.latest_job is not None
    processor.latest_job.wait(logs=False)
    assert (tmp_path / "out" / "sub" / "x").exists()


def test_a_stopped_job_s_output_is_fetched(local: FakeBoto, tmp_path: Path) -> None:
    ends(local, "Stopped")
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    processor.run(outputs=[output(tmp_path / "out")], logs=False)
    assert (tmp_path / "out" / "sub" / "x").exists()


def test_a_failed_job_s_output_is_fetched_and_its_failure_told(local: FakeBoto, tmp_path: Path) -> None:
    ends(local, "Failed")
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    with pytest.raises(UnexpectedStatusException, match="Failed"):
        processor.run(outputs=[output(tmp_path / "out")], logs=False)
    assert (tmp_path / "out" / "sub" / "x").exists()


def test_what_can_t_be_fetched_of_a_failed_job_hides_no_failure(
    local: FakeBoto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends(local, "Failed")
    local.answers["list_objects_v2"] = OSError("the store is gone")
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    with pytest.raises(UnexpectedStatusException):
        processor.run(outputs=[output(tmp_path / "out")], logs=False, job_name="j")
    assert "What the job j has written can't be fetched: the store is gone" in caplog.text


def test_who_stops_waiting_is_told_what_brings_the_output(
    local: FakeBoto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(**_: Any) -> Any:
        raise KeyboardInterrupt

    ends(local, "InProgress")
    local.answers["describe_processing_job"] = interrupted
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    with pytest.raises(KeyboardInterrupt):
        processor.run(outputs=[output(tmp_path / "out")], logs=False, job_name="j")
    assert f"The output for {tmp_path}/out goes to" in caplog.text


def test_a_local_session_on_another_server_fetches_too(
    boto: FakeBoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:9550")
    ends(boto, "Completed")
    session = LocalSession(boto, default_bucket="bucket")
    processor = Processor("a/role", "i:1", 1, "local", sagemaker_session=session)
    processor.run(outputs=[output(tmp_path / "out")], logs=False, job_name="j")
    assert (tmp_path / "out" / "sub" / "x").exists()


@pytest.mark.parametrize("destination", ["/tmp/out", "out", "ftp://host/out"])
def test_a_destination_that_is_no_place_is_warned_of(
    local: FakeBoto, destination: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends(local, "Completed")
    processor = Processor(image_uri="i:1", instance_count=1, instance_type="ml.m5.large")
    given = ProcessingOutput("/opt/ml/processing/output/o", destination, "o")
    processor.run(outputs=[given], logs=False, job_name="j")
    place = "s3://sagemaker-eu-west-1-000000000000/j/output/o"
    assert f"The output o goes to {place}: its destination {destination} is neither" in caplog.text


def test_a_session_of_the_user_s_own_fetches_nothing(
    boto: FakeBoto, session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ends(boto, "Completed")
    processor = Processor("a/role", "i:1", 1, "ml.m5.large", sagemaker_session=session)
    processor.run(outputs=[output(tmp_path / "out")], logs=False, job_name="j")
    assert boto.job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == "s3://bucket/j/output/o"
    assert not (tmp_path / "out").exists()
    assert "The output o goes to s3://bucket/j/output/o: its destination file://" in caplog.text
