"""Attempts on processes: the machine's, another job's, the runner's, and process 1 of the program's own walls."""

# The tests' names say what is tried.
# ruff: noqa: D102, S108

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.runtimes import landlock
from penstock.runtimes.base import Runtime
from penstock.testing.attempts_kernel import number_of
from penstock.testing.runtimes import PATIENCE
from penstock.testing.scripts import python, script, sh

_SECRET = "PENSTOCK_TEST_SECRET"  # noqa: S105 - the name of a variable

#: What is tried on process 1 -> Python source that gives a false value when it fails as it should.
ON_PROCESS_1 = {
    "seizes it to trace it": "libc.ptrace(0x4206, 1, None, None) == 0",
    "stops it by tracing": "libc.ptrace(16, 1, None, None) == 0",
    "writes to its memory": "os.open('/proc/1/mem', os.O_RDWR)",
    "writes to its memory by a call": "written() > 0",
    "reads its memory by a call": "libc.process_vm_readv(1, *vectors, 0) > 0",
    "reads its map": "open('/proc/1/maps', 'rb').read()",
    "reads its environment": "open('/proc/1/environ', 'rb').read()",
    "goes through its root folder": "os.listdir('/proc/1/root')",
    "goes through its working directory": "os.listdir('/proc/1/cwd')",
    "overwrites its executable": "os.open('/proc/1/exe', os.O_RDONLY)",
    "takes one of its descriptors": "os.listdir('/proc/1/fd')",
    "takes one of its descriptors by a call": "libc.syscall(438, libc.syscall(434, 1, 0), 0, 0) >= 0",
    "gets a handle on it": "os.pidfd_open(1)",
    "limits its processor time": "libc.prlimit(1, 0, bytes(16), None) == 0",
}

_ON_PROCESS_1 = """
    import ctypes, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    target = ctypes.create_string_buffer(8)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(target), 8)
    vectors = (vector, 1, vector, 1, 0)[:4]
    def written():
        return libc.process_vm_writev(1, vector, 1, vector, 1, 0)
    try:
        got = eval(sys.argv[1])
    except OSError as error:
        got = None
    sys.exit(f"got {got!r}" if got else 0)
"""


