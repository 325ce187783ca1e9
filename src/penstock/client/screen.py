"""What is printed while a job is waited for: its log, or a sign of life; and a line that tells of transfers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from penstock.client import record
from penstock.client.connection import Connection
from penstock.client.job_log import Line
from penstock.errors import PenstockError
from penstock.progress import Progress

#: How often a person who looks on is told of transfers and the queue, in seconds.
EVERY = 1.0

_STATUS_CHARACTERS = {"Completed": "!", "InProgress": ".", "Failed": "*", "Stopped": "s", "Stopping": "_"}
_COLOURS = (34, 35, 32, 36, 33)


class Screen(Protocol):
    """Where a wait is followed."""

    def show(self, news: Sequence[Line]) -> None:
        """New lines of the log."""

    def idle(self, status: str, *, begun: bool = True) -> None:
        """The job goes on without any; `begun` says whether there is a log at all."""

    def end(self, status: str) -> None:
        """Nothing more will come."""


class StatusScreen:
    """One character for the status every `poll` seconds."""

    def __init__(self, connection: Connection, job: str, poll: float) -> None:
        self._transfer = _TransferLine(connection, job)
        self._poll = poll
        self._shown_at = time.monotonic()

    def show(self, news: Sequence[Line]) -> None:
        """Lines have no place here."""

    def idle(self, status: str, *, begun: bool = True) -> None:
        """Print the character, if it is time."""
        del begun
        self._transfer.update()
        if time.monotonic() - self._shown_at >= self._poll and not self._transfer.is_shown:
            _print_status(status)
            self._shown_at = time.monotonic()

    def end(self, status: str) -> None:
        """Print the last one."""
        self._transfer.clear()
        _print_status(status)


class LogScreen:
    """The lines of the log, those of several instances told apart by colours or names."""

    def __init__(self, connection: Connection, job: str, poll: float, instances: int) -> None:
        self._transfer = _TransferLine(connection, job)
        self._poll = poll
        self._several = instances > 1
        self._dotted_at = time.monotonic()
        self._in_dots = False
        self._colours = looked_on() and not os.environ.get("NO_COLOR")

    def show(self, news: Sequence[Line]) -> None:
        """Print them."""
        for line in news:
            self._clear()
            text = line.text
            if self._colours:
                text = f"\x1b[{_COLOURS[line.stream % len(_COLOURS)]}m{text}\x1b[0m"
            elif self._several:
                text = f"{line.host} | {text}"
            print(text, flush=True)  # noqa: T201 - its purpose

    def idle(self, status: str, *, begun: bool = True) -> None:
        """While there is no log yet a dot, at the pace that users of SageMaker know; and the transfer's line."""
        del status
        now = time.monotonic()
        if not begun and now - self._dotted_at >= self._poll:
            print(".", end="", flush=True)  # noqa: T201 - its purpose
            self._dotted_at, self._in_dots = now, True
        self._transfer.update()

    def end(self, status: str) -> None:
        """Close a row of dots that no line has followed, and take the transfer's line away."""
        del status
        self._clear()

    def _clear(self) -> None:
        self._transfer.clear()
        if self._in_dots:
            print()  # noqa: T201 - its purpose
        self._in_dots = False


class _TransferLine:
    """How far a job's inputs or outputs are, on one line that is written over; none where nobody looks on."""

    def __init__(self, connection: Connection, job: str) -> None:
        self._connection, self._job = connection, job
        self._looked_on = connection.is_local and looked_on()
        self._next = time.monotonic() + EVERY
        self._width = 0

    @property
    def is_shown(self) -> bool:
        """Whether the cursor stands behind the line."""
        return self._width > 0

    def update(self) -> None:
        """Show the present state, if it is time."""
        if not self._looked_on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY
        try:
            told = record.fetch(self._connection.address, self._job)
        except PenstockError:
            return  # the server is away for a moment; the wait itself deals with that
        text = str(Progress.from_json(told["progress"])) if told["progress"] else record.place(told)
        if not text:
            self.clear()
            return
        print(f"\r{text:<{self._width}}", end="", flush=True)  # noqa: T201 - its purpose
        self._width = len(text)

    def clear(self) -> None:
        """Leave the line empty, for what follows."""
        if self._width:
            print("\r" + " " * self._width, end="\r", flush=True)  # noqa: T201 - its purpose
            self._width = 0


def looked_on() -> bool:
    """Whether a person sees what is printed as it comes."""
    return sys.stdout.isatty() or bool(os.environ.get("JPY_PARENT_PID"))


def _print_status(status: str) -> None:
    print(_STATUS_CHARACTERS.get(status, "?"), end="", flush=True)  # noqa: T201 - its purpose
