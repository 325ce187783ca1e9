"""What the command line says of arguments that can't be, and of what the server refuses."""

import pytest
from botocore.exceptions import ClientError

from penstock.cli import checks, main, running
from penstock.config import Settings
from penstock.errors import InternalFailure, PenstockError
from penstock.runtimes.containers import engine, sockets


def refusal(message):
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "CreateProcessingJob")


def test_a_long_list_of_what_may_be_is_cut_so_that_what_was_meant_is_seen():
    kinds = ", ".join(f"ml.m{n}.large" for n in range(200))
    said = main._in_words(refusal(f"1 error: must be of [{kinds}] (did you mean ml.m5.large?)"))
    assert said == (
        "1 error: must be of [ml.m0.large, ml.m1.large, ml.m2.large and 197 more] (did you mean ml.m5.large?)"
    )


def test_short_lists_and_patterns_stay_as_they_are():
    said = "must be of [File, Pipe], or fit [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    assert main._in_words(refusal(said)) == said


def test_a_job_that_is_not_there_comes_with_how_to_find_the_one_that_was_meant():
    said = main._or_where_to_look("Could not find requested job with name: x")
    assert said == (
        "Could not find requested job with name: x. `penstock jobs --contains PART` lists those that are there."
    )
    assert main._or_where_to_look("Other.") == "Other."


def test_a_folder_of_an_input_that_is_no_whole_path(tmp_path):
    data = tmp_path / "raw.csv"
    data.write_text("")
    with pytest.raises(PenstockError, match=r"data is no whole path.*raw\.csv=/opt/ml/processing/input/data"):
        running._input(f"{data}=data")
    with pytest.raises(PenstockError, match="does not exist"):
        running._input(f"{tmp_path}/none=data")


def test_a_metric_without_an_expression_is_told_what_one_is():
    with pytest.raises(PenstockError, match=r"^--metric auc: give NAME=REGEX, such as 'auc=auc: "):
        running._definitions(["auc"])


def test_doctor_does_not_send_one_to_doctor_for_an_engine_that_is_silent(monkeypatch):
    def reach():
        raise InternalFailure(
            "The container engine at /s does not answer: x. `penstock doctor` says what is there."
        )

    monkeypatch.setattr(sockets, "lacking", lambda: None)
    monkeypatch.setattr(engine, "reach", reach)
    (finding,) = checks._containers(Settings.read({}))
    assert finding.state == "weak"
    assert finding.text == (
        "The container engine at /s does not answer: x. `podman info` or `docker info` tells more."
    )
    assert finding.remedy is None  # no package is missing


def test_an_input_may_have_an_equals_sign_in_its_name(tmp_path):
    data = tmp_path / "year=2026"
    data.mkdir()
    assert running._input(str(data)).source == str(data)
    assert running._input(f"{data}=/opt/ml/processing/in").destination == "/opt/ml/processing/in"


@pytest.mark.parametrize("data", [b"print()\n", b"\xff\xfe"])
def test_a_file_that_is_no_lock_is_named(tmp_path, data):
    file = tmp_path / "again.lock"
    file.write_bytes(data)
    with pytest.raises(PenstockError, match=r"The lock .*again\.lock can't be read: "):
        running._read_lock(file)
