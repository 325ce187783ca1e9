"""What a job has stored, read by the names of its outputs: a real server and a real store."""

import pytest
from patience import until

from penstock.exceptions import UnexpectedStatusException
from penstock.processing import ProcessingInput, ProcessingJob, ProcessingOutput

pytestmark = [pytest.mark.machine, pytest.mark.timeout(300)]

WRITES = """
import gzip, json, pathlib
root = pathlib.Path("/opt/ml/processing/output")
for folder in ("evaluation", "rows", "nothing"):
    (root / folder).mkdir(parents=True, exist_ok=True)
(root / "evaluation/evaluation.json").write_text(json.dumps({"mse": 0.25}))
(root / "evaluation/notes é.txt").write_text("seen")
for n in (1, 2):
    (root / f"rows/sub{n}").mkdir()
    (root / f"rows/sub{n}/part.csv.gz").write_bytes(gzip.compress(f"a,b\\n{n},x\\n".encode()))
"""


def output(name, **more):
    return ProcessingOutput(f"/opt/ml/processing/output/{name}", output_name=name, **more)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "in.csv").write_text("a,b\n1,2\n")
    return folder


@pytest.fixture
def job(processor, script, data):
    made = processor()
    made.run(
        script(WRITES),
        inputs=[ProcessingInput(str(data), "/opt/ml/processing/data", "data")],
        outputs=[output("evaluation"), output("rows"), output("nothing")],
        logs=False,
    )
    return made.latest_job


def test_outputs_and_inputs_are_read_by_name(job, session, tmp_path):
    evaluation = job.outputs["evaluation"]
    assert evaluation.read_json() == {"mse": 0.25}
    assert evaluation.read_text("notes é.txt") == "seen"
    assert [file.name for file in evaluation.list()] == ["evaluation.json", "notes é.txt"]
    with pytest.raises(ValueError, match="holds 2 files: name one of"):
        evaluation.read_bytes()

    rows = job.outputs["rows"].to_pandas()
    assert rows.to_dict("list") == {"a": [1, 2], "b": ["x", "x"]}
    assert job.outputs["rows"].to_pandas("sub2/part.csv.gz")["a"].tolist() == [2]
    files = job.outputs["rows"].download(tmp_path / "new")
    assert sorted(files) == [str(tmp_path / f"new/sub{n}/part.csv.gz") for n in (1, 2)]
    with pytest.raises(FileNotFoundError, match="holds no files"):
        job.outputs["nothing"].read_text()

    assert job.inputs["data"].to_pandas().to_dict("list") == {"a": [1], "b": [2]}
    assert [file.name for file in job.inputs["code"].list()] == ["script.py"]

    # The same, of a job that was not started here.
    found = ProcessingJob.from_processing_name(session, job.job_name)
    assert found.outputs["evaluation"].read_json() == {"mse": 0.25}
    assert found.outputs["evaluation"].uri == evaluation.uri
    shown = found._repr_html_()
    assert ">Completed<" in shown
    assert "2 files, " in shown


def test_what_another_job_left_at_the_same_place_is_not_this_job_s(processor, script, session):
    place = f"s3://{session.default_bucket()}/shared-place"
    made = processor()
    for n in (1, 2):
        made.run(
            script(f"open('/opt/ml/processing/output/o/{n}.csv', 'w').write('a\\n{n}\\n')", f"{n}.py"),
            outputs=[output("o", destination=place)],
            logs=False,
        )
    first, second = made.jobs
    assert first.outputs["o"].to_pandas()["a"].tolist() == [1]
    assert second.outputs["o"].to_pandas()["a"].tolist() == [2]
    with pytest.raises(UnexpectedStatusException):
        made.run(script("raise SystemExit(3)"), outputs=[output("o", destination=place)], logs=False)
    with pytest.raises(UnexpectedStatusException, match="holds no files, since the job has failed: Algo"):
        made.latest_job.outputs["o"].read_text()


def test_a_failed_job_s_outputs_are_read_as_far_as_they_are_there(processor, script):
    made = processor()
    code = "open('/opt/ml/processing/output/o/x.json', 'w').write('[1]'); raise SystemExit(3)"
    with pytest.raises(UnexpectedStatusException):
        made.run(script(code), outputs=[output("o")], logs=False)
    assert made.latest_job.outputs["o"].read_json() == [1]


def test_a_continuous_output_is_read_while_the_job_runs(processor, script):
    made = processor()
    code = """
    import time
    with open('/opt/ml/processing/output/o/x.txt', 'w') as file: file.write('early')
    time.sleep(600)
    """
    made.run(
        script(code),
        outputs=[output("o", s3_upload_mode="Continuous"), output("end")],
        wait=False,
        logs=False,
    )
    job = made.latest_job
    try:
        until(lambda: len(job.outputs["o"].list()), 60)
        assert job.outputs["o"].read_text() == "early"
        with pytest.raises(UnexpectedStatusException, match="not there yet"):
            job.outputs["end"].list()
        until(lambda: "InProgress: running" in job._repr_html_())  # told a moment after the object is stored
    finally:
        job.stop()
