"""What a runner has to tell its server, in which order, and how far the server has acknowledged it. No network.

The log goes first, so that nobody sees a job as ended whose last lines are missing.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

from penstock.runner.journal import Journal

_CHUNK = 1 << 20

#: A path below the run's own, and the body.
Post = tuple[str, bytes]


class Source(Protocol):
    """A file to be read."""

    def seek(self, place: int, /) -> object:
        """Read on from the byte `place`."""
        ...

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes at most; none at the end."""
        ...


class Outbox:
    """Log, upload manifest and journal of one run, each from the last acknowledged place on."""

    def __init__(self, journal: Journal, log: Source, manifest: Source) -> None:
        self._journal = journal
        self._log = log
        self._manifest = manifest
        self.log_sent = 0
        """Bytes of the log that the server has acknowledged."""
        self._manifest_sent = 0
        self._sequence_sent = 0

    def posts(self) -> Generator[Post, Mapping[str, Any], None]:
        """Yield each request and take the server's reply, until all that has happened so far is taken.

        May be given up after any request: the next call goes on where the last reply was.
        """
        # The events first, then the log up to now: what an event tells (the end) must not overtake the log, nor
        # the objects that were stored before it.
        events = self._journal.after(self._sequence_sent)
        self._log.seek(self.log_sent)
        while data := self._log.read(_CHUNK):
            reply = yield f"log?offset={self.log_sent}", data
            self.log_sent = int(reply["size"])
            self._log.seek(self.log_sent)
        self._manifest.seek(self._manifest_sent)
        while lines := self._manifest.read(_CHUNK).rpartition(b"\n")[0]:
            yield "uploads", lines + b"\n"
            self._manifest_sent += len(lines) + 1
            self._manifest.seek(self._manifest_sent)
        for batch in _batches([json.dumps(event.to_json()) for event in events]):
            reply = yield "events", f'{{"events": [{", ".join(batch)}]}}'.encode()
            self._sequence_sent = int(reply["sequence"])


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """In order, as many at once as the server takes; a journal has none that is larger by itself."""
    batch: list[str] = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > _CHUNK:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch
