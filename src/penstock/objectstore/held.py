"""A lock that a process holds for as long as it lives, and how to find and end that process.

A started process inherits the locked file. The kernel gives the lock back when the last descriptor is closed, at
the latest at the end of the process, however it came about. A pid alone proves nothing: numbers are used again.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def try_lock(file: Path) -> Iterator[int | None]:
    """A descriptor of `file` (made when missing) that holds the lock, None when somebody else holds it.

    It stays locked after the block only if a process started within it has inherited the descriptor.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def held(file: Path) -> bool:
    """Whether a living process holds the lock of `file`."""
    if not file.exists():
        return False
    with try_lock(file) as lock:
        return lock is None


def end_holders(file: Path, grace: float) -> None:
    """End every process that has `file` open, by SIGTERM, and after `grace` seconds by SIGKILL."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid() or not _has_open(entry, file):
            continue
        try:
            process = os.pidfd_open(int(entry.name))
        except ProcessLookupError:
            continue
        try:
            # Asked again now that the number can't pass on to another process unnoticed.
            if _has_open(entry, file):
                _end(process, grace)
        finally:
            os.close(process)


def _end(process: int, grace: float) -> None:
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        try:
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError:
            return
        if select.select([process], [], [], patience)[0]:  # readable once the process has ended
            return


def _has_open(entry: Path, file: Path) -> bool:
    try:
        wanted = file.stat()
        links = list((entry / "fd").iterdir())
    except OSError:  # it has ended, or is another user's
        return False
    return any(_leads_to(link, file.name, wanted) for link in links)


def _leads_to(link: Path, name: str, wanted: os.stat_result) -> bool:
    try:
        # By name first: a stat of every descriptor of every process may reach a network folder that hangs.
        return link.readlink().name == name and os.path.samestat(wanted, link.stat())
    except OSError:  # closed meanwhile: it says nothing of the others
        return False
