"""A runner's lease: for how long it may go on without word from a server.

Servers on other machines can't see whether a runner lives. So where servers share a database it asks one of them, over
and over, how long it may go on; half of that without an answer, and it ends its program and uploads what there is; all
of it, and it ends itself, its program within its walls with it. Only later do servers take it for lost. The time is
counted by a clock that nobody sets and that goes on while the machine sleeps.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable

from penstock import clock
from penstock.errors import InternalFailure
from penstock.runner.line import Line, Refused
from penstock.runner.stop import Stop

#: How often a server is asked while a lease lasts, and the most seconds between.
_BEATS, _LONGEST_BEAT = 20, 2.0
#: At which part of a lease without an answer the program is ended.
_PATIENCE = 0.5
#: How a runner ends whose lease is over.
EXIT_CODE = 75


class Lease:
    """One run's lease, from `hold` to `close`."""

    def __init__(
        self,
        line: Line,
        stop: Stop,
        elapsed: Callable[[], float] = clock.elapsed,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        """`end` ends this process at once."""
        self._line = line
        self._stop = stop
        self._elapsed = elapsed
        self._end = end
        self._heard_at = 0.0
        self._length: float | None = None
        self._eased = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)

    def hold(self) -> None:
        """Return when a server has said that the run may begin, or that it must end."""
        pause = 0.05
        while self._length is None and not self._stop.due():
            self.beat()
            if self._length is None and not self._stop.due():
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_BEAT)
        self._thread.start()

    def ease(self) -> None:
        """The run's work is over, nothing is left that must end in time; what happened is still to be told."""
        self._eased = True

    def close(self) -> None:
        """All has been told."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._line.close()

    def beat(self) -> None:
        """Ask once, and see what time it is."""
        asked = self._elapsed()
        try:
            reply = self._line.post("lease", b"")
        except Refused:
            self._stop.ask()
        except (OSError, http.client.HTTPException):
            pass
        else:
            self._heard_at, self._length = asked, reply["milliseconds"] / 1000
            if reply["stop"]:
                self._stop.ask()
        self._judge()

    def _judge(self) -> None:
        if self._length is None or self._eased:
            return
        silent = self._elapsed() - self._heard_at
        if silent >= self._length:
            self._end(EXIT_CODE)
        elif silent >= self._length * _PATIENCE:
            self._stop.lose(
                InternalFailure(
                    f"No server has answered the runner for {silent:.0f} s: it may go on without one for "
                    f"{self._length:.0f} s (PENSTOCK_RUNNER_LEASE), so it ended its program and uploaded its outputs."
                ),
                self._length - silent,
            )

    def _loop(self) -> None:
        while not self._closed.wait(min((self._length or 1.0) / _BEATS, _LONGEST_BEAT)):
            self.beat()
