"""What the server asks of an object store."""

from __future__ import annotations

from typing import Protocol

from penstock.job.run import S3Access


class ObjectStore(Protocol):
    """An S3 endpoint with its keys, and its life if Penstock runs it."""

    @property
    def access(self) -> S3Access:
        """How to reach it; known before it is ready."""
        ...

    def start(self) -> None:
        """Begin to start it (or find it running). Returns at once."""
        ...

    def wait_ready(self, timeout: float) -> None:
        """Return when it serves S3 and the default bucket exists.

        Raises:
            ConfigurationError: It can't be reached or started; the message says why and what to do.
        """
        ...

    def alive(self) -> bool:
        """Whether what `start` started still runs. A store of the user's own is not ours to watch: True."""
        ...

    def stop(self) -> None:
        """End what `start` started. A store of the user's own is left alone."""
        ...
