"""The FIFOs of an input of S3InputMode Pipe, one for each epoch. See `pipe` for what goes through them."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from penstock.data.folder import open_below
from penstock.data.plan import Input
from penstock.data.uri import local_folder, make_folder
from penstock.errors import ClientFailure, InternalFailure


def path(item: Input, epoch: int) -> str:
    """The FIFO of an epoch, from 0, as the program sees it."""
    return f"{item.local_path.rstrip('/')}_{epoch}"


class Fifos:
    """The FIFOs of an input: the present one, and the one after it.

    They are opened by handles that mean the FIFO itself: the program may have put anything under its name.

    Args:
        item: The input.
        root: The folder that the program will see as /opt/ml.
    """

    def __init__(self, item: Input, root: Path) -> None:
        self._item, self._root = item, root
        self._place = local_folder(root, path(item, 0)).parent
        self._folder = self._present = self._next = -1
        self.waiting = False
        """For a reader of the present FIFO."""
        self.epochs = 0
        """How many have been opened."""

    def make(self) -> None:
        """Make the first one.

        Raises:
            ClientFailure: Another input has a file or folder in its place.
            InternalFailure: This machine can't make it.
        """
        make_folder(self._place)
        first = path(self._item, 0)
        try:
            self._folder = open_below(self._root, self._place.relative_to(self._root))
            self._next = self._make(0)
        except FileExistsError:
            raise ClientFailure(
                f"Input {self._item.name!r}: another input has a file or folder in the place of its FIFO "
                f"{first}. Choose another LocalPath.",
            ) from None
        except OSError as error:
            raise InternalFailure(
                f"Input {self._item.name!r}: its FIFO {first} can't be made: {error.strerror}. PENSTOCK_HOME must "
                "lie on a file system that has FIFOs.",
            ) from None

    def wait(self) -> bool:
        """Go on to the next one. False: there is none."""
        _close(self._present)
        self._present, self._next = self._next, -1
        self.waiting = self._present >= 0
        return self.waiting

    def begin(self) -> bool:
        """The present one has been opened: take its name off, lest it be opened again, and make the next one."""
        self.waiting = False
        epoch, self.epochs = self.epochs, self.epochs + 1
        with contextlib.suppress(OSError):  # the program's own doing: there won't be another
            self._next = self._make(epoch + 1)
        with contextlib.suppress(OSError):
            os.unlink(self._name(epoch), dir_fd=self._folder)
        return True

    def open(self, flags: int) -> int:
        """Open the present one; to write, that is to wait until somebody reads it."""
        return os.open(f"/proc/self/fd/{self._present}", flags | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of all handles."""
        for handle in (self._present, self._next, self._folder):
            _close(handle)
        self._folder = self._present = self._next = -1

    def _make(self, epoch: int) -> int:
        name = self._name(epoch)
        os.mkfifo(name, dir_fd=self._folder)
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        if not stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.close(handle)
            raise FileExistsError
        return handle

    def _name(self, epoch: int) -> str:
        return path(self._item, epoch).rpartition("/")[2]


def _close(handle: int) -> None:
    if handle >= 0:
        os.close(handle)
