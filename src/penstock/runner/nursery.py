"""``python -m penstock.runner.nursery FD``: a process that has loaded all that runners need, and forks them.

Loading takes longer than a small job. Over the Unix socket `FD` comes one message a run: the path of its folder, and
with it the open file that is the run's lock. The nursery ends when the other end of the socket is closed, that is
with its server; the runners go on.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

from penstock.runner.main import main
from penstock.runner.rehearsal import rehearse

_LONGEST_PATH = 4096


def nurse(requests: socket.socket) -> None:
    """Fork a runner for each request until there will be no more."""
    rehearse()
    # The kernel reaps the runners; nobody asks for their exit codes.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # what is loaded stays shared with the runners
    while True:
        message, locks, _, _ = socket.recv_fds(requests, _LONGEST_PATH, 1)
        if not message:
            return
        for lock in locks:
            os.set_inheritable(lock, False)  # for the runner alone, not for what it starts
        if os.fork() == 0:
            _become_runner(Path(os.fsdecode(message)), requests)
        for lock in locks:
            os.close(lock)


def _become_runner(folder: Path, requests: socket.socket) -> None:
    """In the child: a session and an error output of its own, then the run. The lock stays open."""
    code = 1
    try:
        requests.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        errors = os.open(folder / "runner.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(errors, descriptor)
        os.close(errors)
        main(folder)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        nurse(connection)
