"""The part of the conformance suite for runtimes that is about limits: processors, memory, processes, /dev/shm."""

# The tests' names say what they hold; the program's own folders are meant.
# ruff: noqa: D102, S108

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import pytest

from penstock.errors import InternalFailure
from penstock.runtimes.base import Limits, Runtime
from penstock.testing.runners import runner_of
from penstock.testing.runtimes import PATIENCE
from penstock.testing.scripts import script

_MEMORY = 96 << 20
_GREEDY = Limits(memory=_MEMORY, shared_memory=1 << 30)

#: Ends with 3 whatever becomes of the greedy child.
_CHILD = """
    import os, sys
    child = os.fork()
    if not child:
        bytearray(1 << 30)
        os._exit(0)
    os.waitpid(child, 0)
    sys.exit(3)
"""

_BOMB = """
    import os, time
    while True:
        try:
            if not os.fork():
                time.sleep(600)
        except BlockingIOError:
            print("refused", flush=True)
            time.sleep(1)
            break
"""


_WHERE = """
    print(open("/proc/self/cgroup").read(), end="")
"""


class LimitsSuite:
    """What a program can't use more of than it is given. Subclasses give a fixture `runtime`."""

    folders_in_memory: ClassVar[tuple[str, ...]] = ("/dev/shm", "/run")
    """Those that the runtime keeps in memory; a container's other ones lie in its image's layer on the disk."""

    def test_it_runs_on_its_processors_alone(self, runtime: Runtime) -> None:
        for cpu in os.sched_getaffinity(0):
            source = "import os; print(os.sched_getaffinity(0))"
            said, exceeded = _end(runtime, source, Limits(cpus=(cpu,)))
            assert (said, exceeded) == ((0, b"{%d}\n" % cpu), set())
            # Those that are started by others are limited, too.
            said, _ = _end(runtime, "import os; os.system('nproc')", Limits(cpus=(cpu,)))
            assert said == (0, b"1\n"), said

    def test_a_program_within_its_memory_is_left_alone(self, runtime: Runtime) -> None:
        said, exceeded = _end(runtime, "import time; x = bytearray(48 << 20); time.sleep(0.5)", _GREEDY)
        assert (said, exceeded) == ((0, b""), set())

    def test_a_program_that_uses_too_much_memory_is_ended(self, runtime: Runtime) -> None:
        said, exceeded = _end(runtime, "x = bytearray(1 << 30); print('has it')", _GREEDY)
        assert (said, exceeded) == ((137, b""), {"memory"})

    def test_a_program_whose_limits_can_not_be_set_never_runs(self, runtime: Runtime) -> None:
        with tempfile.TemporaryFile() as output:
            program = script("print('runs', flush=True)", limits=Limits(cpus=(1 << 20,)))
            with pytest.raises(InternalFailure, match=r"can't be (set|started)"):
                runtime.start(program, output.fileno())
            # Nothing tells of a program that doesn't start: one that did would by then.
            said, _ = _end(runtime, "pass", Limits())
            assert said == (0, b"")
            output.seek(0)
            assert output.read() == b""

    def test_the_memory_of_all_its_processes_counts(self, runtime: Runtime) -> None:
        source = """
            import os, time
            for _ in range(7):
                if not os.fork():
                    break
            x = bytearray(24 << 20)
            time.sleep(600)
        """
        with tempfile.TemporaryFile() as output:
            running = runtime.start(script(source, limits=_GREEDY), output.fileno())
            # Whichever is killed, the program or one of the others, which are waited for by nobody.
            until = time.monotonic() + PATIENCE
            while not running.exceeded() and time.monotonic() < until:
                running.wait(0.01)
            running.kill()
            running.wait(PATIENCE)
        assert running.exceeded() == {"memory"}

    def test_memory_that_processes_share_counts_once(self, runtime: Runtime) -> None:
        source = """
            import os, time
            x = bytearray(40 << 20)
            children = []
            for _ in range(3):
                children.append(os.fork())
                if not children[-1]:
                    time.sleep(0.5)
                    os._exit(0)
            print([os.waitpid(child, 0)[1] for child in children])
        """
        said, exceeded = _end(runtime, source, _GREEDY)
        assert (said, exceeded) == ((0, b"[0, 0, 0]\n"), set())

    def test_a_child_that_is_killed_for_its_memory_is_known(self, runtime: Runtime) -> None:
        said, exceeded = _end(runtime, _CHILD, _GREEDY)
        assert said[0] in {3, 137}
        assert exceeded == {"memory"}

    @pytest.mark.parametrize("folder", ["/dev/shm", "/run"])
    def test_files_in_memory_count(self, runtime: Runtime, folder: str) -> None:
        if folder not in self.folders_in_memory:
            pytest.skip(f"{folder} lies on the disk")
        source = f"""
            file = open({folder + "/x"!r}, "wb", buffering=0)
            while True:
                file.write(bytes(1 << 20))
        """
        said, exceeded = _end(runtime, source, _GREEDY)
        assert (said, exceeded) == ((137, b""), {"memory"})

    def test_shared_memory_has_the_size_given(self, runtime: Runtime) -> None:
        source = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
        said, _ = _end(runtime, source, Limits(shared_memory=5 << 20))
        assert said == (0, b"%d\n" % (5 << 20))

    def test_shared_memory_that_is_full_says_so(self, runtime: Runtime) -> None:
        source = """
            import errno
            try:
                open("/dev/shm/x", "wb").write(bytes(6 << 20))
            except OSError as error:
                print(errno.errorcode[error.errno])
        """
        said, exceeded = _end(runtime, source, Limits(shared_memory=5 << 20, memory=_MEMORY))
        assert (said, exceeded) == ((0, b"ENOSPC\n"), set())

    def test_a_fork_bomb_is_refused_or_ended(self, runtime: Runtime) -> None:
        said, exceeded = _end(runtime, _BOMB, Limits(processes=32))
        assert said in {(0, b"refused\n"), (137, b""), (137, b"refused\n")}
        assert exceeded == {"processes"}

    def test_as_many_processes_as_are_allowed_may_be(self, runtime: Runtime) -> None:
        source = """
            import os
            reading, writing = os.pipe()
            children = []
            for _ in range(20):
                children.append(os.fork())
                if not children[-1]:
                    os.close(writing)
                    os.read(reading, 1)
                    os._exit(0)
            os.close(writing)
            print(sum(os.waitpid(child, 0)[1] for child in children))
        """
        said, exceeded = _end(runtime, source, Limits(processes=32))
        assert (said, exceeded) == ((0, b"0\n"), set())

    def test_two_at_once_have_a_limit_each(self, runtime: Runtime) -> None:
        with tempfile.TemporaryFile() as output:
            modest = runtime.start(script("import time; time.sleep(600)", limits=_GREEDY), output.fileno())
            try:
                assert _end(runtime, "x = bytearray(1 << 30)", _GREEDY)[1] == {"memory"}
                assert modest.wait(0) is None
                assert modest.exceeded() == set()
            finally:
                modest.kill()
                assert modest.wait(PATIENCE) == 137
        assert modest.exceeded() == set()

    def test_no_group_is_left(self, runtime: Runtime) -> None:
        limits = Limits(cpus=(min(os.sched_getaffinity(0)),), memory=_MEMORY, processes=32)
        said, _ = _end(runtime, _WHERE, limits)
        assert said[0] == 0
        assert _groups(said[1]) == []

    def test_nothing_is_left_of_a_runner_that_was_killed(self, runtime: Runtime) -> None:
        limits = Limits(memory=_MEMORY, processes=32)
        source = _WHERE + "    print(flush=True)\n    import time; time.sleep(600)"
        with runner_of(runtime, script(source, limits=limits)) as (runner, output):
            where = b"".join(iter(output.readline, b"\n"))
            assert b"memory" in where
            runner.kill()
            assert output.read() == b""  # to the end, which comes when nobody is left who could write
        _end(runtime, _WHERE, limits)
        assert _groups(where) == []


