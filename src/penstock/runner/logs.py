"""The program's output as log events on disk: one line, one event, with the time at which it came."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

#: CloudWatch's limit of one event; a longer line becomes several events.
LONGEST = 256 * 1024


class LogWriter:
    r"""Writes ``<milliseconds> <message>\n`` lines; times never go back. Bytes stay as the program wrote them."""

    def __init__(self, path: Path, clock: Callable[[], int], changed: Callable[[], None]) -> None:
        self._file = path.open("ab", buffering=0)
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._last = 0
        self._rest = b""
        self.size = self._file.tell()

    def note(self, text: str) -> None:
        """A line of Penstock's own."""
        self._write([f"[penstock] {line}".encode() for line in text.splitlines() or [""]])

    def follow(self, source: int) -> None:
        """Take all bytes from the descriptor `source` until its end."""
        while chunk := os.read(source, 1 << 16):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            while len(self._rest) >= LONGEST:
                lines.append(self._rest[:LONGEST])
                self._rest = self._rest[LONGEST:]
            if lines:
                self._write(lines)
        if self._rest:
            self._write([self._rest])
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
            self._file.write(data)
            self.size += len(data)
        self._changed()
