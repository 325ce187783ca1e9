"""Metrics in the log and the outputs of a program that may print and leave anything."""

import io
import json
import os
import time

import pytest
from failure_table import assert_told

from penstock.job.metrics import from_note
from penstock.job.run import Run, S3Access
from penstock.runner import metrics
from penstock.runner.journal import Journal
from penstock.runner.logs import LogWriter

OUTPUTS = [
    {"OutputName": name, "S3Output": {"S3Uri": f"s3://b/{name}", "LocalPath": f"/opt/ml/processing/{name}"}}
    for name in ("first", "second")
]


def run(definitions=None, **environment):
    if definitions is not None:
        environment["PENSTOCK_METRIC_DEFINITIONS"] = json.dumps(definitions)
    request = {"Environment": environment, "ProcessingOutputConfig": {"Outputs": OUTPUTS}}
    return Run(
        "j", "j-1", "arn", "algo-1", ("algo-1",), request, "r", "t", "u", None, S3Access(None, "r"), "/e"
    )


class Told:
    """A journal in memory, and what it tells."""

    def __init__(self):
        self.file = io.BytesIO()
        self.notes = []
        self.journal = self.again()

    def again(self):
        return Journal(self.file, lambda: 7, lambda: None, lambda _: None)

    @property
    def values(self):
        found = [m for e in self.journal.after(0) for m in from_note(e.data.get("metrics"))]
        return [(m.name, m.value) for m in found]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def read(told, tmp_path):
    """Reads the outputs below `tmp_path`; what of metrics they give, and the lines of the log."""
    for one in OUTPUTS:
        (tmp_path / "processing" / one["OutputName"]).mkdir(parents=True)

    def read(**environment):
        metrics.read_outputs_of(run(**environment), tmp_path, told.journal, lambda: 9, told.notes.append)
        return told.values, told.notes

    read.folder = tmp_path / "processing" / "first"
    return read


LOSS = {"Name": "loss", "Regex": "loss=(.*?)(;|$)"}


def searched(told, *definitions):
    return metrics.of_log(run(definitions), told.journal, lambda: 7, told.notes.append)


class TestLog:
    def test_each_line_gives_a_value_of_each_metric(self, told):
        log = searched(told, LOSS, {"Name": "epoch", "Regex": "^epoch ([0-9]+)"})
        log.look([b"epoch 1 loss=0.5; loss=9;", b"nothing", b"loss=1e-3"])
        log.look([b"\xff\xfe loss=-2;\r loss=3\r"])
        assert told.values == [
            ("loss", 0.5), ("epoch", 1.0), ("loss", 0.001), ("loss", -2.0), ("loss", 3.0),
        ]  # fmt: skip
        assert [len(e.data["metrics"]) for e in told.journal.after(0)] == [3, 2]

    def test_a_job_without_definitions_is_not_searched(self, told):
        assert metrics.of_log(run(), told.journal, lambda: 7, told.notes.append) is None
        assert metrics.of_log(run([5]), told.journal, lambda: 7, told.notes.append) is None
        assert "each element must be" in told.notes[0]

    def test_what_is_no_finite_number_is_said_once(self, told):
        log = searched(told, LOSS, {"Name": "maybe", "Regex": "x|(y)"})
        log.look([b"loss=nan", b"loss=inf", b"loss=", b"loss=1,5", b"x", b"loss=2"])
        assert told.values == [("loss", 2.0)]
        assert told.notes == [
            "Metric 'loss': 'nan' is no finite number; such values are left out.",
            "Metric 'maybe': None is no finite number; such values are left out.",
        ]
        assert_told("a line gives what is no number", told.notes[0])

    def test_values_are_bounded(self, told):
        log = searched(told, LOSS, {"Name": "other", "Regex": "other=(.)"})
        log.look([b"loss=%d" % n for n in range(6000)])
        log.look([b"other=1"])
        assert told.values == [*(("loss", float(n)) for n in range(5000)), ("other", 1.0)]
        assert told.notes == ["Metric 'loss': its first 5,000 values are kept, the others are left out."]
        assert max(len(e.data["metrics"]) for e in told.journal.after(0)) == 300
        assert "left_out" not in told.file.getvalue().decode()

    def test_the_longest_names_fit_into_a_journal(self, told):
        log = searched(told, {"Name": "🐟" * 255, "Regex": "loss=(.*)"})
        log.look([b"loss=-1.7976931348623157e308"] * 600)
        assert len(told.values) == 600

    def test_long_lines_and_hard_expressions_take_no_time(self, told):
        log = searched(told, *({"Name": f"m{n}", "Regex": r"(x+x+)+y(\d)"} for n in range(40)))
        began = time.process_time()
        log.look([b"x" * (256 << 10)] * 20)
        assert time.process_time() - began < 20, "by backtracking it would take years"
        assert told.values == []

    def test_a_journal_that_can_not_be_written_ends_the_search_and_no_job(self, told):
        def fails(**_):
            raise OSError(5, "Input/output error")

        log = searched(told, LOSS)
        told.journal.note = fails
        log.look([b"loss=1"])
        log.look([b"loss=2"])
        assert told.notes == ["The log is no longer searched for metrics: [Errno 5] Input/output error."]

    def test_lines_come_from_the_program_and_not_from_penstock(self, told, tmp_path):
        seen = []
        writer = LogWriter(tmp_path / "log", lambda: 5, lambda: None)
        writer.note("loss=1")
        reading, writing = os.pipe()
        os.write(writing, b"one\ntwo\nlast")
        os.close(writing)
        writer.follow(reading, seen.extend)
        os.close(reading)
        writer.close()
        assert seen == [b"one", b"two", b"last"]


