"""A program's process tree: started behind walls, signalled, and seen to its end.

Both runtimes have the same three processes above the program, so one class looks after both:

    monitor   a child of this process; dies with it, and ends with the program's exit code
    └── first   process 1 of the program's namespace: reaps; when it ends, the kernel ends all others in it
        └── program   process 2, so that a signal without a handler ends it as anywhere else

A runtime's `compose` turns `Channels` into the monitor's command line. The monitor writes ``{"child-pid": n}`` of
`first` to `info`; `first` builds the walls, then reads one byte from `block` and goes on. (These are the options
--info-fd and --block-fd of bubblewrap; the unshare runtime's setup keeps to the same protocol.) Before that byte the
program's limits are set, so they hold from its first instruction.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import resource
import select
import signal
import subprocess
import termios
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path

from penstock.errors import InternalFailure
from penstock.runtimes import guard, landlock
from penstock.runtimes.base import Closed, Program, Resource
from penstock.runtimes.guard import Guarded
from penstock.runtimes.limits import Keeper
from penstock.small import read_small, write_all

#: The kernel ties "die with the parent" to the thread that forked, not to its process. So all are started from
#: this one thread, which lives as long as the process does, and `start` may be called from any thread.
#: Their names begin so.
LAUNCHERS = ("penstock-launcher", "penstock-scoped-launcher")
_LAUNCHER = ThreadPoolExecutor(max_workers=1, thread_name_prefix=LAUNCHERS[0])

#: Likewise, for programs that are kept from the machine's abstract sockets. The thread starts with the first of them.
_SCOPED_LAUNCHER = ThreadPoolExecutor(
    max_workers=1, thread_name_prefix=LAUNCHERS[1], initializer=landlock.scope_this_thread
)

#: `keyctl` by machine; all later architectures share one table.
_KEYCTL = {"x86_64": 250}.get(platform.machine(), 219)
_JOIN_SESSION_KEYRING = 1

#: The main program's number within its own namespace.
_PROGRAM = b"2"

_LIBC = ctypes.CDLL(None)

_ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_LONGEST_COMPLAINT = 700


class Channels:
    """The descriptors between this process and a monitor."""

    def __init__(self, kept: ExitStack, handed: ExitStack) -> None:
        """Open them. `kept` closes our ends, `handed` the monitor's."""
        self.passed: list[int] = []
        """All of the monitor's ends."""
        handed.callback(self._let_go)
        self.told, self.info = os.pipe()
        self.block, self.gate = os.pipe()
        for end in (self.told, self.gate):
            kept.callback(os.close, end)
        self.passed += (self.info, self.block)

    def data(self, content: bytes) -> int:
        """A descriptor from which the monitor reads `content`, so that it stands in no argv and in no file."""
        descriptor = os.memfd_create("penstock")
        self.passed.append(descriptor)
        write_all(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def opened(self, path: str) -> int:
        """A descriptor from which the monitor reads the file at `path`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.passed.append(descriptor)
        return descriptor

    def sealed(self, executable: str) -> int:
        """A descriptor, which the monitor gets too, of a copy of `executable` which nobody can write to.

        A program can reach the file of process 1 as /proc/1/exe, past all mounts, and where it is the machine's
        root it could write to it: the next job's walls would be its own.
        """
        descriptor = os.memfd_create("penstock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.passed.append(descriptor)
        write_all(descriptor, read_small(executable))
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _ALL_SEALS)
        return descriptor

    def _let_go(self) -> None:
        for descriptor in self.passed:
            os.close(descriptor)


Compose = Callable[[Channels], Sequence[str]]


class Tree:
    """A started program with everything that it starts in turn. Its methods may be called from any thread."""

    def __init__(
        self, monitor: subprocess.Popen[bytes], first: int, keeper: Keeper, guarded: Guarded
    ) -> None:
        """Take over `monitor`, process 1, whose number is `first`, and what keeps its limits and its network."""
        self.notes = [*keeper.notes, *([guarded.note] if guarded.note else [])]
        self._guarded = guarded
        self._monitor = monitor
        self._keeper = keeper
        self._monitor_handle = _handle(self, monitor.pid)
        self._first = first
        self._first_handle = _handle(self, first)

    def wait(self, timeout: float | None = None) -> int | None:
        """See `Running.wait`."""
        if not _ended(self._monitor_handle, timeout):
            return None
        code = self._monitor.wait()
        self.kill()  # bubblewrap's monitor ends with the program and leaves the rest to the kernel
        _ended(self._first_handle, None)
        self._guarded.close()
        self._keeper.close()
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """See `Running.terminate`."""
        while not _ended(self._first_handle, 0):
            program = self._program()
            if program is not None:
                with suppress(ProcessLookupError):
                    os.kill(program, signal.SIGTERM)
                return
            _ended(self._first_handle, 0.002)  # not forked yet, or ended just now

    def kill(self) -> None:
        """See `Running.kill`."""
        if not _ended(self._first_handle, 0):
            # All others end with process 1, so it must not wait for a fork bomb to let it run. Only root can do this.
            with suppress(OSError):
                policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
                os.sched_setscheduler(self._first, policy, os.sched_param(1))
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first_handle, signal.SIGKILL)

    def exceeded(self) -> frozenset[Resource]:
        """See `Running.exceeded`."""
        return self._keeper.exceeded()

    def watch(self) -> None:
        """Look after the limits from now on."""
        self._keeper.watch(self._program, self._first_handle, self.kill)

    def _program(self) -> int | None:
        """The main program's number as seen from here; None while there is none.

        It can't be reused under our hands: process 1 alone reaps it, and then ends.
        """
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                # Bytes: a process may call itself anything, and its name stands in here.
                lines = [line.partition(b":") for line in path.read_bytes().split(b"\n")]
            except OSError:
                continue  # ended meanwhile
            fields = {name: value for name, _, value in lines}
            if int(fields[b"PPid"]) == self._first and fields[b"NSpid"].split()[-1] == _PROGRAM:
                return int(path.parent.name)
        return None


def start(compose: Compose, output: int, program: Program, means: str, *, scoped: bool = True) -> Tree:
    """Build the walls and start the program in them.

    Args:
        compose: Makes the monitor's command line, once or, when it fails, twice.
        output: Descriptor for the program's stdout and stderr.
        program: What `compose` starts; its `limits` and what is `closed` to it are seen to here.
        means: By what the limits are kept.
        scoped: Whether to keep the program from the machine's abstract sockets, where the kernel can.

    Raises:
        InternalFailure: The walls can't be built; the text holds what the monitor said. Or the limits can't be set.
    """
    launcher = _SCOPED_LAUNCHER if scoped and landlock.has_scopes() else _LAUNCHER
    keeper = Keeper(program.limits, means)
    try:
        tree = _attempt(launcher, compose, output, keeper, program.closed)
    except BaseException:
        keeper.close()
        raise
    if tree is None:
        keeper.close()
        raise InternalFailure(
            f"The walls around the program can't be built: {_complaint(launcher, compose)} "
            "`penstock doctor` says whether this machine is fit, and what to do."
        )
    return tree


def _attempt(
    launcher: Executor, compose: Compose, output: int, keeper: Keeper, closed: Closed
) -> Tree | None:
    """A started program, or None when the walls could not be built."""
    with ExitStack() as kept:
        with ExitStack() as handed:
            channels = Channels(kept, handed)
            monitor = _launch(launcher, compose(channels), output, channels.passed, keeper.around())
        first = _first(channels.told)
        if first is not None:
            # It waits at the gate, so the handle can't be on another process, unless it failed this very moment.
            try:
                keeper.admit(first)  # before the guard, which takes the group that it is in then
                _forbid_core_dumps(first)
                tree = Tree(monitor, first, keeper, guard.admit(first, closed))
                if _opened(channels.gate):
                    tree.watch()
                    return tree
            except ProcessLookupError:
                pass
            except BaseException as error:
                # Before the gate is closed: bubblewrap takes that for leave to go on. Process 1 itself, too: it may
                # not have asked yet to die with the monitor.
                with suppress(ProcessLookupError):
                    os.kill(first, signal.SIGKILL)
                _end(monitor)
                if isinstance(error, OSError):
                    raise InternalFailure(f"The program's limits can't be set: {error}.") from error
                raise
        _end(monitor)
        return None


def _end(monitor: subprocess.Popen[bytes]) -> None:
    monitor.kill()
    monitor.wait()


def _forbid_core_dumps(first: int) -> None:
    """Set a limit that the program inherits from process 1.

    One byte: too little for any core file, and the one limit at which the kernel does not start the machine's own
    collector of crashes either, which would keep the program's memory outside of the walls.
    """
    if resource.prlimit(first, resource.RLIMIT_CORE)[1] not in (0, 1):  # it can't be raised by everybody
        resource.prlimit(first, resource.RLIMIT_CORE, (1, 1))


def _launch(
    launcher: Executor,
    argv: Sequence[str],
    output: int,
    passed: Sequence[int],
    around: AbstractContextManager[None],
) -> subprocess.Popen[bytes]:
    def launch() -> subprocess.Popen[bytes]:
        # A keyring of its own: the one of this login session may hold tickets and keys, and is inherited.
        _LIBC.syscall(_KEYCTL, _JOIN_SESSION_KEYRING, None)
        with around:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=passed,
                env={},  # not the program's: LD_PRELOAD in it would be obeyed outside of the walls
                start_new_session=True,
                umask=0o022,
            )

    return launcher.submit(launch).result()


def _first(told: int) -> int | None:
    """The number of process 1, or None when the monitor ended without having one."""
    text = b""
    while b"}" not in text:
        chunk = os.read(told, 4096)
        if not chunk:
            return None
        text += chunk
    return int(json.loads(text)["child-pid"])


def _opened(gate: int) -> bool:
    """Let process 1 through the gate; whether it came there, and so has built the walls.

    It closes its end after the byte, or by dying. What is left in the pipe tells which.
    """
    try:
        os.write(gate, b"1")
    except BrokenPipeError:
        return False
    poll = select.poll()
    poll.register(gate, 0)
    poll.poll()
    unread = int.from_bytes(fcntl.ioctl(gate, termios.FIONREAD, bytes(4)), "little")
    return unread == 0


def _complaint(launcher: Executor, compose: Compose) -> str:
    """Why the walls can't be built: what a second monitor says, which is never let through the gate.

    The first one's words went to the program's output, as its stderr must.
    """
    with ExitStack() as stack:
        words = os.memfd_create("penstock-complaint")
        stack.callback(os.close, words)
        channels = Channels(stack, stack)
        monitor = _launch(launcher, compose(channels), words, channels.passed, nullcontext())
        try:
            monitor.wait(5)
        except subprocess.TimeoutExpired:
            monitor.kill()
            monitor.wait()
            return "it failed once, but not when tried again."
        text = os.pread(words, _LONGEST_COMPLAINT, 0).decode(errors="replace").strip()
        return f"{text or f'exit code {monitor.returncode} and no word'}."


def _handle(owner: Tree, pid: int) -> int:
    """A handle on process `pid` that lives as long as `owner`, and never means another process."""
    handle = os.pidfd_open(pid)
    weakref.finalize(owner, os.close, handle)
    return handle


def _ended(handle: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
