import os
from pathlib import Path

import pytest

from penstock.errors import ClientFailure
from penstock.runtimes.base import Program
from penstock.testing.fake_runtime import FakeRuntime
from penstock.testing.runtimes import LifeSuite

_PROGRAM = Program(argv=("x",), environment={}, mounts=())


class TestFakeRuntime(LifeSuite):
    @pytest.fixture
    def runtime(self):
        return FakeRuntime()

    def play(self, runtime, act, output):
        fake = FakeRuntime(output=act.prints, exit_code=act.exit_code, on_terminate=act.on_terminate)
        return fake.start(_PROGRAM, output)


def test_it_remembers_what_was_asked_of_it():
    runtime = FakeRuntime(exit_code=None, on_terminate=None)
    with Path(os.devnull).open("wb") as nowhere:
        running = runtime.start(_PROGRAM, nowhere.fileno())
        running.terminate()
        running.kill()
    assert runtime.programs == [_PROGRAM]
    assert runtime.running == [running]
    assert running.signals == ["terminate", "kill"]


def test_a_failure_is_raised_instead_of_a_start():
    runtime = FakeRuntime(failure=ClientFailure("no"))
    with pytest.raises(ClientFailure, match="no"):
        runtime.start(_PROGRAM, 1)
    assert runtime.programs == []
