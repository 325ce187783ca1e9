"""Removing a run's folder: as `shutil.rmtree` does it, by half of its system calls."""

from __future__ import annotations

import os

#: A link in the place of a folder is not followed, whoever has just put it there.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(folder: str) -> None:
    """Remove a folder with all that is in it.

    Raises:
        FileNotFoundError: It is not there.
        OSError: Something withstands; what had its turn before is gone.
        RecursionError: It is nested too deep.
    """
    descriptor = os.open(folder, _FOLDER)
    try:
        _empty(descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(folder)  # noqa: PTH106 - for speed, with each run


def _empty(folder: int) -> None:
    with os.scandir(folder) as found:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in inside:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
        elif not _gone(name, folder):
            descriptor = os.open(name, _FOLDER, dir_fd=folder)
            try:
                _empty(descriptor)
            finally:
                os.close(descriptor)
            os.rmdir(name, dir_fd=folder)


def _gone(name: str, parent: int) -> bool:
    """Whether a folder went at once: of those of a run, half are empty."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:  # what else keeps it there is told by the next to try
        return False
    return True
