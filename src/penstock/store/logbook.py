r"""Log events of hosts, kept as runners send them: in files, or where servers share a database, in that.

A line of a log is ``<milliseconds> <message>\n``; times never go back within a log. A place in a log is a
byte position, which makes a token that is stable for ever; a time is found by halving the log. Nothing is held
in memory, and a log is never decoded until it is read. `penstock.testing.logbooks` holds both kinds to the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, select

from penstock.store.dialect import Dialect
from penstock.store.tables import log_pieces

#: CloudWatch's own bounds of one GetLogEvents reply: 10,000 events or 1 MiB.
PAGE_EVENTS = 10_000
PAGE_BYTES = 1 << 20


@dataclass(frozen=True)
class LogEvent:
    """One line of a log. `start` and `end` are its byte positions."""

    at: int
    message: str
    start: int
    end: int


class Logbook(ABC):
    """The logs of all jobs. Subclasses say where the bytes lie."""

    block: int
    """How many bytes are read at a time, at first."""

    @abstractmethod
    def append(self, job_uid: str, host: str, offset: int, data: bytes) -> int:
        """Take the bytes of a log from position `offset` on, and return how many are now held.

        Bytes held already are passed over, so that a report may come twice. A gap is not taken: the reply then
        tells the runner where to go on.
        """

    @abstractmethod
    def sync(self, job_uid: str, host: str) -> None:
        """Bring a log to disk for good: no line of it may be missing after a loss of power once its end is told."""

    @abstractmethod
    def size(self, job_uid: str, host: str) -> int:
        """How many bytes are held."""

    @abstractmethod
    def delete(self, job_uid: str) -> None:
        """Remove a job's logs."""

    @abstractmethod
    def uids(self) -> Iterator[str]:
        """The uids of all jobs that have logs here."""

    @abstractmethod
    def bytes_of(self, job_uid: str) -> int:
        """How many bytes a job's logs have."""

    @abstractmethod
    def total(self) -> int:
        """How many bytes all logs have."""

    @abstractmethod
    def read(self, job_uid: str, host: str, position: int, size: int) -> bytes:
        """Bytes from a position on, fewer than `size` only at the end of what is held."""

    def forward(self, job_uid: str, host: str, start: int) -> Iterator[LogEvent]:
        """Events from byte position `start` (the beginning of a line) on."""
        # A place that is not the beginning of a line (nobody was told it) is moved to the next one.
        position, size = self._line_start(job_uid, host, start), self.block
        while True:
            # Read block by block and closed in between: whoever merges a thousand logs holds none of them open.
            block = self.read(job_uid, host, position, size)
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

    def _line_start(self, job_uid: str, host: str, position: int) -> int:
        """The first beginning of a line at or after `position`."""
        if position == 0:
            return 0
        position -= 1
        while block := self.read(job_uid, host, position, self.block):
            line, ended, _ = block.partition(b"\n")
            position += len(line) + len(ended)
            if ended:
                return position
        return position


class FileLogbook(Logbook):
    """A file for each host, below one folder."""

    block = 1 << 13

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, job_uid: str, host: str, offset: int, data: bytes) -> int:
        """One write, or none."""
        path = self._path(job_uid, host)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            fcntl.flock(
                file, fcntl.LOCK_EX
            )  # a report that is sent again may come while the first is written
            held = file.seek(0, os.SEEK_END)
            if offset <= held < offset + len(data):
                file.write(data[held - offset :])
                held = offset + len(data)
        return held

    def size(self, job_uid: str, host: str) -> int:
        """How many bytes are held."""
        try:
            return self._path(job_uid, host).stat().st_size
        except FileNotFoundError:
            return 0

    def read(self, job_uid: str, host: str, position: int, size: int) -> bytes:
        """The file is closed in between: whoever merges a thousand logs holds none of them open."""
        try:
            with self._path(job_uid, host).open("rb", buffering=0) as file:
                file.seek(position)
                return file.read(size)
        except FileNotFoundError:
            return b""

    def sync(self, job_uid: str, host: str) -> None:
        """Have the kernel write what it holds."""
        with contextlib.suppress(FileNotFoundError), self._path(job_uid, host).open("rb") as file:
            os.fdatasync(file.fileno())

    def delete(self, job_uid: str) -> None:
        """Remove the job's folder."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / job_uid)

    def uids(self) -> Iterator[str]:
        """The names of the folders."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as found:
            for entry in found:
                yield entry.name

    def bytes_of(self, job_uid: str) -> int:
        """The sizes of its files."""
        with suppress(FileNotFoundError), os.scandir(self._folder / job_uid) as found:
            return sum(entry.stat().st_size for entry in found)
        return 0

    def total(self) -> int:
        """One job after the other."""
        return sum(map(self.bytes_of, self.uids()))

    def _path(self, job_uid: str, host: str) -> Path:
        if os.sep in job_uid or os.sep in host or job_uid.startswith(".") or host.startswith("."):
            raise ValueError(f"not the name of a log: {job_uid}/{host}")
        return self._folder / job_uid / host


