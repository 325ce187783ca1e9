"""Programs that can't be started, and what is said: the same exit codes as the real walls give, before anything runs."""

import os
import sys
from pathlib import Path

import pytest
from failure_table import assert_told

from penstock.data.inputs import Fetched
from penstock.environments import Environment
from penstock.errors import AlgorithmFailure
from penstock.runner import entrypoint

CODE = "/opt/ml/processing/input/code"
PATH = "/opt/venv/bin:/opt/penstock/env/bin:/usr/bin:/bin"


@pytest.fixture
def view(tmp_path):
    """The environment is the one that the tests run in; other.sh is among the job's files, not executable."""
    code = tmp_path / "ml/processing/input/code"
    code.mkdir(parents=True)
    (code / "other.sh").write_text("echo\n")
    environment = Environment("d", Path(sys.prefix), "3.11.2", sys.executable, (), {})
    return entrypoint.View(environment, tmp_path / "ml")


def put(view, data, mode=0o755):
    """A file among the job's; its path as the program has it."""
    path = view.ml / "processing/input/code/program"
    path.write_bytes(data)
    path.chmod(mode)
    return f"{CODE}/program"


def refused(view, *argv):
    with pytest.raises(AlgorithmFailure) as caught:
        entrypoint.check(argv, PATH, view)
    return caught.value.reason


def elf(machine):
    return b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") + bytes(40)


CASES = {
    "the program is not on its PATH": lambda view: refused(view, "pythn3", "x.py"),
    "the program is not there": lambda view: refused(view, f"{CODE}/run.sh"),
    "the program is a folder": lambda view: refused(view, CODE),
    "the program is not executable": lambda view: refused(view, f"{CODE}/other.sh"),
    "the program is built for another machine": lambda view: refused(view, put(view, elf(0xF3), 0o644)),
    "the program is neither ELF nor a script": lambda view: refused(view, put(view, b"\x00\x01\x02")),
    "the first line ends in CR LF": lambda view: refused(view, put(view, b"#!/bin/sh\r\necho\r\n")),
    "the interpreter of the first line is not there": lambda view: refused(
        view, put(view, b"#!/usr/bin/pythn\n")
    ),
    "env does not find the interpreter": lambda view: refused(view, put(view, b"#!/usr/bin/env pythn\n")),
}


@pytest.mark.parametrize("case", CASES)
def test_a_program_that_can_not_be_started(view, case, monkeypatch):
    monkeypatch.setattr(entrypoint, "_EMULATORS", Path("/nonexistent"))
    assert_told(case, CASES[case](view))


def test_a_program_for_another_machine_may_have_an_emulator(view, monkeypatch, tmp_path):
    (tmp_path / "qemu-riscv64").touch()
    monkeypatch.setattr(entrypoint, "_EMULATORS", tmp_path)
    assert entrypoint.check((put(view, elf(0xF3)),), PATH, view) == ""


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "-c", "pass"),
        ("python3", f"{CODE}/other.sh"),
        ("/bin/sh", "-c", "true"),
        ("/opt/venv/bin/python", "x.py"),
        ("/tmp/made-by-nobody-yet",),
        ("python3", "-m", "module"),
        (f"{CODE}/link",),
        ("//usr/bin/env", "true"),
        ("//bin/sh", "-c", "true"),
        (f"{CODE}/../code/run.sh",),
        ("bash", "x" * 300),
    ],
)
def test_what_may_well_start_is_let_be(view, argv):
    (view.ml / "processing/input/code/link").symlink_to("/somewhere/else")
    assert entrypoint.check(argv, PATH, view) == ""


def test_a_script_that_is_not_there_is_a_hint_for_when_it_has_failed(view):
    hint = entrypoint.check(("python3", "-u", f"{CODE}/x.py", "--flag"), PATH, view)
    assert_told(
        "the script of python3 is not there", f"AlgorithmError: , exit code: 2. {hint.removesuffix('.')}"
    )


def test_a_shell_s_script_with_windows_lines_is_one_too(view):
    script = put(view, b"echo\r\nfalse\r\n")
    hint = entrypoint.check(("bash", "-e", script), PATH, view)
    assert_told(
        "a script of bash has lines that end in CR LF",
        f"AlgorithmError: , exit code: 1. {hint.removesuffix('.')}",
    )
    assert entrypoint.check(("python3", script), PATH, view) == ""  # which reads such lines
    put(view, b"echo\n")
    assert entrypoint.check(("bash", script), PATH, view) == ""


def test_a_script_that_the_shell_runs_for_want_of_a_first_line_is_one_too(view):
    hint = entrypoint.check((put(view, b"exit 3\n"),), PATH, view)
    assert_told("a script without a first line fails", f"AlgorithmError: , exit code: 3. {hint}")


def test_files_of_mounted_inputs_are_looked_at_where_they_lie(view, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/run.sh").write_text("#!/bin/sh\n")
    fetched = [Fetched("x", "s3://b/k", 1, 1, 0.0, f"{CODE}/inner", str(tmp_path / "kept"))]
    mounted = entrypoint.View(view.environment, view.ml, fetched)
    assert "run.sh is not executable" in refused(mounted, f"{CODE}/inner/run.sh")
    os.chmod(tmp_path / "kept/run.sh", 0o755)
    assert entrypoint.check((f"{CODE}/inner/run.sh",), PATH, mounted) == ""


def test_many_names_are_not_all_told(view):
    for number in range(20):
        (view.ml / f"processing/input/code/{number:02}").touch()
    assert "07 and 13 more" in refused(view, f"{CODE}/run.sh")


def test_a_name_that_no_file_can_have_is_not_there(view):
    assert "is not found on its PATH" in refused(view, "p" * 300)
    assert " is not there" in refused(view, f"{CODE}/" + "p" * 300)
    assert "names the interpreter" in refused(view, put(view, b"#!/usr/" + b"p" * 100 + b"\n"))


def test_what_is_no_file_is_never_opened(view):
    os.mkfifo(view.ml / "processing/input/code/pipe", 0o755)  # to open it would wait for a writer
    assert "pipe is no plain file" in refused(view, f"{CODE}/pipe")


def test_a_way_up_is_left_to_the_walls(view, tmp_path):
    (tmp_path / "kept").mkdir()
    fetched = [Fetched("x", "s3://b/k", 1, 1, 0.0, f"{CODE}/inner", str(tmp_path / "kept"))]
    mounted = entrypoint.View(view.environment, view.ml, fetched)
    assert entrypoint.check((f"{CODE}/inner/../run.sh",), PATH, mounted) == ""
