"""Inputs and outputs by their names: which there are, and what is said when something is not there."""

from __future__ import annotations

from typing import Any

import pytest
from sdk_fakes import FakeBoto

from penstock.client import record
from penstock.exceptions import UnexpectedStatusException
from penstock.processing import ProcessingInput, ProcessingJob, ProcessingOutput
from penstock.session import Session


def job(session: Session) -> ProcessingJob:
    return ProcessingJob(
        session,
        "j",
        [ProcessingInput("s3://b/in", "/opt/ml/processing/in", "data")],
        [
            ProcessingOutput("/opt/ml/processing/a", "s3://b/a", "a"),
            ProcessingOutput("/opt/ml/processing/c", "s3://b/c", "c", s3_upload_mode="Continuous"),
        ],
    )


def holds(fake: FakeBoto, *keys: str, status: str = "Completed", **more: Any) -> None:
    """The bucket has these objects, 5 bytes each."""

    def listing(**request: Any) -> dict[str, Any]:
        found = [key for key in keys if key.startswith(request["Prefix"])]
        return {"Contents": [{"Key": key, "Size": 0 if key.endswith("/") else 5} for key in found]}

    fake.answers |= {
        "list_objects_v2": listing,
        "describe_processing_job": {"ProcessingJobStatus": status, **more},
    }


def test_they_are_a_list_and_found_by_name(session: Session) -> None:
    given = [ProcessingOutput("/opt/ml/processing/a", "s3://b/a", "a")]
    outputs = ProcessingJob(session, "j", None, given).outputs
    assert isinstance(outputs, list)
    assert outputs is not None
    assert len(outputs) == 1
    assert outputs[0] is outputs["a"] is outputs[-1]
    assert outputs[0:1] == [outputs["a"]]
    assert isinstance(outputs["a"], ProcessingOutput)
    assert outputs["a"].destination == outputs["a"].uri == "s3://b/a"
    assert "a" in outputs
    assert "b" not in outputs
    assert outputs["a"] in outputs
    assert dict(outputs) == {"a": outputs["a"]}
    assert repr(outputs) == "[<JobOutput 'a' of j>]"
    # What a user has made belongs to no job, and stays as it is.
    assert type(given[0]) is ProcessingOutput
    assert ProcessingJob(session, "j", None, None).outputs is None


def test_an_output_of_one_job_may_be_that_of_another(session: Session) -> None:
    first = job(session)
    second = ProcessingJob(session, "k", first.inputs, first.outputs)
    assert [repr(second.outputs["a"]), repr(first.outputs["a"])] == [  # type: ignore[index]
        "<JobOutput 'a' of k>",
        "<JobOutput 'a' of j>",
    ]


def test_the_names_there_are_are_told(session: Session) -> None:
    with pytest.raises(KeyError) as caught:
        job(session).outputs["train"]  # type: ignore[index]
    assert str(caught.value) == "The job has no output 'train'. These are there: 'a', 'c'."
    with pytest.raises(KeyError, match="has none at all"):
        ProcessingJob(session, "j", [], []).inputs["x"]  # type: ignore[index]


def test_files_are_those_below_the_prefix(session: Session, boto: FakeBoto) -> None:
    holds(boto, "a/2.csv", "a/1.csv", "a/sub/3.csv", "a/made/", "a-old/4.csv")
    output = job(session).outputs["a"]  # type: ignore[index]
    assert list(output.list()) == [("1.csv", 5), ("2.csv", 5), ("sub/3.csv", 5)]
    assert output.list()[0].name == "1.csv"
    assert output.list()[0].size == 5
    assert str(output).splitlines() == [
        "output a: s3://b/a (3 files, 15 B)", "          5 B  1.csv", "          5 B  2.csv",
        "          5 B  sub/3.csv",
    ]  # fmt: skip
    assert "sub/3.csv" in output._repr_html_()


def test_an_input_that_is_one_object_is_one_file(session: Session, boto: FakeBoto) -> None:
    holds(boto, "in", "inner")
    assert list(job(session).inputs["data"].list()) == [("in", 5)]  # type: ignore[index]


def test_of_several_files_one_is_to_be_named(session: Session, boto: FakeBoto) -> None:
    holds(boto, "a/x.csv", "a/y.csv")
    output = job(session).outputs["a"]  # type: ignore[index]
    with pytest.raises(ValueError, match=r"'a' of the job j holds 2 files: name one of 'x.csv', 'y.csv'\."):
        output.read_text()
    with pytest.raises(FileNotFoundError, match=r"no file 'z'\. It holds 'x.csv', 'y.csv'\."):
        output.read_bytes("z")
    holds(boto)
    with pytest.raises(FileNotFoundError, match="holds no files: nothing lies at s3://b/a"):
        output.read_json()
    with pytest.raises(FileNotFoundError, match="holds no files"):
        output.to_pandas()
    assert list(output.list()) == []


@pytest.mark.parametrize("status", ["InProgress", "Stopping"])
def test_a_job_that_goes_on_has_no_outputs_yet(session: Session, boto: FakeBoto, status: str) -> None:
    holds(boto, "a/of-an-earlier-job.csv", "c/x.csv", status=status)
    found = job(session)
    with pytest.raises(
        UnexpectedStatusException, match=rf"not there yet: the job is {status}.*job\.wait\(\)"
    ):
        found.outputs["a"].list()  # type: ignore[index]
    assert "not there yet" in found.outputs["a"]._repr_html_()  # type: ignore[index]
    # What is stored as it comes can be read as it comes.
    assert list(found.outputs["c"].list()) == [("x.csv", 5)]  # type: ignore[index]


def test_a_job_that_failed_says_why_there_is_nothing(session: Session, boto: FakeBoto) -> None:
    holds(boto, status="Failed", FailureReason="AlgorithmError: , exit code: 1")
    output = job(session).outputs["a"]  # type: ignore[index]
    with pytest.raises(UnexpectedStatusException, match="has failed: AlgorithmError: , exit code: 1"):
        output.read_json()
    # What it has stored before is worth a look.
    holds(boto, "a/x.json", status="Failed")
    assert list(output.list()) == [("x.json", 5)]


def test_on_the_local_server_they_are_what_the_job_has_stored(
    local: FakeBoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(local, "a/mine.csv", "a/of-an-earlier-job.csv")
    stored = [
        {"host": host, "output": "a", "uri": "s3://b/a/mine.csv", "size": size}
        for host, size in (("algo-1", 4), ("algo-2", 5))
    ]
    other = {"host": "algo-1", "output": "c", "uri": "s3://b/c/x", "size": 9}
    monkeypatch.setattr(record, "uploads", lambda *_: iter([*stored, other]))
    assert list(job(Session()).outputs["a"].list()) == [("mine.csv", 5)]  # type: ignore[index]


def test_what_is_not_in_s3_is_said_to_be_elsewhere(session: Session) -> None:
    found = ProcessingJob(
        session,
        "j",
        [ProcessingInput("file:///data", "/opt/ml/processing/in", "here")],
        [ProcessingOutput(output_name="own", app_managed=True)],
    )
    with pytest.raises(ValueError, match="is not in S3: the job sees file:///data where it lies"):
        found.inputs["here"].list()  # type: ignore[index]
    with pytest.raises(ValueError, match="'own' of the job j has no S3 URI: the program itself stores it"):
        _ = found.outputs["own"].uri  # type: ignore[index]
