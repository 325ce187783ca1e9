"""Notebooks in real kernels, against a real server: the examples as they stand, and what a cell shows of a wait."""

import asyncio
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1200)]

EXAMPLES = Path(__file__).parents[2] / "examples"


class Recorder(NotebookClient):
    """Runs a notebook and keeps what its kernel sent: the kind of each message of an output."""

    def __init__(self, *args, interrupt=False, **more):
        super().__init__(*args, timeout=900, **more)
        self.sent = []
        self._interrupts = interrupt  # the cell that shows something first, as soon as it does

    def process_message(self, msg, cell, cell_index):
        self.sent.append(msg["msg_type"])
        if self._interrupts and msg["msg_type"] == "display_data":
            self._interrupts = False
            self._interruption = asyncio.ensure_future(self.km.interrupt_kernel())
        return super().process_message(msg, cell, cell_index)


@pytest.fixture
def run(address, tmp_path):
    """Run cells in a kernel whose working directory is `tmp_path`; the client, whose `nb` has the outputs."""

    def run(*cells, errors=False, **more):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = Recorder(book, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=errors, **more)
        client.execute()
        return client

    return run


def html(cell):
    """The HTML of a cell's one rich output."""
    (found,) = [
        output["data"]["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})
    ]
    return found


def streams(cell):
    return "".join(output["text"] for output in cell.outputs if output["output_type"] == "stream")


@pytest.fixture
def example(address, tmp_path):
    """Run a notebook of the examples, in a copy of their folder; its cells, each by its place."""

    def run(name):
        folder = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("data"))
        book = nbformat.read(folder / name, as_version=4)
        NotebookClient(book, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
        return book.cells

    return run


def cell_with(cells, text):
    (found,) = [cell for cell in cells if cell.cell_type == "code" and text in cell.source]
    return found


def cell_that_is(cells, text):
    (found,) = [cell for cell in cells if cell.source == text]
    return found


def assert_that_an_experiment_is_shown(cells, name):
    """Its card has the job as a component of its trial; its DataFrame has a row for it."""
    card = html(cell_that_is(cells, "experiment"))
    assert "1 trial, 1 component," in card
    assert ">Completed<" in card
    (job,) = set(re.findall(rf">({name}-[\d-]+)</td>", card))
    frame = html(cell_that_is(cells, "experiment.dataframe()"))
    assert f"{job}-aws" in frame  # pandas cuts long texts
    assert "SageMaker.InstanceCount" in frame


def test_the_preprocessing_notebook(example):
    cells = example("processing.ipynb")
    waited = cell_with(cells, "processor.run(")
    assert ">Completed<" in html(waited)
    assert "train: (320, 3)" in html(waited)
    assert streams(waited) == ""
    assert ">Completed<" in html(cell_with(cells, "latest_job\njob"))
    assert "train.csv" in html(cells[[c.source for c in cells].index('job.outputs["train"]')])
    assert "320" in html(cell_with(cells, "describe()"))
    assert "cleaned: (402, 3) -&gt; (400, 3)" in html(waited)
    assert "cleaned: (402, 3) -> (400, 3)" in streams(cell_with(cells, "job.logs()"))
    assert_that_an_experiment_is_shown(cells, "preprocessing-sample")


def test_the_evaluation_notebook(example):
    cells = example("evaluation.ipynb")
    assert "InProgress" in html(cell_with(cells, "script_eval.run("))
    waited = html(cell_with(cells, "wait(logs=False)"))
    assert ">Completed<" in waited
    assert "<pre>" not in waited
    said = cell_with(cells, "read_json()").outputs[-1]["data"]["text/plain"]
    # The target spreads over 1.1 around its mean; the noise alone is 0.01.
    assert 0.005 < float(re.search(r"'value': ([\d.]+)", said)[1]) < 0.2
    assert_that_an_experiment_is_shown(cells, "evaluation-sample")


START = """
from penstock.processing import ScriptProcessor, ProcessingOutput
processor = ScriptProcessor(
    image_uri="python:3.11", command=["python3"], instance_count=1, instance_type="ml.m5.xlarge"
)
"""


def test_a_flood_of_lines_is_one_output_that_is_seldom_drawn(run, script):
    script("for n in range(3000): print(f'line {n} <script>')", "flood.py")
    client = run(START, "processor.run('flood.py')", "processor.latest_job.logs()")
    _, waited, logs = client.nb.cells
    assert [output["output_type"] for output in waited.outputs] == ["display_data"]
    shown = html(waited)
    assert ">Completed<" in shown
    assert "line 2999 &lt;script&gt;" in shown
    assert "<script>" not in shown
    assert len(shown) < 30_000
    took = 60  # seconds at the most, of which each has four drawings
    assert 1 <= client.sent.count("update_display_data") <= 4 * took
    assert streams(logs).count("line ") == 3000


def test_a_failure_is_shown_with_its_reason(run, script):
    script("import nopackage", "fails.py")
    client = run(START, "processor.run('fails.py')", "print(processor.latest_job)", errors=True)
    _, waited, printed = client.nb.cells
    shown = html(waited)
    assert ">Failed<" in shown
    assert "AlgorithmError: , exit code: 1" in shown
    assert "no module nopackage" in shown
    (error,) = [output for output in waited.outputs if output["output_type"] == "error"]
    assert error["ename"] == "UnexpectedStatusException"
    assert "ModuleNotFoundError" in streams(printed)


def test_a_cell_that_is_stopped_leaves_the_job_alone(run, script):
    script("import time; time.sleep(600)", "long.py")
    client = run(
        START,
        "processor.run('long.py')",
        "job = processor.latest_job\nprint(job.describe()['ProcessingJobStatus'])\njob.stop()\njob.wait(logs=False)",
        errors=True,
        interrupt=True,
    )
    _, stopped, after = client.nb.cells
    assert ">InProgress" in html(stopped)
    assert "penstock stop" in streams(stopped)
    (error,) = [output for output in stopped.outputs if output["output_type"] == "error"]
    assert error["ename"] == "KeyboardInterrupt"
    assert streams(after).startswith("InProgress\n")
    assert ">Stopped<" in html(after)


def test_a_cell_that_asks_too_early_is_told_so(run, script):
    script("import time; time.sleep(600)", "long.py")
    with pytest.raises(CellExecutionError, match="is not there yet: the job is InProgress"):
        run(
            START,
            "processor.run('long.py', outputs=[ProcessingOutput('/opt/ml/processing/output', output_name='o')], "
            "wait=False, logs=False)",
            "try:\n    processor.latest_job.outputs['o'].list()\nfinally:\n    processor.latest_job.stop()",
        )