class DatabaseLogbook(Logbook):
    """Rows of what came at a time, for all servers that share a database."""

    block = 1 << 16

    def __init__(self, dialect: Dialect) -> None:
        self._engine = dialect.engine
        self._reader = dialect.reader
        self._put = dialect.insert(log_pieces).on_conflict_do_nothing()

    def append(self, job_uid: str, host: str, offset: int, data: bytes) -> int:
        """One row, or none: of two that come at once with the same bytes, the key lets one in."""
        held = self.size(job_uid, host)
        if not offset <= held < offset + len(data):
            return held
        new = data[held - offset :]
        with self._engine.begin() as c:
            row = {"job_uid": job_uid, "host": host, "start": held, "data": new}
            if c.execute(self._put, row).rowcount == 1:
                return held + len(new)
        return self.size(job_uid, host)

    def size(self, job_uid: str, host: str) -> int:
        """The end of the last row."""
        end = log_pieces.c.start + func.length(log_pieces.c.data)
        last = select(end).where(_of(job_uid, host)).order_by(log_pieces.c.start.desc()).limit(1)
        with self._reader.connect() as c:
            return int(c.execute(last).scalar() or 0)

    def read(self, job_uid: str, host: str, position: int, size: int) -> bytes:
        """Of the rows that hold any of it, what is asked for."""
        before = and_(_of(job_uid, host), log_pieces.c.start <= position)
        first = select(func.max(log_pieces.c.start)).where(before).scalar_subquery()
        pieces = (
            select(log_pieces.c.start, log_pieces.c.data)
            .where(_of(job_uid, host), log_pieces.c.start >= first, log_pieces.c.start < position + size)
            .order_by(log_pieces.c.start)
        )
        with self._reader.connect() as c:
            rows = list(c.execute(pieces))
        if not rows:
            return b""
        begun = position - rows[0].start
        return b"".join(row.data for row in rows)[begun : begun + size]

    def sync(self, job_uid: str, host: str) -> None:
        """Each row was, when it was written."""

    def delete(self, job_uid: str) -> None:
        """Remove the job's rows."""
        with self._engine.begin() as c:
            c.execute(delete(log_pieces).where(log_pieces.c.job_uid == job_uid))

    def uids(self) -> Iterator[str]:
        """One after the other along the key: rows may be many, jobs are few."""
        last = ""
        following = select(func.min(log_pieces.c.job_uid)).where(log_pieces.c.job_uid > bindparam("last"))
        while True:
            with self._reader.connect() as c:
                uid = c.execute(following, {"last": last}).scalar()
            if uid is None:
                return
            yield uid
            last = uid

    def bytes_of(self, job_uid: str) -> int:
        """Counted, row by row."""
        held = select(func.sum(func.length(log_pieces.c.data))).where(log_pieces.c.job_uid == job_uid)
        with self._reader.connect() as c:
            return int(c.execute(held).scalar() or 0)

    def total(self) -> int:
        """Counted, row by row."""
        with self._reader.connect() as c:
            return int(c.execute(select(func.sum(func.length(log_pieces.c.data)))).scalar() or 0)


def _of(job_uid: str, host: str) -> ColumnElement[bool]:
    return and_(log_pieces.c.job_uid == job_uid, log_pieces.c.host == host)


def _event(line: bytes, start: int, end: int) -> LogEvent:
    at, _, message = line.partition(b" ")
    return LogEvent(int(at), message.decode("utf-8", "replace"), start, end)
