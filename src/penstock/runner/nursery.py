"""``python -m penstock.runner.nursery FD``: a process that has loaded all that runners need, and forks them.

Loading takes longer than a small job. Over the Unix socket `FD` comes one message a run: the path of its folder, and
with it the open file that is the run's lock. A runner whose run has left no traces (`traces.py`) says so, and is given
the next one instead of a new runner. The nursery ends when the other end of the socket is closed, that is with its
server, and the runners that have no run with it; the others go on.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from penstock.runner.main import main
from penstock.runner.rehearsal import rehearse
from penstock.runner.traces import Traces

_LONGEST_PATH = 4096
#: So many runners may wait for a run, for as long as there was one in so many milliseconds.
_MOST_IDLE, _LONGEST_IDLE = 16, 60_000
#: Whoever is forked beside so many has one run: a process may have few files open.
_MOST_LINES = 256
_READY = b"ready"


def nurse(requests: socket.socket) -> None:
    """Find a runner for each request until there will be no more."""
    rehearse()
    # The kernel reaps the runners; nobody asks for their exit codes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # what is loaded stays shared with the runners
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    lines: dict[int, socket.socket] = {}  # to the runners that live
    idle: list[int] = []  # those that wait for a run

    def let_go(line: int) -> None:
        """Of a runner that has ended, or that is to end since the other end of its line is closed."""
        poll.unregister(line)
        lines.pop(line).close()
        if line in idle:
            idle.remove(line)

    while True:
        ready = [descriptor for descriptor, _ in poll.poll(_LONGEST_IDLE if idle else None)]
        for line in ready or tuple(idle):
            if line in lines:
                if ready and len(idle) < _MOST_IDLE and _said(lines[line]) == _READY:
                    idle.append(line)
                else:
                    let_go(line)
        if requests.fileno() not in ready:
            continue
        message, locks = _received(requests)
        if not message:
            return
        while idle and not _handed_on(lines[idle[-1]], message, locks):
            let_go(idle[-1])
        if idle:
            idle.pop()
        else:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            if os.fork() == 0:
                for one in (requests, ours, *lines.values()):
                    one.close()
                _become_runner(Path(os.fsdecode(message)), locks, theirs)
            theirs.close()
            if len(lines) < _MOST_LINES:
                lines[ours.fileno()] = ours
                poll.register(ours, select.POLLIN)
            else:
                ours.close()
        _close(locks)


def _said(line: socket.socket) -> bytes:
    with suppress(OSError):
        return line.recv(len(_READY))
    return b""


def _handed_on(line: socket.socket, message: bytes, locks: list[int]) -> bool:
    """Whether a runner that waits has got its next run. Should it die before it has read it, its lock is free."""
    try:
        socket.send_fds(line, [message], locks)
    except OSError:
        return False
    return True


def _received(line: socket.socket) -> tuple[bytes, list[int]]:
    # Not for what a runner starts.
    message, locks, _, _ = socket.recv_fds(line, _LONGEST_PATH, 1, socket.MSG_CMSG_CLOEXEC)
    # Where no more files may be open the kernel drops the lock: that run is found dead, and is not to be done unseen.
    return (message, locks) if locks else (b"", [])


def _close(locks: list[int]) -> None:
    for lock in locks:
        os.close(lock)


def _become_runner(folder: Path, locks: list[int], line: socket.socket) -> None:
    """In the child: a session of its own, then run after run, each with its lock and its error output."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        traces = Traces(*locks)
        message = os.fsencode(folder)
        while message:
            folder = Path(os.fsdecode(message))
            _write_errors_to(folder / "runner.err")
            plain = main(folder)
            _write_errors_to(Path(os.devnull))
            _close(locks)  # from here on the runner of that run is dead
            if not plain or traces.left():
                break
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)  # nothing is to be stopped but this process
            message, locks = _next(line)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _next(line: socket.socket) -> tuple[bytes, list[int]]:
    """Say that this runner is ready, and wait for what it is to do; nothing when it is of no more use."""
    try:
        line.send(_READY)
        return _received(line)
    except OSError:  # the nursery has ended meanwhile
        return b"", []


def _write_errors_to(path: Path) -> None:
    sys.stderr.flush()
    errors = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for descriptor in (1, 2):
        os.dup2(errors, descriptor)
    os.close(errors)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        nurse(connection)
