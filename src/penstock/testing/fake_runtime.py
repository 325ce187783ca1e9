"""A runtime that runs nothing: it acts as it is told, so that a runner can be tested without any walls."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field

from penstock.errors import JobFailure
from penstock.runtimes.base import Program, Resource


@dataclass
class FakeRuntime:
    """Knobs first, what happened last.

    Every program writes `output` and then ends with `exit_code`, or with `exit_code=None` goes on until it is told to
    end. A runtime with a `failure` raises it instead of starting anything.
    """

    output: bytes = b""
    exit_code: int | None = 0
    on_terminate: int | None = 143
    """The exit code that `terminate` leads to: 143 as without a handler; None: it is ignored."""
    exceeded: frozenset[Resource] = frozenset()
    """The limits that it claims to have run into."""
    failure: JobFailure | None = None
    name: str = "fake"
    overlays: bool = True
    programs: list[Program] = field(default_factory=list)
    """What was started, in order."""
    running: list[FakeRunning] = field(default_factory=list)
    """Their counterparts, each with the signals it got."""

    def start(self, program: Program, output: int) -> FakeRunning:
        """See `Runtime.start`. A pipe must have room for `output`, since nobody else writes it."""
        if self.failure is not None:
            raise self.failure
        started = FakeRunning(output, self.output, self.exit_code, self.on_terminate, self.exceeded)
        self.programs.append(program)
        self.running.append(started)
        return started


class FakeRunning:
    """A program that isn't there. Its methods may be called from any thread."""

    def __init__(
        self,
        output: int,
        says: bytes,
        exit_code: int | None,
        on_terminate: int | None,
        exceeded: frozenset[Resource] = frozenset(),
    ) -> None:
        """Write what it `says` to `output`, and end if it has an `exit_code` already."""
        self.signals: list[str] = []
        self.notes: list[str] = []
        self._on_terminate = on_terminate
        self._exceeded = exceeded
        self._code: int | None = None
        self._ended = threading.Event()
        self._output = os.dup(output)
        while says:
            says = says[os.write(self._output, says) :]
        if exit_code is not None:
            self.end(exit_code)

    def wait(self, timeout: float | None = None) -> int | None:
        """See `Running.wait`."""
        self._ended.wait(timeout)
        return self._code

    def terminate(self) -> None:
        """See `Running.terminate`."""
        self.signals.append("terminate")
        if self._on_terminate is not None:
            self.end(self._on_terminate)

    def kill(self) -> None:
        """See `Running.kill`."""
        self.signals.append("kill")
        self.end(137)

    def exceeded(self) -> frozenset[Resource]:
        """See `Running.exceeded`."""
        return self._exceeded

    def end(self, code: int) -> None:
        """Let the program end by itself; without effect once it has ended."""
        if not self._ended.is_set():
            self._code = code
            os.close(self._output)
            self._ended.set()
