"""A runner in a process of its own, for what happens to a program when its runner dies."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from penstock.runtimes.base import Program, Runtime

#: Starts the runtime and the program that it reads, in place of a runner.
_RUNNER = textwrap.dedent("""
    import os, pickle, signal, sys
    output = int(sys.argv[1])
    runtime, program = pickle.load(sys.stdin.buffer)
    running = runtime.start(program, output)
    os.close(output)
    signal.pause()
""")


@contextmanager
def runner_of(runtime: Runtime, program: Program) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """A process that starts `program` by `runtime`, and the reading end of the program's output."""
    reading, writing = os.pipe()
    runner = subprocess.Popen(
        [sys.executable, "-c", _RUNNER, str(writing)],
        stdin=subprocess.PIPE,
        pass_fds=[writing],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as output, runner:
        assert runner.stdin is not None
        runner.stdin.write(pickle.dumps((runtime, program)))
        runner.stdin.close()
        yield runner, output