class ProcessAttempts:
    """A program turns to other processes. Subclasses give a fixture `runtime`."""

    @pytest.mark.parametrize("what", ["environ", "mem", "maps", "root", "cwd", "fd", "exe", "cmdline"])
    def test_reads_a_process_of_the_machine(self, runtime: Runtime, what: str) -> None:
        with _victim() as victim:
            assert Path(f"/proc/{victim.pid}/{what}").exists()
            source = f"import os; print(os.path.lexists('/proc/{victim.pid}/{what}'))"
            assert python(runtime, source) == (0, b"False\n")

    def test_searches_all_processes_for_a_secret(self, runtime: Runtime) -> None:
        source = """
            import glob, sys
            for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/task/*/environ"):
                try:
                    found = open(path, "rb").read()
                except OSError:
                    continue
                if sys.argv[1].encode() in found:
                    sys.exit(path)
        """
        with _victim():
            assert python(runtime, source, _SECRET) == (0, b"")

    def test_searches_the_jobs_beside_it_for_a_secret(self, runtime: Runtime) -> None:
        source = "import os, signal; os.write(1, b'ready'); signal.pause()"
        with self.playing(runtime, source, environment={_SECRET: "1"}) as output:
            assert os.read(output, 5) == b"ready"
            assert sh(runtime, f"! grep -l {_SECRET} /proc/[0-9]*/environ 2>/dev/null") == (0, b"")

    @pytest.mark.parametrize("call", ["ptrace", "process_vm_readv", "pidfd_open", "prlimit64"])
    def test_reaches_a_process_of_the_machine_by_a_call(self, runtime: Runtime, call: str) -> None:
        """For this number there is no process within the walls (ESRCH)."""
        arguments = {
            "ptrace": "0x4206, PID, None, None",
            "process_vm_readv": "PID, vector, 1, vector, 1, 0",
            "pidfd_open": "PID, 0",
            "prlimit64": "PID, 7, None, bytes(16)",
        }[call]
        source = """
            import ctypes, errno
            libc = ctypes.CDLL(None, use_errno=True)
            target = ctypes.create_string_buffer(8)
            vector = (ctypes.c_size_t * 2)(ctypes.addressof(target), 8)
            result = libc.syscall(NUMBER, ARGUMENTS)
            print(errno.errorcode[ctypes.get_errno()] if result < 0 else "got through")
        """.replace("NUMBER", str(number_of(call)))
        with _victim() as victim:
            said = python(runtime, source.replace("ARGUMENTS", arguments.replace("PID", str(victim.pid))))
            assert said == (0, b"ESRCH\n")

    def test_kills_whatever_it_can(self, runtime: Runtime) -> None:
        with _victim() as victim:
            source = f"""
                import os, signal
                for number in range(1, 65):
                    try:
                        os.kill({victim.pid}, number)
                        print("sent")
                    except OSError:
                        pass
                try:
                    os.kill(-1, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                os._exit(5)
            """
            assert python(runtime, source) == (5, b"")
            assert victim.poll() is None

    @pytest.mark.parametrize("tried", ON_PROCESS_1)
    def test_on_process_1_of_its_walls(self, runtime: Runtime, tried: str) -> None:
        number_of("ptrace")
        assert python(runtime, _ON_PROCESS_1, ON_PROCESS_1[tried]) == (0, b"")

    def test_sends_process_1_every_signal(self, runtime: Runtime) -> None:
        """A stopped process 1 would keep the job from ending, a killed one would end it as another's fault."""
        source = """
            import os, signal
            for number in range(1, 65):
                try:
                    os.kill(1, number)
                except OSError:
                    pass
            os._exit(6)
        """
        assert python(runtime, source) == (6, b"")

    def test_hangs_its_job_by_tracing_process_1(self, runtime: Runtime) -> None:
        number_of("ptrace")
        source = """
            import ctypes, os, time
            libc = ctypes.CDLL(None)
            if not os.fork():
                libc.ptrace(0x4206, 1, None, None)  # SEIZE
                libc.ptrace(0x4207, 1, None, None)  # INTERRUPT
                os.write(1, b"tried")
                time.sleep(1000)
            os.read(os.open("/proc/self/fd/1", os.O_RDONLY), 5)
            os._exit(7)
        """
        with self.playing(runtime, source) as output:
            assert os.read(output, 5) == b"tried"
            os.write(self._writing, b"goes on")
            assert self._running.wait(PATIENCE) == 7

    def test_traces_its_own_child_as_a_debugger_does(self, runtime: Runtime) -> None:
        """The one attempt that is to succeed: it reaches nothing but itself."""
        source = """
            import ctypes, os, signal
            libc = ctypes.CDLL(None)
            child = os.fork()
            if not child:
                libc.ptrace(0, 0, None, None)  # TRACEME
                os.kill(os.getpid(), signal.SIGSTOP)
                os._exit(3)
            stopped = os.WIFSTOPPED(os.waitpid(child, 0)[1])
            libc.ptrace(17, child, None, None)  # DETACH
            print(stopped, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
        assert python(runtime, source) == (0, b"True 3\n")

    def test_outlives_its_job_as_a_daemon(self, runtime: Runtime) -> None:
        marker = os.urandom(8).hex()
        source = """
            import os, signal, time
            reading, writing = os.pipe()
            if not os.fork():
                os.setsid()
                if os.fork():
                    os._exit(0)
                for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
                    signal.signal(number, signal.SIG_IGN)
                os.write(writing, b"x")
                os.closerange(0, 99)
                time.sleep(1000)
            os.read(reading, 1)
            os._exit(0)
        """
        assert python(runtime, source, marker) == (0, b"")
        arguments = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
        assert not any(marker.encode() in one for one in arguments)

    def test_uses_a_descriptor_of_its_runner(self, runtime: Runtime) -> None:
        """Also those that are open while the walls are built: of the plan, of the gate, of the sealed copy."""
        source = """
            import os
            print([n for n in map(int, os.listdir("/proc/self/fd")) if n > 2 and os.path.exists(f"/proc/self/fd/{n}")])
        """
        inherited = os.dup(0)
        try:
            os.set_inheritable(inherited, True)
            assert python(runtime, source) == (0, b"[]\n")
        finally:
            os.close(inherited)

    def test_reads_a_crash_in_the_machines_core_file(self, runtime: Runtime) -> None:
        """No file and no collector of the machine gets the memory of a program that crashes."""
        source = """
            import os, resource
            child = os.fork()
            if not child:
                os.abort()
            print(os.WCOREDUMP(os.waitpid(child, 0)[1]), resource.getrlimit(resource.RLIMIT_CORE)[1] <= 1)
        """
        assert python(runtime, source, working_directory="/tmp") == (0, b"False True\n")

    def test_reads_shared_memory_of_the_machine(self, runtime: Runtime) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        key = int.from_bytes(os.urandom(3), "little") + 1
        mine = libc.shmget(key, 4096, 0o1600)  # IPC_CREAT
        assert mine >= 0
        try:
            source = f"import ctypes; print(ctypes.CDLL(None).shmget({key}, 0, 0))"
            assert python(runtime, source) == (0, b"-1\n")
        finally:
            libc.shmctl(mine, 0, None)

    def test_talks_to_an_abstract_socket_of_the_machine(self, runtime: Runtime) -> None:
        if not landlock.has_scopes():
            pytest.skip("a kernel before Linux 6.12, or without Landlock")
        name = f"penstock-test-{os.urandom(4).hex()}"
        source = """
            import errno, socket, sys
            with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_UNIX) as end:
                own.bind("\\0penstock-own-" + sys.argv[1])
                own.listen()
                end.connect("\\0penstock-own-" + sys.argv[1])
            try:
                socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[1])
            except OSError as error:
                print(errno.errorcode[error.errno])
        """
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"\0{name}")
            server.listen()
            assert python(runtime, source, name, network=True) == (0, b"EPERM\n")
            assert python(runtime, source, name, network=False) == (0, b"ECONNREFUSED\n")

    # ----------------------------------------------------------------------------------------------------------------

    @contextmanager
    def playing(self, runtime: Runtime, source: str, **program: Any) -> Iterator[int]:
        """A program that runs, and the reading end of its output. Nothing of it is left afterwards."""
        reading, self._writing = os.pipe()
        self._running = runtime.start(script(source, **program), self._writing)
        try:
            yield reading
        finally:
            self._running.kill()
            self._running.wait(PATIENCE)
            os.close(self._writing)
            os.close(reading)


@contextmanager
def _victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the machine's, of the same user, that has a secret in its environment."""
    command = [
        sys.executable,
        "-c",
        "import sys; sys.stdout.buffer.write(b'r'); sys.stdout.flush(); sys.stdin.read()",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, _SECRET: "1"}
    ) as victim:
        assert victim.stdout is not None
        victim.stdout.read(1)
        yield victim
        victim.kill()
