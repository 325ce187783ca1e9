"""The program's output as log events on disk: one line, one event, with the time at which it came."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from penstock import disk

#: CloudWatch's limit of one event; a longer line becomes several events.
LONGEST = 256 * 1024
#: Whenever a log has grown by so much, the disk must have this left: the server keeps a copy of the log, and a log
#: that takes the last of the disk could never be handed over, nor the end of its job.
_LOOK_EACH, _RESERVE = 1 << 20, 8 << 20


class LogWriter:
    r"""Writes ``<milliseconds> <message>\n`` lines; times never go back. Bytes stay as the program wrote them."""

    def __init__(self, path: Path, clock: Callable[[], int], changed: Callable[[], None]) -> None:
        self._file = path.open("a+b", buffering=0)
        self._path = path
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._last = 0
        self._rest = b""
        self.size = _end_line(self._file)
        self.failure: OSError | None = None
        """Why lines are missing: the disk is full, say."""

    def note(self, text: str) -> None:
        """A line of Penstock's own."""
        self._write([f"[penstock] {line}".encode("utf-8", "replace") for line in text.splitlines() or [""]])

    def follow(self, source: int, look: Callable[[Sequence[bytes]], None] = lambda _: None) -> None:
        """Take all bytes from the descriptor `source` until its end, and show the lines to `look` as they are kept."""
        while chunk := os.read(source, 1 << 16):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            while len(self._rest) >= LONGEST:
                lines.append(self._rest[:LONGEST])
                self._rest = self._rest[LONGEST:]
            if lines:
                self._write(lines)
                look(lines)
        if self._rest:
            self._write([self._rest])
            look([self._rest])
            self._rest = b""

    def close(self) -> None:
        """Nothing follows."""
        self._file.close()

    def _write(self, lines: list[bytes]) -> None:
        with self._lock:
            self._last = max(self._last, self._clock())
            stamp = b"%d " % self._last
            pieces = [line[i : i + LONGEST] for line in lines for i in range(0, len(line) or 1, LONGEST)]
            data = b"".join(stamp + piece.removesuffix(b"\r") + b"\n" for piece in pieces)
            self._keep(data)
        self._changed()

    def _keep(self, data: bytes) -> None:
        """Write what can be written; what can't is remembered. The program is never held up by it."""
        if self.failure is not None:
            return
        begun = self.size
        try:
            if begun // _LOOK_EACH != (begun + len(data)) // _LOOK_EACH:
                _check_reserve(self._path)
            while data:
                written = self._file.write(data)
                self.size += written
                data = data[written:]
        except OSError as error:
            self.failure = error
            with contextlib.suppress(OSError):  # half a line is no event
                self._file.truncate(begun)
                self.size = begun


def _check_reserve(path: Path) -> None:
    if disk.free(path) < _RESERVE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _end_line(file: BinaryIO) -> int:
    """The size of a log, whose last line is ended if a runner that died did not."""
    size = file.seek(0, os.SEEK_END)
    if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
        size += file.write(b"\n")
    return size
