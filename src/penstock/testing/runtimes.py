"""The conformance suite for runtimes: what every one must do, for its author to run.

Subclass `WallsSuite` (in `penstock.testing.walls`) for a runtime that builds walls, `LifeSuite` for one that only acts
as if, such as a fake, and pytest finds the tests:

    class TestMine(WallsSuite):
        @pytest.fixture
        def runtime(self) -> Runtime:
            return Mine()
"""

# The tests' names say what they hold.
# ruff: noqa: D102

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from penstock.runtimes.base import Running, Runtime

#: Seconds after which something that should have happened hasn't. Long: the machine may be busy.
PATIENCE = 30.0


@dataclass(frozen=True)
class Act:
    """What the program of a test does: print, then end, or wait to be told to."""

    prints: bytes = b"ready"
    exit_code: int | None = None
    """None: it goes on until it is told to end."""
    on_terminate: int | None = 143
    """The exit code that SIGTERM leads to; 143 is what no handler leads to; None: it ignores it."""


class LifeSuite(ABC):
    """The life of a program: its output, its end, and what may be done to it."""

    @abstractmethod
    def play(self, runtime: Runtime, act: Act, output: int) -> Running:
        """Start a program that does `act`, by `runtime` or another one like it."""

    @pytest.mark.parametrize("code", [0, 1, 3, 255])
    def test_wait_returns_the_programs_own_exit_code(self, runtime: Runtime, code: int) -> None:
        with self.playing(runtime, Act(exit_code=code)) as (running, _):
            assert running.wait(PATIENCE) == code

    def test_wait_may_be_called_again(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act(exit_code=3)) as (running, _):
            assert [running.wait(PATIENCE), running.wait(0), running.wait()] == [3, 3, 3]

    def test_wait_returns_none_while_the_program_runs(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act()) as (running, output):
            assert _ready(output)
            assert running.wait(0) is None
            assert running.wait(0.05) is None

    @pytest.mark.parametrize("prints", [b"", b"no newline", bytes(range(256)) + b"\r\n\n"])
    def test_output_arrives_byte_for_byte_and_then_ends(self, runtime: Runtime, prints: bytes) -> None:
        with self.playing(runtime, Act(prints=prints, exit_code=0)) as (running, output):
            assert _read_to_the_end(output) == prints
            assert running.wait(PATIENCE) == 0

    def test_terminate_ends_a_program_without_a_handler(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act()) as (running, output):
            assert _ready(output)
            running.terminate()
            assert running.wait(PATIENCE) == 143

    def test_terminate_right_after_the_start_is_not_lost(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act()) as (running, _):
            running.terminate()
            assert running.wait(PATIENCE) == 143

    def test_a_program_may_answer_terminate_in_its_own_way(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act(on_terminate=7)) as (running, output):
            assert _ready(output)
            running.terminate()
            assert running.wait(PATIENCE) == 7

    def test_kill_ends_a_program_that_ignores_terminate(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act(on_terminate=None)) as (running, output):
            assert _ready(output)
            running.terminate()
            assert running.wait(0.1) is None
            running.kill()
            assert running.wait(PATIENCE) == 137

    def test_terminate_and_kill_after_the_end_do_nothing(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act(exit_code=5)) as (running, _):
            assert running.wait(PATIENCE) == 5
            running.terminate()
            running.kill()
            assert running.wait(0) == 5

    def test_kill_right_after_the_start(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act()) as (running, _):
            running.kill()
            assert running.wait(PATIENCE) == 137

    def test_one_thread_waits_while_another_terminates(self, runtime: Runtime) -> None:
        codes: list[int | None] = []
        with self.playing(runtime, Act()) as (running, output):
            waiting = threading.Thread(target=lambda: codes.append(running.wait(PATIENCE)))
            waiting.start()
            assert _ready(output)
            running.terminate()
            waiting.join(PATIENCE)
        assert codes == [143]

    def test_a_program_outlives_the_thread_that_started_it(self, runtime: Runtime) -> None:
        started: list[Running] = []
        reading, writing = os.pipe()
        thread = threading.Thread(target=lambda: started.append(self.play(runtime, Act(), writing)))
        thread.start()
        thread.join(PATIENCE)
        os.close(writing)
        try:
            assert _ready(reading)
            assert started[0].wait(0.2) is None
            started[0].kill()
            assert started[0].wait(PATIENCE) == 137
        finally:
            os.close(reading)

    def test_two_at_once_end_each_on_its_own(self, runtime: Runtime) -> None:
        with self.playing(runtime, Act()) as (one, _), self.playing(runtime, Act(exit_code=4)) as (other, _):
            assert other.wait(PATIENCE) == 4
            assert one.wait(0) is None

    @contextmanager
    def playing(self, runtime: Runtime, act: Act) -> Iterator[tuple[Running, int]]:
        """A program that does `act`, and the reading end of its output. Nothing of it is left afterwards."""
        reading, writing = os.pipe()
        running = self.play(runtime, act, writing)
        os.close(writing)
        try:
            yield running, reading
        finally:
            running.kill()
            running.wait(PATIENCE)
            os.close(reading)


def _ready(output: int) -> bool:
    return os.read(output, len(Act.prints)) == Act.prints


def _read_to_the_end(output: int) -> bytes:
    with os.fdopen(output, "rb", closefd=False) as file:
        return file.read()
