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
import stat
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from penstock import units
from penstock.data import crew
from penstock.data.folder import open_below
from penstock.data.gunzip import expanded
from penstock.data.inputs import find
from penstock.data.integrity import md5
from penstock.data.listing import Entry
from penstock.data.meter import Meter
from penstock.data.plan import Input, read_input, shard
from penstock.data.storage import MIB, PART, Bucket, Opener, open_bucket
from penstock.data.uri import S3Uri, local_folder, make_folder
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

#: What is read beforehand, for each input: so many parts or small objects, and so many bytes in all.
_PARTS_AHEAD = 16
_BYTES_AHEAD = 32 * MIB
_CHECK_SECONDS = 0.2
_PIPE_SIZE = MIB  # Linux's default limit for ordinary users; less is no harm


@dataclass(frozen=True)
class Stream:
    """An input to be streamed, as it was found in the store."""

    item: Input
    bucket: Bucket
    bucket_name: str
    entries: Sequence[Entry]
    """In the order of their keys' bytes."""

    @property
    def size(self) -> int:
        """Bytes in the store; compressed ones become more."""
        return sum(entry.size for entry in self.entries)

    def path(self, epoch: int) -> str:
        """The FIFO as the program sees it."""
        return f"{self.item.local_path.rstrip('/')}_{epoch}"


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
    found: dict[str, Stream] = {}

    def look(item: Input) -> None:
        bucket, name, entries = find(item, opener, access)
        by_key = {entry.key: entry for entry in entries if not entry.key.endswith("/")}
        keys = shard(by_key, index, count) if item.sharded else shard(by_key, 0, 1)
        found[item.name] = Stream(item, bucket, name, [by_key[key] for key in keys])

    crew.work((partial(look, item) for item in wanted), tick=check, every=_CHECK_SECONDS)
    streams = [found[item.name] for item in wanted]
    for stream in streams:
        objects = len(stream.entries)
        progress(
            f"Input {stream.item.name!r}: {stream.item.uri} is streamed to {stream.path(0)} while the program runs, "
            f"{objects} {'object' if objects == 1 else 'objects'}, {units.size(stream.size)}.",
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
                stack.enter_context(closing(outlet)).make()
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
                stack.enter_context(closing(outlet))
                if outlet.waiting:
                    # Ends its waiting. One that writes ends by itself: it has no reader.
                    stack.callback(os.close, outlet.open(os.O_RDONLY | os.O_NONBLOCK))
            at_last = stack.pop_all()
        with at_last:
            for thread in self._threads:
                thread.join()

    def streamed(self, progress: Callable[[str], None]) -> list[Streamed]:
        """What was read by the end of the block; each gets a line in the log."""
        for outlet in self._outlets:
            if not outlet.epochs:
                progress(
                    f"Input {outlet.stream.item.name!r}: the program did not open {outlet.stream.path(0)}."
                )
                continue
            progress(
                f"Input {outlet.stream.item.name!r}: {outlet.epochs} {'epoch' if outlet.epochs == 1 else 'epochs'}, "
                f"{units.size(outlet.bytes)} streamed, {outlet.seconds:.2f} s.",
            )
        return [outlet.streamed() for outlet in self._outlets]

    def _serve(self, outlet: _Outlet, program: Program) -> None:
        """One epoch after the other, until nobody can open the next."""
        while self._unless_over(outlet.wait):
            writer = outlet.open(os.O_WRONLY)
            started = time.monotonic()
            try:
                if not self._unless_over(outlet.begin):
                    return
                with self._meter.moving(outlet.stream):
                    self._pour(outlet, writer)
            except _OverError:
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
            closing(_ahead(_parts(stream.bucket, stream.entries), self._over)) as parts,
            contextlib.suppress(BrokenPipeError),
        ):
            for key, group in itertools.groupby(parts, key=lambda part: part[0].entry.key):
                chunks = self._counted(outlet, group)
                uri = S3Uri(stream.bucket_name, key)
                pieces = expanded(chunks, uri) if stream.item.gzipped else chunks
                for piece in pieces:
                    data = memoryview(piece)
                    while data:
                        data = data[os.write(writer, data) :]

    def _counted(self, outlet: _Outlet, parts: Iterable[tuple[_Part, memoryview]]) -> Iterator[memoryview]:
        """The parts of one object; its last one comes when all are known to be right."""
        digests = []
        for part, data in parts:
            outlet.bytes += len(data)
            self._meter.meter.add(len(data), objects=int(part.last))
            digests.append(md5(data))
            if part.last and not outlet.stream.bucket.prove(part.entry, digests):
                self._read_again(outlet.stream, part.entry, digests)
            yield data

    def _read_again(self, stream: Stream, entry: Entry, digests: Sequence[bytes]) -> None:
        """Where neither TLS nor the ETag vouches for the bytes, a second reading does, as for files."""
        with closing(_ahead(_parts(stream.bucket, [entry]), self._over)) as parts:
            if [md5(data) for _, data in parts] != list(digests):
                raise InternalFailure(
                    f"{S3Uri(stream.bucket_name, entry.key)}: a second reading of it gave other bytes. Check the "
                    "network and the disks of this machine and of the store, then run the job again."
                )


