"""What a disk has left, and what to say when that is too little."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

from penstock import units

_SQLITE_FULL = 13  # sqlite3.SQLITE_FULL, without importing all of it
#: With less than this left a disk is called full: what failed may have needed more than the last few bytes.
NEARLY_NOTHING = 1 << 20
#: ioctl(2) of <linux/fs.h>: a file's flags, and the one of ext2 to ext4 that chattr(1) calls T.
_GETFLAGS, _SETFLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x00020000


def free(path: str | Path) -> int:
    """Bytes that are left to an ordinary user on the file system of `path`, or of the nearest folder above it."""
    try:
        found = os.statvfs(path)  # asked at every new job: almost always it is there
    except FileNotFoundError:
        found = os.statvfs(_there(path))
    return found.f_bavail * found.f_frsize


def size(path: str | Path) -> int:
    """Bytes that the file system of `path`, or of the nearest folder above it, has in all."""
    found = os.statvfs(_there(path))
    return found.f_blocks * found.f_frsize


def same(path: str | Path, other: str | Path) -> bool:
    """Whether two folders (or the nearest ones above that are there) lie on one file system."""
    return _there(path).stat().st_dev == _there(other).stat().st_dev


def is_full(error: BaseException | None) -> bool:
    """Whether the disk, or what its owner may have of it, is used up: the error itself, or one that caused it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if getattr(error, "sqlite_errorcode", None) == _SQLITE_FULL:
            return True
        error = error.__cause__
    return False


def spread(folder: Path) -> None:
    """Have the folders that will be made in `folder` spread over the disk, where its file system can be told so.

    ext4 puts a folder beside the one that it is made in, and for minutes goes around the places of all files that
    were removed there: where many short runs make and remove their files, it costs more than all else of them.
    """
    with suppress(OSError):  # another file system, or another owner
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = int.from_bytes(fcntl.ioctl(opened, _GETFLAGS, bytes(8)), sys.byteorder)
            fcntl.ioctl(opened, _SETFLAGS, (flags | _TOPDIR).to_bytes(8, sys.byteorder))
        finally:
            os.close(opened)


def _there(path: str | Path) -> Path:
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return place


def remedy(path: str | Path, setting: str = "PENSTOCK_HOME") -> str:
    """Two sentences: how much is left where, and what to do. `setting`: what says where `path` lies."""
    return (
        f"The disk of {path} has {units.size(free(path))} left: free some space on it, or move {setting} to a "
        "larger disk. Then run the job again."
    )
