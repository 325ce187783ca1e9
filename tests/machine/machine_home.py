"""Where the servers of these tests keep environments, and how such a server is ended."""

import contextlib
import os
import signal
import time
from pathlib import Path

from penstock.home import Home

ROOT = Path(__file__).parents[2]

#: Built once and kept between runs: a PyTorch environment takes a minute.
ENVIRONMENTS = Path(os.environ.get("PENSTOCK_ENVIRONMENTS") or ROOT / ".cache" / "environments")


def stop_server(home):
    """End the server of a home, if one runs, and wait for it."""
    running = Home(home).server()
    if running is not None:
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while Home(home).held():
        assert time.monotonic() < deadline, "the server does not end"
        time.sleep(0.02)


def descendants(pid):
    """The process ids of all children, and of theirs; those that are just ending are left out."""
    found, queue = [], [pid]
    while queue:
        parent = queue.pop()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = [int(c) for c in Path(f"/proc/{parent}/task/{task}/children").read_text().split()]
                found += children
                queue += children
    return found
