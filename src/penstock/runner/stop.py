"""What ends a run before its program does. Asked by several threads."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time

from penstock.errors import JobFailure


class Stop:
    """Why a run must end before its program does: a stop was asked for, or its time is over."""

    def __init__(self) -> None:
        self._asked = False
        # No event: a signal may come to a thread that is just setting one, and would wait for it for ever.
        self._stirred: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._resting = False
        self.deadline = math.inf
        """By the monotonic clock; set when the run's time begins to count."""
        self.failure: JobFailure | None = None
        """What the job fails for, when it must end though nobody has asked for it."""
        self._lost_at: float | None = None

    def ask(self) -> None:
        """Somebody wants the run to stop, or its server knows it no more. May be called by a signal, at any moment."""
        self._asked = True
        self._stirred.put(None)

    def lose(self, failure: JobFailure, left: float) -> None:
        """The run must end because it may not go on without its servers.

        Args:
            failure: What its job fails for.
            left: Seconds until it must have ended.
        """
        if self.failure is None and not self._asked:
            self.failure = failure
            self._lost_at = time.monotonic() + left
            self.ask()

    def rest(self) -> None:
        """The program has ended: nobody is to `wait` any longer."""
        self._resting = True
        self._stirred.put(None)

    def grace(self, usual: float) -> float:
        """How many seconds a program has between SIGTERM and its end: half of what is left, the rest is for outputs."""
        if self._lost_at is None:
            return usual
        return min(usual, max(0.0, self._lost_at - time.monotonic()) / 2)

    @property
    def asked(self) -> bool:
        """Whether it was asked for, rather than the time being over."""
        return self._asked

    def due(self) -> bool:
        """Whether the run must end now."""
        return self._asked or time.monotonic() >= self.deadline

    def wait(self) -> bool:
        """Return when the run must end, or when its program has ended by itself: False. For one thread."""
        while not self.due():
            if self._resting:
                return False
            with contextlib.suppress(queue.Empty):
                self._stirred.get(
                    timeout=max(0.0, min(self.deadline - time.monotonic(), threading.TIMEOUT_MAX))
                )
        return True