class SandboxLimitsSuite(LimitsSuite):
    """Also what only who looks at processes by himself can get wrong."""

    def test_a_program_whose_first_thread_has_ended_is_limited_all_the_same(self, runtime: Runtime) -> None:
        source = """
            import _thread, ctypes, os, time

            def eat():
                while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
                    time.sleep(0.01)
                time.sleep(0.3)  # for a watch to look at it as it is then
                x = bytearray(1 << 30)
                print("has it", flush=True)
                os._exit(0)

            _thread.start_new_thread(eat, ())
            ctypes.CDLL(None).pthread_exit(None)
        """
        said, exceeded = _end(runtime, source, _GREEDY)
        assert (said, exceeded) == ((137, b""), {"memory"})


def _groups(told: bytes) -> list[Path]:
    """The control groups of a program that there still are, of those that its /proc/self/cgroup told."""
    from penstock.runtimes.groups import nests  # noqa: PLC0415 - not every runtime makes them

    names = {line.rpartition("/")[2] for line in told.decode().splitlines()} - {""}
    return [folder for nest in nests() for folder in nest.folder.glob("*/") if folder.name in names]


def _end(runtime: Runtime, source: str, limits: Limits) -> tuple[tuple[int | None, bytes], set[str]]:
    """Run Python source within limits to its end: how it ended, and what it ran into."""
    with tempfile.TemporaryFile() as output:
        running = runtime.start(script(source, limits=limits), output.fileno())
        code = running.wait(PATIENCE)
        running.kill()
        running.wait(PATIENCE)
        output.seek(0)
        return (code, output.read()), set(running.exceeded())
