"""Measures a transfer while it goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.progress import Progress

#: The rate is that of so many seconds, so that it neither jumps nor tells of long ago.
_WINDOW = 5.0


class Meter:
    """What the transfers of one run have moved: added to by their threads, read by whoever tells of it.

    Args:
        changed: Called when a transfer begins.
        clock: Seconds, never going back.
    """

    def __init__(
        self, changed: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._changed, self._clock = changed, clock
        self._lock = threading.Lock()
        self._way: str | None = None
        self._total_objects: int | None = None
        self._total_bytes: int | None = None
        self._reset()

    @contextmanager
    def moving(self, way: str) -> Iterator[None]:
        """A transfer, `download` or `upload`, from its listing to its last byte."""
        with self._lock:
            self._reset()
            self._way = way
        self._changed()
        try:
            yield
        finally:
            with self._lock:
                self._way = None

    @property
    def is_moving(self) -> bool:
        """Whether a transfer goes on."""
        return self._way is not None

    def expect(self, objects: int, size: int) -> None:
        """So many objects and bytes it will be in all."""
        with self._lock:
            self._total_objects, self._total_bytes = objects, size

    def add(self, size: int, objects: int = 0) -> None:
        """So many bytes more have arrived, and with them so many objects are complete."""
        with self._lock:
            self._bytes += size
            self._objects += objects

    def read(self) -> Progress | None:
        """How far it is now; None when nothing is moved."""
        with self._lock:
            if self._way is None:
                return None
            now = self._clock()
            self._samples.append((now, self._bytes))
            while self._samples[1][0] < now - _WINDOW:
                self._samples.popleft()
            since, bytes_then = self._samples[0]
            rate = (self._bytes - bytes_then) / (now - since) if now > since else None
            return Progress(
                self._way, self._objects, self._bytes, self._total_objects, self._total_bytes, rate
            )

    def _reset(self) -> None:
        self._objects = self._bytes = 0
        self._total_objects = self._total_bytes = None
        self._samples = deque([(self._clock(), 0)])
