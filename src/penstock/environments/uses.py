"""Who uses an environment: a shared lock on its folder, so that nobody removes what a running job needs."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.environments.model import Environment

#: What stands beside every environment. When it was changed last tells when the environment was used last.
RECORD = "environment.json"


class Uses:
    """The environments that one process uses; it lets go of them when it is closed, or ends in whatever way."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take(self, environment: Environment) -> bool:
        """Keep `environment` from being removed; False when it is being removed, or gone."""
        descriptor = lock_folder(environment.prefix.parent, fcntl.LOCK_SH)
        if descriptor is None:
            return False
        self._held.append(descriptor)
        with suppress(OSError):  # a folder of environments may be read-only here
            os.utime(environment.prefix.parent / RECORD)
        return True

    def close(self) -> None:
        """Let go of all."""
        while self._held:
            os.close(self._held.pop())


def lock_folder(place: Path, kind: int) -> int | None:
    """A descriptor that locks the folder `place`; None when another holds it otherwise, or it is not there."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        # Between opening and locking it may have been moved away, and another be in its place.
        if os.path.samestat(os.fstat(descriptor), place.stat()):
            return descriptor
    os.close(descriptor)
    return None
