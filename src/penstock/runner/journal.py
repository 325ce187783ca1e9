"""The run's events, written down before they count, then reported until somebody has taken them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from penstock import disk
from penstock.job.events import HostEvent
from penstock.job.life import Phase

#: The largest event that is kept: well below what the server takes in one report.
LARGEST = 1 << 20
#: More lines than any run's journal has.
LOST = 1000


class Journal:
    """An append-only file of events, numbered from 1. What an earlier runner of the run wrote is read at first."""

    def __init__(
        self,
        file: BinaryIO,
        clock: Callable[[], int],
        changed: Callable[[], None],
        sync: Callable[[BinaryIO], None] = lambda file: os.fdatasync(file.fileno()),
    ) -> None:
        """`file` is open for reading and appending, unbuffered; `sync` brings it to disk for good."""
        self._events = _read(file)
        self._last = self._events[-1].sequence if self._events else 0
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._unwritten = b""
        self.current: Phase | None = None
        """The phase to which the run has come."""
        self._clock = clock
        self._changed = changed
        self._sync = sync
        self._skipped = False
        self._lock = threading.Lock()

    def phase(self, phase: Phase, **more: Any) -> None:
        """The run has come to `phase`; `more` is for another runner, should this one be killed."""
        self.current = phase
        self._append("phase", {"phase": phase.value, **more})

    def note(self, **what: Any) -> None:
        """Something worth keeping on the job's record."""
        self._append("note", what)

    def ended(
        self,
        outcome: str,
        reason: str | None,
        exit_code: int | None,
        exit_message: str | None,
        *,
        lost: bool = False,
    ) -> None:
        """The run is over; nothing follows."""
        told: dict[str, Any] = {"outcome": outcome, "reason": reason, "exit_code": exit_code}
        self._append("ended", {**told, "exit_message": exit_message, "lost": lost})

    def after(self, sequence: int) -> list[HostEvent]:
        """All events beyond number `sequence`."""
        with self._lock:
            return [event for event in self._events if event.sequence > sequence]

    def skip(self) -> None:
        """Leave out the numbers of lines that are lost: a crash of the machine takes what was not synced.

        The server may have been told of them; what follows must not look like what it knows. It is synced line by
        line, so that a second crash takes nothing of it.
        """
        with self._lock:
            self._last += LOST
            self._skipped = True

    def close(self) -> None:
        """Nothing follows."""
        self._file.close()

    def _append(self, kind: str, data: dict[str, Any]) -> None:
        with self._lock:
            event = HostEvent(self._last + 1, kind, self._clock(), data)
            line = json.dumps(event.to_json()).encode()
            if len(line) > LARGEST:
                # The server would refuse it, for ever; that something is missing is worth keeping.
                event = HostEvent(event.sequence, kind, event.at, {"left_out": sorted(data)})
                line = json.dumps(event.to_json()).encode()
            self._write(line + b"\n")
            if (kind == "ended" or self._skipped) and not self._unwritten:
                self._sync(self._file)
            self._events.append(event)
            self._last = event.sequence
        self._changed()

    def _write(self, line: bytes) -> None:
        """Put an event on disk; on a full one it is written with the next, and until then reported from memory.

        So a job on a full disk has its end told, which frees its disk. Should the runner die meanwhile, its job
        fails as that of any runner that died.
        """
        self._unwritten += line
        rest = self._unwritten
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            self._file.flush()
        except OSError as error:
            # A line is there whole or not at all, lest another is appended to its half.
            self._file.truncate(self._size)
            if not disk.is_full(error):
                raise
            return
        self._size += len(self._unwritten)
        self._unwritten = b""


def _read(file: BinaryIO) -> list[HostEvent]:
    """The events of a runner that died; a last line that it did not finish is cut off."""
    file.seek(0)
    whole, newline, half = file.read().rpartition(b"\n")
    if half:
        file.truncate(len(whole) + len(newline))
        file.seek(0, os.SEEK_END)
    return [HostEvent.from_json(json.loads(line)) for line in whole.splitlines()]
