"""Programs for the conformance suite of runtimes, in Python and shell, run to their end."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from penstock.runtimes.base import Program, Runtime
from penstock.testing.runtimes import PATIENCE

#: An interpreter that lies in the read-only system and so is there behind all walls.
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or "/usr/bin/python3"
PATH = "/usr/local/bin:/usr/bin:/bin"


class Outcome(NamedTuple):
    """How a program ended, and all it said."""

    code: int | None
    output: bytes


def script(source: str, *words: str, environment: Mapping[str, str] | None = None, **program: Any) -> Program:
    """A program that is Python source."""
    return _program((PYTHON, "-I", "-c", textwrap.dedent(source), *words), environment, **program)


def python(runtime: Runtime, source: str, *words: str, **program: Any) -> Outcome:
    """Run Python source to its end."""
    return _to_the_end(runtime, script(source, *words, **program))


def sh(runtime: Runtime, source: str, **program: Any) -> Outcome:
    """Run shell source to its end."""
    return run(runtime, "/bin/sh", "-c", source, **program)


def run(
    runtime: Runtime, *argv: str, environment: Mapping[str, str] | None = None, **program: Any
) -> Outcome:
    """Run a program to its end."""
    return _to_the_end(runtime, _program(argv, environment, **program))


def _program(argv: tuple[str, ...], environment: Mapping[str, str] | None, **rest: Any) -> Program:
    given = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"} if environment is None else environment
    return Program(argv=argv, environment=given, **{"mounts": (), **rest})


def _to_the_end(runtime: Runtime, program: Program) -> Outcome:
    with tempfile.TemporaryFile() as output:
        running = runtime.start(program, output.fileno())
        code = running.wait(PATIENCE)
        running.kill()
        output.seek(0)
        return Outcome(code, output.read())
