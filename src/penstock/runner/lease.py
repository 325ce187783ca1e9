"""A runner's lease: for how long it may go on without word from a server.

Servers on other machines can't see whether a runner lives. So where servers share a database it asks one of them, over
and over, how long it may go on; half of that without an answer, and it ends its program and uploads what there is; all
of it, and it ends itself, its program within its walls with it. Only later do servers take it for lost. The time is
counted by a clock that nobody sets and that goes on while the machine sleeps, and judged by a thread that waits for no
server.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from penstock import clock
from penstock.errors import InternalFailure
from penstock.runner.line import Line, Refused
from penstock.runner.stop import Stop
from penstock.runner.unsent import drop_unsent

#: How often a server is asked while a lease lasts, and the most seconds between. The time is judged as often.
_BEATS, _LONGEST_BEAT = 20, 2.0
#: At which part of a lease without an answer the program is ended.
_PATIENCE = 0.5
#: How many servers that hang may be asked, one after the other, before that; and the most seconds for each.
_TRIES, _LONGEST_TRY = 4, 8.0
#: How a runner ends whose lease is over.
EXIT_CODE = 75


def end_at_once(code: int) -> None:
    """End this process, and what it was sending."""
    drop_unsent()
    os._exit(code)


class Lease:
    """One run's lease, from `hold` to `close`."""

    def __init__(
        self,
        line: Line,
        stop: Stop,
        patience: float,
        elapsed: Callable[[], float] = clock.elapsed,
        end: Callable[[int], object] = end_at_once,
    ) -> None:
        """`patience` is for how many seconds the first answer is waited for; `end` ends this process at once."""
        self._line = line
        self._stop = stop
        self._patience = patience
        self._elapsed = elapsed
        self._end = end
        self._heard: tuple[float, float] | None = None
        """When that was asked which was answered last, and for how many seconds from then on the run may go on."""
        self._eased = False
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(what,), name=name, daemon=True)
            for name, what in (("lease", self.beat), ("lease's end", self.judge))
        ]

    def hold(self) -> None:
        """Return when a server has said that the run may begin, or that it must end."""
        pause, began = 0.05, self._elapsed()
        while self._heard is None and not self._stop.due():
            self.beat()
            if self._heard is None and not self._stop.due():
                if self._elapsed() - began > self._patience:
                    self._end(EXIT_CODE)  # nothing has been done: whoever sees it may begin anew
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_BEAT)
        self.judge()
        for thread in self._threads:
            thread.start()

    def give_up(self) -> None:
        """The run has ended for its servers: another attempt may have begun, of which nothing may be overwritten."""
        if not self._eased:
            self._end(EXIT_CODE)
        self._stop.ask()

    def ease(self) -> None:
        """The run's work is over, nothing is left that must end in time; what happened is still to be told."""
        self._eased = True

    def close(self) -> None:
        """All has been told."""
        self._closed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._line.close()

    def beat(self) -> None:
        """Ask once."""
        asked = self._elapsed()
        timeout = _LONGEST_TRY if self._heard is None else self._heard[1] * _PATIENCE / _TRIES
        try:
            self.hear(asked, self._line.post("lease", b"", min(timeout, _LONGEST_TRY)))
        except Refused:
            self.give_up()
        except Exception:  # noqa: BLE001, S110 - whatever it is, it is no answer; it is asked again
            pass

    def hear(self, asked: float, reply: Mapping[str, Any]) -> None:
        """Take the answer to what was asked then.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        length, stop = float(reply["milliseconds"]) / 1000, bool(reply["stop"])
        self._heard = asked, length
        if stop:
            self._stop.ask()

    @property
    def granted(self) -> bool:
        """Whether a server has said that the run may begin."""
        return self._heard is not None

    def judge(self) -> None:
        """See what time it is."""
        if self._heard is None or self._eased:
            return
        asked, length = self._heard
        silent = self._elapsed() - asked
        if silent >= length:
            self._end(EXIT_CODE)
        elif silent >= length * _PATIENCE:
            self._stop.lose(
                InternalFailure(
                    f"No server has answered the runner for {silent:.0f} s: it may go on without one for "
                    f"{length:.0f} s (four fifths of PENSTOCK_RUNNER_LEASE), so it ended its program and uploaded its "
                    "outputs."
                ),
                length - silent,
            )

    def _repeat(self, what: Callable[[], None]) -> None:
        while not self._closed.wait(min((self._heard[1] if self._heard else 1.0) / _BEATS, _LONGEST_BEAT)):
            what()
