"""Inputs of S3InputMode Pipe: objects flow into FIFOs while the program runs, without the disk.

The program reads `<LocalPath>_0`, and once more from the start from `<LocalPath>_1` and so on: an epoch each. A FIFO
loses its name when it has been opened, so that it is read once; the next one is there by then.

A reader takes the end of a FIFO for the end of the data. So when an input can't be read to its end, the program is
ended first, and the FIFO is closed after that.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import select
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from penstock import units
from penstock.data import crew
from penstock.data.ahead import OverError, Part, parts, read_ahead
from penstock.data.fifo import Fifos, path
from penstock.data.gunzip import expanded
from penstock.data.inputs import find
from penstock.data.integrity import md5
from penstock.data.listing import Entry
from penstock.data.meter import Meter
from penstock.data.objects import Objects
from penstock.data.plan import Input, read_input
from penstock.data.storage import MIB, Bucket, Opener, open_bucket
from penstock.data.uri import S3Uri
from penstock.errors import InternalFailure, JobFailure
from penstock.job.run import S3Access

_CHECK_SECONDS = 0.2
_PIPE_SIZE = MIB  # Linux's default limit for ordinary users; less is no harm


@dataclass(frozen=True)
class Stream:
    """An input to be streamed, as it was found in the store."""

    item: Input
    bucket: Bucket
    bucket_name: str
    entries: Objects
    """In the order of their keys' bytes."""
    objects: int
    size: int
    """Bytes in the store; compressed ones become more."""


@dataclass(frozen=True)
class Streamed:
    """What became of a stream."""

    name: str
    uri: str
    objects: int
    """In one epoch."""
    epochs: int
    """How often it was opened."""
    bytes: int
    """Read from the store, in all epochs."""
    seconds: float
    """While one of its FIFOs was open."""


