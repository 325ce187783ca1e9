r"""Log events, one file per host, kept as the runner sends them.

A line of the file is ``<milliseconds> <message>\n``; times never go back within a file. A place in a log is a
byte position, which makes a token that is stable for ever; a time is found by halving the file. Nothing is held
in memory, and a log is never decoded until it is read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

#: CloudWatch's own bounds of one GetLogEvents reply: 10,000 events or 1 MiB.
PAGE_EVENTS = 10_000
PAGE_BYTES = 1 << 20

_BLOCK = 1 << 13


@dataclass(frozen=True)
class LogEvent:
    """One line of a log. `start` and `end` are its byte positions."""

    at: int
    message: str
    start: int
    end: int


class Logbook:
    """The logs of all jobs below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, job_uid: str, host: str, offset: int, data: bytes) -> int:
        """Take the bytes of a log from position `offset` on, and return how many are now held.

        Bytes held already are passed over, so that a report may come twice. A gap is not taken: the reply then
        tells the runner where to go on.
        """
        path = self._path(job_uid, host)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            held = file.tell()
            if offset <= held < offset + len(data):
                file.write(data[held - offset :])
                held = offset + len(data)
        return held

    def sync(self, job_uid: str, host: str) -> None:
        """Bring a log to disk for good: no line of it may be missing after a loss of power once its end is told."""
        with contextlib.suppress(FileNotFoundError), self._path(job_uid, host).open("rb") as file:
            os.fdatasync(file.fileno())

    def size(self, job_uid: str, host: str) -> int:
        """How many bytes are held."""
        try:
            return self._path(job_uid, host).stat().st_size
        except FileNotFoundError:
            return 0

    def forward(self, job_uid: str, host: str, start: int) -> Iterator[LogEvent]:
        """Events from byte position `start` (the beginning of a line) on."""
        # A place that is not the beginning of a line (nobody was told it) is moved to the next one.
        position, size = self._line_start(job_uid, host, start), _BLOCK
        while True:
            # Read block by block and closed in between: whoever merges a thousand logs holds none of them open.
            block = self._read(job_uid, host, position, size)
            *lines, _ = block.split(b"\n")
            if not lines:
                if len(block) < size:
                    return
                size *= 4
            for line in lines:
                end = position + len(line) + 1
                yield _event(line, position, end)
                position = end

    def before(self, job_uid: str, host: str, end: int, limit: int) -> list[LogEvent]:
        """The last `limit` events that end at or before byte position `end`, oldest first; of them one page at most.

        Page by page through a long log, each byte is read a few times and not as often as there are pages.
        """
        start, window = end, 1 << 16
        events: list[LogEvent] = []
        while start > 0 and len(events) < limit and not (events and end - start > PAGE_BYTES):
            start = self._line_start(job_uid, host, max(0, end - window))
            events = list(takewhile(lambda e: e.end <= end, self.forward(job_uid, host, start)))
            window *= 4
        return [e for e in events[-limit:] if end - e.start <= PAGE_BYTES] or events[-1:]

    def position_of_time(self, job_uid: str, host: str, at: int) -> int:
        """The byte position of the first event at or after time `at` (the end when there is none)."""
        low, high = 0, self.size(job_uid, host)
        while low < high:
            middle = (low + high) // 2
            start = self._line_start(job_uid, host, middle)
            found = next(self.forward(job_uid, host, start), None)
            if found is None or found.start >= high:
                high = middle
            elif found.at < at:
                low = found.end
            elif start <= low:
                return start
            else:
                high = middle
        return low

    def delete(self, job_uid: str) -> None:
        """Remove a job's logs."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / job_uid)

    def uids(self) -> Iterator[str]:
        """The uids of all jobs that have logs here."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for entry in found:
                yield entry.name

    def bytes_of(self, job_uid: str) -> int:
        """How many bytes a job's logs have."""
        with suppress(FileNotFoundError), os.scandir(self._folder / job_uid) as found:
            return sum(entry.stat().st_size for entry in found)
        return 0

    def total(self) -> int:
        """How many bytes all logs have."""
        return sum(map(self.bytes_of, self.uids()))

    def _line_start(self, job_uid: str, host: str, position: int) -> int:
        """The first beginning of a line at or after `position`."""
        if position == 0:
            return 0
        position -= 1
        while block := self._read(job_uid, host, position, _BLOCK):
            line, ended, _ = block.partition(b"\n")
            position += len(line) + len(ended)
            if ended:
                return position
        return position

    def _read(self, job_uid: str, host: str, position: int, size: int) -> bytes:
        try:
            with self._path(job_uid, host).open("rb", buffering=0) as file:
                file.seek(position)
                return file.read(size)
        except FileNotFoundError:
            return b""

    def _path(self, job_uid: str, host: str) -> Path:
        if os.sep in job_uid or os.sep in host or job_uid.startswith(".") or host.startswith("."):
            raise ValueError(f"not the name of a log: {job_uid}/{host}")
        return self._folder / job_uid / host


def _event(line: bytes, start: int, end: int) -> LogEvent:
    at, _, message = line.partition(b" ")
    return LogEvent(int(at), message.decode("utf-8", "replace"), start, end)
