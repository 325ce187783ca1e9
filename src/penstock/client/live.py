"""In a notebook: a card of the job in the cell's output, which is drawn anew as long as the job is waited for."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from penstock.client import record
from penstock.client.connection import Connection
from penstock.client.job_log import JobLog, Line
from penstock.client.screen import EVERY
from penstock.clock import now
from penstock.errors import PenstockError

#: A log that grows and grows has the card drawn no more often than this, in seconds.
QUICKEST = 0.25

#: How many log lines are shown while they come, and are kept in the card at the end.
SHOWN, KEPT = 10, 100


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook, so that an output can be drawn anew."""
    # Whoever runs in a kernel has loaded IPython; it is never loaded by us.
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def card(connection: Connection, job: str, log: JobLog | None = None) -> Card | None:
    """The card of `job`, with the last lines of its log if one is read; None where there is no place for it."""
    return Card(connection, job, log) if connection.is_local and in_kernel() else None


class Card:
    """A `Screen` that is one output of a cell."""

    def __init__(self, connection: Connection, job: str, log: JobLog | None) -> None:
        self._connection, self._job = connection, job
        self._several = log is not None and log.instances > 1
        self._lines: deque[str] | None = None if log is None else deque(maxlen=KEPT)
        self._id: str | None = None
        self._drawn_at = 0.0
        self._is_new = True

    def show(self, news: Sequence[Line]) -> None:
        """Take the lines in, those of several instances with their names."""
        if self._lines is not None and news:
            self._lines.extend(f"{line.host} | {line.text}" if self._several else line.text for line in news)
            self._is_new = True
            self._draw_if_due()

    def idle(self, status: str, *, begun: bool = True) -> None:
        """Draw the time that passes, too."""
        del status, begun
        self._draw_if_due()

    def end(self, status: str) -> None:
        """Draw it as it stays."""
        del status
        self._draw(shown=KEPT, ended=True)

    def _draw_if_due(self) -> None:
        since = time.monotonic() - self._drawn_at
        if self._id is None or since >= (QUICKEST if self._is_new else EVERY):
            self._draw(shown=SHOWN, ended=False)

    def _draw(self, *, shown: int, ended: bool) -> None:
        from IPython.display import display, update_display  # noqa: PLC0415 - there is one, see `in_kernel`

        from penstock.client import card as cards  # noqa: PLC0415 - keeps the import light
        from penstock.client import view  # noqa: PLC0415 - keeps the import light

        try:
            told = record.fetch(self._connection.address, self._job)
        except PenstockError:
            return  # the server is away for a moment; the wait itself deals with that
        lines = None if self._lines is None else list(self._lines)[-shown:]
        seen = view.of_record(told, now(), lines)
        data: dict[str, Any] = {"text/plain": str(seen), "text/html": cards.job(seen, shows_log=not ended)}
        self._drawn_at, self._is_new = time.monotonic(), False
        if self._id is None:
            self._id = f"penstock-{self._job}-{now()}"
            display(data, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
        else:
            update_display(data, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
