"""The only ways into a folder that the program could have changed: by descriptor, through no symbolic link."""

from __future__ import annotations

import os
import stat
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
    descriptor = os.open(root, FOLDER)
    for part in relative.parts:
        try:
            if stat.S_ISLNK(os.stat(part, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise IsLinkError
            inner = os.open(part, FOLDER, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


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
