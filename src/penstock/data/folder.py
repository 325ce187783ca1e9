"""Folders and files that a program may change at any time: entered by descriptor alone, through no symbolic link."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # nonblocking, lest a FIFO keeps us

Stamp = tuple[int, int, int, int, int]


class IsLinkError(Exception):
    """A symbolic link stands where a folder was made."""


def open_below(root: Path, relative: Path) -> int:
    """Open a folder below `root` one part at a time: the program could have put a link in any part's place.

    Raises:
        IsLinkError: It did so.
        OSError: The folder is not there or can't be opened.
    """
    return _enter(os.open(root, FOLDER), relative.parts)


def _enter(descriptor: int, parts: Sequence[str]) -> int:
    """`open_below`, from an open folder, which is closed."""
    for part in parts:
        try:
            if stat.S_ISLNK(os.stat(part, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise IsLinkError
            inner = os.open(part, FOLDER, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def walk(
    top: int, enters: Callable[[str], bool], failed: Callable[[str, OSError], None]
) -> Iterator[tuple[int, str, os.stat_result | None]]:
    """All that lies below the open folder `top`, but for folders: the folder of each, open, its path and its state.

    A folder in which nothing lies comes without a state. One is open at a time, and is found anew from the top: so
    the deepest nesting takes neither descriptors nor Python's stack.

    Args:
        top: The folder; it stays open.
        enters: Whether a folder is to be gone through, by its path below `top`.
        failed: Is told of what can't be read.
    """
    waiting = [""]
    while waiting:
        base = waiting.pop()
        try:
            folder = _enter(os.open(".", FOLDER, dir_fd=top), base.split("/") if base else ())
        except IsLinkError:
            failed(base, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
            continue
        except OSError as error:
            failed(base, error)
            continue
        try:
            for path, found in _entries(folder, base, failed):
                if found is not None and stat.S_ISDIR(found.st_mode):
                    waiting += [path] * enters(path)
                else:
                    yield folder, path, found
        finally:
            os.close(folder)


def _entries(
    folder: int, base: str, failed: Callable[[str, OSError], None]
) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        with os.scandir(folder) as entries:  # read bit by bit: there may be a million
            entry = None
            for entry in entries:
                path = f"{base}/{entry.name}" if base else entry.name
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError as error:
                    failed(path, error)
                else:
                    yield path, found
            if entry is None:
                yield base, None
    except OSError as error:
        failed(base, error)


def open_file_below(root: Path, relative: Path) -> int:
    """Open a file below `root` for reading, whatever kind it is. Raises as `open_below` does."""
    folder = open_below(root, relative.parent)
    try:
        return os.open(relative.name, FILE, dir_fd=folder)
    finally:
        os.close(folder)


def stamp(found: os.stat_result) -> Stamp:
    """What differs once a file has been replaced or written to.

    The time of the last change of state is among it since a program can set the time of modification at will
    (`tar` and `cp -p` do).
    """
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class SteadyFile(io.FileIO):
    """A file that can't be read any more once it has changed, so that no mixture of two states becomes an object."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.found = os.fstat(descriptor)
        self.changed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """As of every file.

        Raises:
            OSError: It has changed since it was opened.
        """
        data = super().read(size)
        if stamp(os.fstat(self.fileno())) != stamp(self.found):
            self.changed = True
            raise OSError("the file changed while it was read")
        return data


def is_closed(name: str, folder: int) -> bool:
    """Whether nobody holds the file open for writing. False also where the file system can't tell."""
    try:
        descriptor = os.open(name, FILE, dir_fd=folder)
    except OSError:
        return False
    try:
        # Who opens it for writing just now waits until the lease is given back, and we are sent a signal: one that
        # does nothing.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGWINCH)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
