"""Whether a run has left traces in its runner's process, which then does no other one.

A runner may do one run after the other, since to make a process and to take it down costs more than most else of a
short run. Whatever a run may leave behind is looked for here: threads, also those of libraries, processes, open files,
variables, memory. What may stay is what talks to the object store, whose threads rest between requests and whose
connections serve the next run as well; the connection to the server (`line.py`); threads of our own that have no work
(`helpers.py`); and what the kernel has checked once for all programs (`runtimes/guard.py`). `main.main` says whether
anything out of the ordinary has happened.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from penstock.runner import helpers
from penstock.runtimes.tree import LAUNCHERS
from penstock.small import read_small

#: After so many runs a process ends, and when it has grown by so many pages: what leaks slowly never becomes much.
_MOST_RUNS, _MOST_PAGES = 100, (64 << 20) // resource.getpagesize()
#: What the threads of obstore are called, and how many sockets and the like may stay open.
_OF_THE_STORE, _MOST_SOCKETS = b"tokio-", 64
#: How many milliseconds a thread that has ended may take to be gone.
_VANISHING = 20


class Traces:
    """Compares this process with what it was when this was made."""

    def __init__(self, *locks: int) -> None:
        """`locks` are open files that will be closed."""
        self._runs = 0
        self._files = _files() - set(locks)
        self._before = _state()
        self._pages = _pages()

    def left(self) -> bool:
        """Whether there are any, now that one more run is over."""
        self._runs += 1
        return (
            self._runs >= _MOST_RUNS
            or _threads()
            or _children()
            or _files() != self._files
            or _state() != self._before
            or _pages() - self._pages > _MOST_PAGES
        )


def _state() -> tuple[object, ...]:
    groups = read_small("/proc/self/cgroup")
    limits = tuple(map(resource.getrlimit, (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)))
    return groups, limits, dict(os.environ), os.getcwd(), os.sched_getaffinity(0)  # noqa: PTH109


def _threads() -> bool:
    """Whether there are others than the first, those that start programs, those that rest, and the store's."""
    known = [one for one in threading.enumerate() if one.name.startswith(LAUNCHERS)]
    for _ in range(_VANISHING):
        others = [name for name in _names() if not name.startswith(_OF_THE_STORE)]
        if len(others) == 1 + len(known) + helpers.resting():
            return False
        time.sleep(0.001)
    return True


def _names() -> Iterator[bytes]:
    for number in os.listdir("/proc/self/task"):  # noqa: PTH208 - for speed, as below
        with suppress(OSError):
            yield read_small(f"/proc/self/task/{number}/comm")


def _children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _files() -> set[int]:
    """All that is open, but for a few sockets, and for what has no name and is of no use to a program."""
    found, others = set(), 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - for speed, as above
        with suppress(OSError):  # by which the folder was read
            kind = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            others += (nameless := kind.startswith(("socket:", "anon_inode:")))
            if not nameless or others > _MOST_SOCKETS:
                found.add(int(name))
    return found


def _pages() -> int:
    return int(read_small("/proc/self/statm").split()[1])
