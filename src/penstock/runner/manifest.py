"""The upload manifest on disk: each stored object is a line, written when it is stored and then reported."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from penstock import disk
from penstock.errors import InternalFailure
from penstock.job.uploads import Upload

_TOLD_EACH = 1000


class Manifest:
    """Writes lines; nothing is held in memory. What an earlier runner wrote is dropped: all is uploaded again."""

    def __init__(self, path: Path, clock: Callable[[], int], changed: Callable[[], None]) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        """Made with the first line: most runs store nothing."""
        if path.exists():
            self._open()
        self._clock = clock
        self._changed = changed
        self._lock = threading.Lock()
        self._count = 0
        self._failure: OSError | None = None

    def add(self, output: str, uri: str, size: int, sha256: str) -> None:
        """An object is stored. May be called from any thread; a full disk does not keep other objects from it."""
        line = Upload(output, uri, size, sha256, self._clock()).to_line()
        with self._lock:
            try:
                if self._failure is None:
                    self._write(line)
            except OSError as error:
                self._failure = error
            self._count += 1
            tell = self._count % _TOLD_EACH == 0
        if tell:
            self._changed()

    def _write(self, line: bytes) -> None:
        file = self._file or self._open()
        if file.write(line) < len(line):
            raise OSError("a line was not written whole")

    def _open(self) -> BinaryIO:
        self._file = self._path.open("wb", buffering=0)
        return self._file

    def check(self) -> None:
        """Bring all lines to disk for good: they must not be missing of a success that is told after a loss of power.

        Raises:
            InternalFailure: Lines are missing.
        """
        if self._failure is None and self._file is not None:
            try:
                os.fdatasync(self._file.fileno())
            except OSError as error:
                self._failure = error
        if self._failure is not None:
            raise InternalFailure(
                f"The outputs are stored, but the manifest of them could not be kept on disk: {self._failure}. "
                f"{disk.remedy(self._path)}"
            )

    def close(self) -> None:
        """Nothing follows."""
        if self._file is not None:
            self._file.close()