def huge(path):
    path.touch()
    os.truncate(path, 1 << 40)


class TestOutputs:
    def test_the_evaluation_of_each_output_is_told_and_said(self, read):
        (read.folder / "evaluation.json").write_text('{"accuracy": 0.5}')
        (read.folder.parent / "second" / "evaluation.json").write_text('{"a": 1, "b": 2}')
        assert read() == (
            [("accuracy", 0.5), ("a", 1.0), ("b", 2.0)],
            [
                "Output 'first': evaluation.json gives 1 metric.",
                "Output 'second': evaluation.json gives 2 metrics.",
            ],
        )

    def test_another_runner_of_the_run_does_not_tell_it_again(self, read, told):
        (read.folder / "evaluation.json").write_text('{"accuracy": 0.5}')
        read()
        told.journal = told.again()
        told.journal.skip()
        assert read()[0] == [("accuracy", 0.5)]

    def test_another_file_by_the_jobs_own_variable(self, read):
        (read.folder / "deep").mkdir()
        (read.folder / "deep" / "q.json").write_text('{"a": 1}')
        (read.folder / "evaluation.json").write_text('{"b": 1}')
        assert read(PENSTOCK_METRICS_FILE="deep/q.json")[0] == [("a", 1.0)]

    def test_none_by_the_jobs_own_variable(self, read):
        (read.folder / "evaluation.json").write_text('{"b": 1}')
        assert read(PENSTOCK_METRICS_FILE="") == ([], [])

    def test_nothing_is_said_where_there_is_none(self, read):
        assert read() == ([], [])
        assert read(PENSTOCK_METRICS_FILE="evaluation.json/x") == ([], [])
        (read.folder / "evaluation.json").write_text("{}")
        assert read(PENSTOCK_METRICS_FILE="evaluation.json/x") == ([], [])

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda path: path.write_bytes(b"{"), "gives no metrics: Expecting"),
            (lambda path: path.write_bytes(b"[" * 900_000), "nested too deeply"),
            (lambda path: path.write_bytes(b" " * ((1 << 20) + 1)), "more than 1.0 MiB"),
            (lambda path: path.symlink_to("/etc/hostname"), "symbolic link"),
            (os.mkfifo, "it is no file"),
            (lambda path: path.mkdir(), "is a directory"),
            (huge, "more than 1.0 MiB"),
        ],
    )
    def test_what_can_not_be_read_is_a_line_and_keeps_nobody(self, read, make, words):
        make(read.folder / "evaluation.json")
        (read.folder.parent / "second" / "evaluation.json").write_text('{"a": 1}')
        values, notes = read()
        assert values == [("a", 1.0)]
        assert words.lower() in notes[0].lower()
        assert_told("the file of metrics can't be read", notes[0])

    def test_no_link_on_the_way_is_followed(self, read, tmp_path):
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "evaluation.json").write_text('{"secret": 1}')
        read.folder.rmdir()
        read.folder.symlink_to(tmp_path / "secret")
        values, notes = read()
        assert values == []
        assert "symbolic link" in notes[0]

    def test_of_very_many_metrics_the_first_are_told(self, read):
        (read.folder / "evaluation.json").write_text(json.dumps({f"m{n}": n for n in range(250)}))
        values, notes = read()
        assert values == [(f"m{n}", float(n)) for n in range(200)]
        assert notes == ["Output 'first': evaluation.json gives 200 metrics. 50 more are left out."]

    def test_a_variable_that_no_server_of_today_takes(self, read):
        assert read(PENSTOCK_METRICS_FILE="/etc/passwd")[0] == []