class Program(Protocol):
    """As much of `runtimes.base.Running` as is needed here."""

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code when nothing of it is left; None on a timeout."""
        ...

    def kill(self) -> None:
        """End all of it."""
        ...


def find_streams(
    inputs: Sequence[Mapping[str, Any]],
    *,
    index: int,
    count: int,
    access: S3Access,
    progress: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
    opener: Opener = open_bucket,
) -> list[Stream]:
    """Find what the inputs of S3InputMode Pipe consist of; the arguments are those of `inputs.fetch`.

    Raises:
        ClientFailure: An input can't be had.
        InternalFailure: The store failed.
    """
    wanted = [item for item in map(read_input, inputs) if item is not None and item.piped]
    if not wanted:
        return []  # no thread for nothing
    found: dict[str, Stream] = {}

    def look(item: Input) -> None:
        bucket, name, entries = find(item, opener, access)
        entries.remove([entry.key for entry in entries if entry.key.endswith("/")])
        if item.sharded:
            entries.keep_share(index, count)
        found[item.name] = Stream(item, bucket, name, entries, *entries.total())

    crew.work((partial(look, item) for item in wanted), tick=check, every=_CHECK_SECONDS)
    streams = [found[item.name] for item in wanted]
    for stream in streams:
        objects = stream.objects
        progress(
            f"Input {stream.item.name!r}: {stream.item.uri} is streamed to {path(stream.item, 0)} while the program "
            f"runs, {objects} {'object' if objects == 1 else 'objects'}, {units.size(stream.size)}.",
        )
    return streams


class Feed:
    """Serves streams while a program runs. The FIFOs are there within the `with` block; `start` opens them.

    At the end of the block, which must come after the program's, nothing is written any more.

    Args:
        streams: What to serve.
        root: The folder that the program will see as /opt/ml.
        meter: Is told what will be moved, and what has been, while a FIFO is open.
    """

    def __init__(self, streams: Sequence[Stream], *, root: Path, meter: Meter) -> None:
        self.failure: JobFailure | None = None
        """Why the program was ended."""
        self._over: Future[None] = Future()
        self._lock = threading.Lock()
        self._meter = _SharedMeter(meter)
        self._outlets = [_Outlet(stream, root) for stream in streams]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Make the FIFOs.

        Raises:
            ClientFailure: Another input has a file or folder in a FIFO's place.
            InternalFailure: This machine can't make it.
        """
        with ExitStack() as stack:
            for outlet in self._outlets:
                stack.enter_context(closing(outlet.fifos)).make()
            stack.pop_all()
        return self

    def start(self, program: Program) -> None:
        """Serve whoever opens a FIFO; end `program` when the data can't be had."""
        for outlet in self._outlets:
            thread = threading.Thread(target=self._serve, args=(outlet, program), name="pipe", daemon=True)
            self._threads.append(thread)
            thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nobody reads any more."""
        with self._lock, ExitStack() as stack:
            self._over.set_result(None)
            for outlet in self._outlets:
                stack.enter_context(closing(outlet.stream.entries))
                stack.enter_context(closing(outlet.fifos))
                if outlet.fifos.waiting:
                    # Ends its waiting. One that writes ends by itself: it has no reader.
                    stack.callback(os.close, outlet.fifos.open(os.O_RDONLY | os.O_NONBLOCK))
            at_last = stack.pop_all()
        with at_last:
            for thread in self._threads:
                thread.join()

    def streamed(self, progress: Callable[[str], None]) -> list[Streamed]:
        """What was read by the end of the block; each gets a line in the log."""
        for outlet in self._outlets:
            item, epochs = outlet.stream.item, outlet.fifos.epochs
            progress(
                f"Input {item.name!r}: {epochs} {'epoch' if epochs == 1 else 'epochs'}, {units.size(outlet.bytes)} "
                f"streamed, {outlet.seconds:.2f} s."
                if epochs
                else f"Input {item.name!r}: the program did not open {path(item, 0)}."
            )
        return [outlet.streamed() for outlet in self._outlets]

    def _serve(self, outlet: _Outlet, program: Program) -> None:
        """One epoch after the other, until nobody can open the next."""
        while self._unless_over(outlet.fifos.wait):
            writer = outlet.fifos.open(os.O_WRONLY)
            started = time.monotonic()
            try:
                if not self._unless_over(outlet.fifos.begin):
                    return
                with self._meter.moving(outlet.stream):
                    self._pour(outlet, writer)
            except OverError:
                return
            except Exception as error:  # noqa: BLE001 -- whatever it is: no reader may take it for the end of the data
                if _is_read(writer) and program.wait(0) is None:
                    self._end(outlet.stream, error, program)
                    return
            finally:
                outlet.seconds += time.monotonic() - started
                os.close(writer)

    def _unless_over(self, step: Callable[[], bool]) -> bool:
        with self._lock:
            return not self._over.done() and step()

    def _end(self, stream: Stream, error: Exception, program: Program) -> None:
        if isinstance(error, JobFailure):
            failure = type(error)(f"Failed to download data. Input {stream.item.name!r}: {error}")
        else:
            traceback.print_exception(error)
            failure = InternalFailure(
                f"Failed to download data. Input {stream.item.name!r} could not be streamed to its end: "
                f"{type(error).__name__}: {error}"
            )
        with self._lock:
            self.failure = self.failure or failure
        program.kill()
        program.wait()

    def _pour(self, outlet: _Outlet, writer: int) -> None:
        """The whole input into a FIFO, as far as it is read."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        stream = outlet.stream
        with (
            closing(read_ahead(parts(stream.bucket, stream.entries), self._over)) as pieces,
            contextlib.suppress(BrokenPipeError),
        ):
            for key, group in itertools.groupby(pieces, key=lambda part: part[0].entry.key):
                chunks = self._counted(outlet, group)
                uri = S3Uri(stream.bucket_name, key)
                for chunk in expanded(chunks, uri) if stream.item.gzipped else chunks:
                    data = memoryview(chunk)
                    while data:
                        data = data[os.write(writer, data) :]

    def _counted(self, outlet: _Outlet, pieces: Iterable[tuple[Part, memoryview]]) -> Iterator[memoryview]:
        """The parts of one object; its last one comes when all are known to be right."""
        digests, bucket = [], outlet.stream.bucket
        for part, data in pieces:
            outlet.bytes += len(data)
            self._meter.meter.add(len(data), objects=int(part.last))
            if not bucket.sealed:
                digests.append(md5(data))
            if part.last and not bucket.prove(part.entry, digests):
                self._read_again(outlet.stream, part.entry, digests)
            yield data

    def _read_again(self, stream: Stream, entry: Entry, digests: Sequence[bytes]) -> None:
        """Where neither TLS nor the ETag vouches for the bytes, a second reading does, as for files."""
        with closing(read_ahead(parts(stream.bucket, [entry]), self._over)) as again:
            if [md5(data) for _, data in again] != list(digests):
                raise InternalFailure(
                    f"{S3Uri(stream.bucket_name, entry.key)}: a second reading of it gave other bytes. Check the "
                    "network and the disks of this machine and of the store, then run the job again."
                )


class _Outlet:
    """A stream, its FIFOs, and what was read of them."""

    def __init__(self, stream: Stream, root: Path) -> None:
        self.stream = stream
        self.fifos = Fifos(stream.item, root)
        self.bytes = 0
        self.seconds = 0.0

    def streamed(self) -> Streamed:
        """What became of it."""
        item = self.stream.item
        return Streamed(
            item.name, str(item.uri), self.stream.objects, self.fifos.epochs, self.bytes, self.seconds
        )


def _is_read(writer: int) -> bool:
    """Whether somebody holds the reading end."""
    poll = select.poll()
    poll.register(writer, 0)
    return not poll.poll(0)


class _SharedMeter:
    """One meter for streams that come and go: a download goes on while one of them is open."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._lock = threading.Lock()
        self._open = self._objects = self._bytes = 0
        self._transfer = ExitStack()

    @contextmanager
    def moving(self, stream: Stream) -> Iterator[None]:
        """A stream is open."""
        with self._lock:
            if not self._open:
                self._objects = self._bytes = 0
                self._transfer.enter_context(self.meter.moving("download"))
            self._open += 1
            self._objects += stream.objects
            self._bytes += stream.size
            self.meter.expect(self._objects, self._bytes)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._transfer.close()