class _Outlet:
    """The FIFOs of a stream: the present one, and the one after it. Handles mean a FIFO itself, not its name."""

    def __init__(self, stream: Stream, root: Path) -> None:
        self.stream, self._root = stream, root
        self._place = local_folder(root, stream.path(0)).parent
        self._folder = self._present = self._next = -1
        self.waiting = False
        """For a reader of the present FIFO."""
        self.epochs = 0
        self.bytes = 0
        self.seconds = 0.0

    def make(self) -> None:
        """Make the first one. Raises as `Feed.__enter__` does."""
        make_folder(self._place)
        name = self.stream.item.name
        try:
            self._folder = open_below(self._root, self._place.relative_to(self._root))
            self._next = self._make(0)
        except FileExistsError:
            raise ClientFailure(
                f"Input {name!r}: another input has a file or folder in the place of its FIFO "
                f"{self.stream.path(0)}. Choose another LocalPath.",
            ) from None
        except OSError as error:
            raise InternalFailure(
                f"Input {name!r}: its FIFO {self.stream.path(0)} can't be made: {error.strerror}. PENSTOCK_HOME must "
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
        return self.stream.path(epoch).rpartition("/")[2]

    def streamed(self) -> Streamed:
        """What became of it."""
        item = self.stream.item
        return Streamed(
            item.name, str(item.uri), len(self.stream.entries), self.epochs, self.bytes, self.seconds
        )


def _close(handle: int) -> None:
    if handle >= 0:
        os.close(handle)


class _OverError(Exception):
    """The program has ended."""


@dataclass(frozen=True)
class _Part:
    entry: Entry
    start: int
    read: Callable[[], memoryview]

    @property
    def length(self) -> int:
        return min(PART, self.entry.size - self.start)

    @property
    def last(self) -> bool:
        return self.start + self.length == self.entry.size


def _parts(bucket: Bucket, entries: Iterable[Entry]) -> Iterator[_Part]:
    for entry in entries:
        for start in range(0, entry.size, PART):
            length = min(PART, entry.size - start)
            yield _Part(entry, start, partial(bucket.read_part, entry, start, length))


def _ahead(parts: Iterator[_Part], over: Future[None]) -> Generator[tuple[_Part, memoryview]]:
    """The parts in their order, each with its data; the next ones are read meanwhile."""
    pool = ThreadPoolExecutor(_PARTS_AHEAD, "pipe-ahead")
    reading: deque[tuple[_Part, Future[memoryview]]] = deque()
    following = next(parts, None)
    try:
        while following or reading:
            planned = sum(part.length for part, _ in reading)
            while following and (
                not reading or (len(reading) < _PARTS_AHEAD and planned + following.length <= _BYTES_AHEAD)
            ):
                reading.append((following, pool.submit(following.read)))
                planned += following.length
                following = next(parts, None)
            part, future = reading.popleft()
            either: set[Future[Any]] = {future, over}
            wait(either, return_when=FIRST_COMPLETED)
            if over.done():
                raise _OverError
            yield part, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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
            self._objects += sum(entry.size > 0 for entry in stream.entries)
            self._bytes += stream.size
            self.meter.expect(self._objects, self._bytes)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._transfer.close()
