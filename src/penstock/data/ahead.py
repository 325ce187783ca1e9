"""Objects read in order and beforehand, in parts, so that memory stays bounded and the reader seldom waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

from penstock.data.listing import Entry
from penstock.data.storage import MIB, PART, Bucket

#: What is read beforehand: so many parts or small objects, and so many bytes in all.
_PARTS = 16
_BYTES = 32 * MIB


class OverError(Exception):
    """Nobody wants the rest."""


@dataclass(frozen=True)
class Part:
    """A piece of an object, or all of it."""

    entry: Entry
    start: int
    read: Callable[[], memoryview]

    @property
    def length(self) -> int:
        """Bytes."""
        return min(PART, self.entry.size - self.start)

    @property
    def last(self) -> bool:
        """Whether it is the object's last."""
        return self.start + self.length == self.entry.size


def parts(bucket: Bucket, entries: Iterable[Entry]) -> Iterator[Part]:
    """All parts of these objects."""
    for entry in entries:
        for start in range(0, entry.size, PART):
            length = min(PART, entry.size - start)
            yield Part(entry, start, partial(bucket.read_part, entry, start, length))


def read_ahead(wanted: Iterator[Part], over: Future[None]) -> Generator[tuple[Part, memoryview]]:
    """The parts in their order, each with its data; the next ones are read meanwhile.

    Raises:
        OverError: `over` is done.
        JobFailure: A part could not be read, told in its turn.
    """
    pool = ThreadPoolExecutor(_PARTS, "pipe-ahead")
    reading: deque[tuple[Part, Future[memoryview]]] = deque()
    following = next(wanted, None)
    try:
        while following or reading:
            planned = sum(part.length for part, _ in reading)
            while following and (
                not reading or (len(reading) < _PARTS and planned + following.length <= _BYTES)
            ):
                reading.append((following, pool.submit(following.read)))
                planned += following.length
                following = next(wanted, None)
            part, future = reading.popleft()
            either: set[Future[Any]] = {future, over}
            wait(either, return_when=FIRST_COMPLETED)
            if over.done():
                raise OverError
            yield part, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
