"""Threads that help a run, and then rest until the next one: to make a thread takes a tenth of a millisecond."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

#: Where those that rest are given work. Popping and appending are each one step for all threads.
_resting: list[SimpleQueue[Help]] = []


class Help:
    """Work that a thread does beside the caller's."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._ended = threading.Event()

    def join(self) -> None:
        """Return when it has been done."""
        self._ended.wait()

    def do(self) -> None:
        """Do it, on the thread that helps."""
        try:
            self._work()
        except Exception:  # noqa: BLE001 - told as of any thread that ends so
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

    def end(self) -> None:
        """Let go of who waits for it."""
        self._ended.set()


def start(work: Callable[[], None]) -> Help:
    """Have a thread do `work` from now on. The process may end before it is done."""
    wanted = Help(work)
    try:
        _resting.pop().put(wanted)
    except IndexError:
        threading.Thread(target=_help, args=(wanted,), name="helper", daemon=True).start()
    return wanted


def resting() -> int:
    """How many threads have no work."""
    return len(_resting)


def _help(wanted: Help) -> None:
    inbox: SimpleQueue[Help] = SimpleQueue()
    while True:
        wanted.do()
        _resting.append(inbox)
        wanted.end()  # who has waited finds this thread at rest
        wanted = inbox.get()
