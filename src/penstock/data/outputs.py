"""Outputs: files below LocalPath become objects of S3, after the program has ended.

The program may have left anything in its folders, so nothing there is trusted: folders are walked by descriptor,
no symbolic link is followed at any level, and what is opened is looked at again before it is read.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from penstock import disk, units
from penstock.data import crew
from penstock.data.answers import NoSuchBucket, StoreFailing, StoreFull, StoreUnreachable, Unaddressable
from penstock.data.folder import FILE, IsLinkError, Stamp, open_below, stamp, walk
from penstock.data.integrity import unchanged
from penstock.data.listing import is_loopback
from penstock.data.meter import Meter
from penstock.data.storage import PART, Bucket, Opener, open_bucket
from penstock.data.uri import S3Uri, local_folder, make_folder
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

_KEY_LIMIT = 1024  # bytes of UTF-8, S3's limit; it also bounds how deep a folder is walked
_LARGE_AT_ONCE = 4  # each holds up to four parts in memory
_PROGRESS_SECONDS = 10.0
_COUNT_AFTER = 1.0  # seconds; what takes less needs nobody to say how far it is
_NOBODYS = "penstock/no-object-has-this-prefix"
_GLANCE = 5.0  # seconds for a store to answer before the program; the upload has the patience
_SKIPPED_KEPT = 100
_FRUITLESS = 64  # so many failures of an output without one success, and the rest of it is not tried

#: Is called with each object that is stored: the output's name, URI, bytes and SHA-256.
Record = Callable[[str, str, int, str], None]
#: OutputName and path below LocalPath -> the file that is in S3 as it was then.
Sent = Mapping[tuple[str, str], Stamp]


@dataclass(frozen=True)
class Uploaded:
    """An output that is in S3."""

    name: str
    uri: str
    files: int
    bytes: int
    seconds: float
    """From the start of the whole upload to this output's last file: outputs go side by side."""
    early: int
    """How many of the files were uploaded while the program ran."""
    skipped: list[str]
    """What was not uploaded, as it can't be an object: relative path and reason. The first 100; the log names all."""


def prepare(config: Mapping[str, Any] | None, root: Path) -> None:
    """Make the LocalPath of every output, so that the program finds it; and refuse now what can't be uploaded.

    Folders get the mode 0755: within the walls the program has the uid of this process.

    Args:
        config: ProcessingOutputConfig of the CreateProcessingJob request.
        root: The folder that the program will see as /opt/ml.

    Raises:
        ClientFailure: An output's S3Uri or LocalPath can't be used; the message names the output.
    """
    for output in read_outputs((config or {}).get("Outputs") or (), root):
        make_folder(output.folder)


def _glance(access: S3Access, bucket: str, kms_key: str | None = None) -> Bucket:
    return open_bucket(access, bucket, kms_key, _GLANCE)


def check_buckets(
    config: Mapping[str, Any] | None,
    root: Path,
    access: S3Access,
    known: Collection[str],
    opener: Opener = _glance,
) -> None:
    """See that every output's bucket is there, before the program works for nothing.

    Args:
        config: ProcessingOutputConfig of the CreateProcessingJob request.
        root: The folder that the program will see as /opt/ml.
        access: How to reach the store.
        known: Buckets that are there.
        opener: How buckets are opened.

    Raises:
        NoSuchBucket: One is not; the message names the output. Whatever else is wrong is left to the upload.
    """
    for output in read_outputs((config or {}).get("Outputs") or (), root):
        if output.uri.bucket in known:
            continue
        try:
            next(opener(access, output.uri.bucket).list(_NOBODYS), None)
        except NoSuchBucket:
            raise NoSuchBucket(
                f"Output {output.name!r}: {output.uri}: the bucket {output.uri.bucket!r} does not exist. Create it, or "
                "correct the S3Uri."
            ) from None
        except JobFailure:
            continue  # who may write need not be allowed to list


def upload(
    outputs: Sequence[Mapping[str, Any]],
    *,
    kms_key: str | None,
    root: Path,
    access: S3Access,
    progress: Callable[[str], None],
    meter: Meter | None = None,
    sent: Sent | None = None,
    record: Record = lambda *_: None,
    opener: Opener = open_bucket,
) -> list[Uploaded]:
    """Upload every regular file below each LocalPath to `<S3Uri>/<relative path>`.

    Symbolic links, sockets, FIFOs and devices are skipped, and empty folders leave no trace in S3: each gets a
    line in the log. A file that can't be uploaded does not keep the others from it; the failure comes at the end.

    Args:
        outputs: The Outputs of the request's ProcessingOutputConfig.
        kms_key: Its KmsKeyId. A store on this machine gets the files without it, and the log says so: such
            stores have no KMS, and SeaweedFS answers a request for one with an error.
        root: The folder that the program saw as /opt/ml.
        access: How to reach the store.
        progress: Called with a line for the log, from any thread but never by two at once.
        meter: Is told what will be moved, and what has been.
        sent: What is in S3 by now; files that have changed since are uploaded again.
        record: Called with each object that is stored. From any thread.
        opener: How buckets are opened.

    Raises:
        ClientFailure: Something is not in S3, for a cause on the user's side; the message names the output, the
            first object and how many more there are.
        InternalFailure: The same for a cause on this machine's or the store's side.
    """
    started = time.monotonic()
    telling = threading.Lock()

    def tell(line: str) -> None:
        with telling:
            progress(line)

    def key_of(bucket: str) -> str | None:
        return usable_key(kms_key, access.at(bucket))

    work = read_outputs(outputs, root, tell)
    if not work:
        return []  # no thread for nothing
    if kms_key and not all(key_of(output.uri.bucket) for output in work):
        tell("KmsKeyId is not applied: the object store on this machine has no KMS.")
    meter = meter or Meter()
    shared = _Shared(meter, sent or {}, record)
    told = started

    def tick() -> None:
        nonlocal told
        shared.count(work, root)
        if time.monotonic() - told >= _PROGRESS_SECONDS:
            told = time.monotonic()
            tell(f"{meter.read()}.")

    crew.work(
        (
            task
            for output in work
            for task in _tasks(
                output,
                opener(access, output.uri.bucket, key_of(output.uri.bucket)),
                root,
                shared,
                beside=access.at(output.uri.bucket).own,
            )
        ),
        tick=tick,
        every=_COUNT_AFTER,
    )
    results = [_left(output, started) for output in work]
    for output in work:
        if first := output.failure:
            raise type(first)(
                f"Failed to upload data. Output {output.name!r}: {first}"
                + (f" {output.failed - 1} more of its files failed." if output.failed > 1 else "")
                + (" The rest was not tried." if shared.hopeless or output.fruitless >= _FRUITLESS else ""),
            )
    return results


def usable_key(kms_key: str | None, access: S3Access) -> str | None:
    """The key, unless the store is on this machine."""
    return None if is_loopback(access.url) else kms_key


@dataclass
class _Output:
    name: str
    uri: S3Uri
    local_path: str
    folder: Path
    tell: Callable[[str], None]
    files: int = 0
    bytes: int = 0
    ended: float = 0.0
    early: int = 0
    empty: bool = False
    skipped: list[str] = field(default_factory=list)
    failure: JobFailure | None = None
    """The first of those that `failed` counts."""
    failed: int = 0
    fruitless: int = 0
    """Failures since the last file that arrived, for causes that others share."""

    def key(self, relative: str) -> str:
        """The key of the file at this path below LocalPath."""
        base = self.uri.key
        return f"{base}/{relative}" if base and not base.endswith("/") else base + relative

    def fits(self, relative: str) -> bool:
        """Whether something at this path can be an object."""
        return unfit(self.key(relative)) is None

    def skip(self, relative: str, reason: str) -> None:
        line = f"{shown(relative or '.')}: {reason}"
        self.tell(f"Output {self.name!r}: not uploaded: {line}.")
        if len(self.skipped) < _SKIPPED_KEPT:
            self.skipped.append(line)

    def fail(self, failure: JobFailure) -> None:
        self.tell(f"Output {self.name!r}: FAILED: {failure}")
        self.failure = self.failure or failure
        self.failed += 1

    def unreadable(self, relative: str, error: OSError) -> None:
        self.fail(InternalFailure(f"{shown(relative or self.local_path)} can't be read: {error.strerror}."))


class _Shared:
    """What the threads of one upload share."""

    def __init__(self, meter: Meter, sent: Sent, record: Record) -> None:
        self.meter, self.sent, self.record = meter, sent, record
        self.counter: threading.Thread | None = None
        self.lock = threading.Lock()
        self.large = threading.BoundedSemaphore(_LARGE_AT_ONCE)
        self.hopeless = False
        """The store is gone: nothing more is tried."""

    def count(self, outputs: Sequence[_Output], root: Path) -> None:
        """Find out beside the upload, once, how much it will be in all."""
        if self.counter is None:
            self.counter = threading.Thread(target=_count, args=(outputs, root, self.meter), daemon=True)
            self.counter.start()


def _count(outputs: Sequence[_Output], root: Path, meter: Meter) -> None:
    objects = size = 0
    for output in outputs:
        with contextlib.suppress(IsLinkError, OSError):  # the upload itself will tell
            folder = open_below(root, output.folder.relative_to(root))
            try:
                for _, _, found in walk(folder, output.fits, lambda *_: None):
                    if found is not None and stat.S_ISREG(found.st_mode):
                        objects, size = objects + 1, size + found.st_size
            finally:
                os.close(folder)
    meter.expect(objects, size)


def read_outputs(
    outputs: Sequence[Mapping[str, Any]], root: Path, tell: Callable[[str], None] = lambda _: None
) -> list[_Output]:
    """What of the request's Outputs is to be uploaded here. Raises as `prepare` does."""
    read = []
    for shape in outputs:
        name, target = shape.get("OutputName", ""), shape.get("S3Output")
        if shape.get("AppManaged") or not target:
            continue
        try:
            read.append(
                _Output(
                    name=name,
                    uri=S3Uri.parse(target.get("S3Uri") or ""),
                    local_path=target.get("LocalPath") or "",
                    folder=local_folder(root, target.get("LocalPath") or ""),
                    tell=tell,
                ),
            )
        except ClientFailure as error:
            raise ClientFailure(f"Output {name!r}: {error}") from None
    return read


def _tasks(
    output: _Output, bucket: Bucket, root: Path, shared: _Shared, *, beside: bool
) -> Iterator[crew.Task]:
    """One task per file, with the file already open: made while the folder is walked.

    `beside`: the store lies on the same disk as `root`, and answers nothing of use when that is full.
    """
    try:
        folder = open_below(root, output.folder.relative_to(root))
    except FileNotFoundError:
        output.skip("", "the folder no longer exists")
        return
    except IsLinkError:
        output.skip("", "a symbolic link is in the folder's place, and those are not followed")
        return
    except OSError as error:
        output.unreadable("", error)
        return
    try:
        for relative, descriptor in _walk(folder, output):
            if shared.hopeless or output.fruitless >= _FRUITLESS:
                os.close(descriptor)
                return
            found = os.fstat(descriptor)
            if shared.sent.get((output.name, relative)) == stamp(found):
                os.close(descriptor)
                shared.meter.add(found.st_size, objects=1)
                _arrived(output, found.st_size, shared)
                output.early += 1
                continue
            if beside and found.st_size > disk.free(root):
                os.close(descriptor)
                _no_room(output, relative, found.st_size, root, shared)
                continue
            yield partial(_send, output, bucket, relative, descriptor, shared)
    finally:
        os.close(folder)


def _walk(top: int, output: _Output) -> Iterator[tuple[str, int]]:
    """All regular files below an open folder, as relative path and open descriptor (the taker closes it)."""

    def takes(relative: str) -> bool:
        if cause := unfit(output.key(relative)):
            output.fail(ClientFailure(f"{shown(relative)} can't be an object: {cause}."))
        return cause is None

    for folder, relative, found in walk(top, takes, output.unreadable):
        if found is None and relative:
            output.skip(relative, "an empty folder")
        elif found is None:
            output.empty = True
        elif not stat.S_ISREG(found.st_mode):
            output.skip(relative, _kind(found.st_mode))
        elif takes(relative):
            try:
                descriptor = os.open(relative.rpartition("/")[2], FILE, dir_fd=folder)
            except OSError as error:
                output.unreadable(relative, error)
            else:
                yield relative, descriptor


def unfit(key: str) -> str | None:
    """Why no object can have this key."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if size > _KEY_LIMIT:
        return f"its key would be longer than {_KEY_LIMIT} bytes"
    return None


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link, and those are not followed"
    return "a socket, FIFO or device"


def _send(output: _Output, bucket: Bucket, relative: str, descriptor: int, shared: _Shared) -> None:
    try:
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                output.skip(relative, _kind(found.st_mode))
                return
            key, size = output.key(relative), found.st_size
            if size <= PART:
                data = file.read(PART + 1)
                if len(data) != size or not unchanged(found, os.fstat(descriptor)):
                    raise ClientFailure(
                        f"{shown(relative)} changed while it was uploaded. Something still writes it."
                    )
                sha256 = bucket.write(key, data)
                shared.meter.add(size, objects=1)
            else:
                with shared.large:
                    sha256 = bucket.write_file(key, _Counted(file, shared.meter), size)
                shared.meter.add(0, objects=1)
    except JobFailure as error:
        with shared.lock:
            output.fail(error)
            output.fruitless += not isinstance(error, Unaddressable)
            shared.hopeless = shared.hopeless or isinstance(error, StoreUnreachable | StoreFailing)
    except OSError as error:
        with shared.lock:
            output.unreadable(relative, error)
    else:
        shared.record(output.name, str(S3Uri(output.uri.bucket, key)), size, sha256)
        _arrived(output, size, shared)


def _no_room(output: _Output, relative: str, size: int, root: Path, shared: _Shared) -> None:
    failure = StoreFull(
        f"{shown(relative)} has {units.size(size)}, more than its store has room for. {disk.remedy(root)}"
    )
    with shared.lock:
        output.fail(failure)


def _arrived(output: _Output, size: int, shared: _Shared) -> None:
    with shared.lock:
        output.fruitless = 0
        output.files += 1
        output.bytes += size
        output.ended = time.monotonic()


class _Counted(io.FileIO):
    """A file that counts what is read of it."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        super().__init__(file.fileno(), closefd=False)
        self._meter = meter

    def read(self, size: int | None = -1, /) -> bytes:
        """As of every file."""
        data = super().read(size)
        self._meter.add(len(data))
        return data


def _left(output: _Output, started: float) -> Uploaded:
    if output.empty:
        output.tell(f"Output {output.name!r}: nothing was written to {output.local_path}.")
    seconds = max(0.0, output.ended - started)
    if output.files or not output.empty:
        output.tell(
            f"Output {output.name!r}: {output.local_path} -> {output.uri}, {output.files} "
            f"{'file' if output.files == 1 else 'files'}, {units.size(output.bytes)}, {seconds:.2f} s."
            + (f" {output.early} of them had been uploaded while the program ran." if output.early else ""),
        )
    return Uploaded(
        output.name, str(output.uri), output.files, output.bytes, seconds, output.early, output.skipped
    )


def shown(name: str) -> str:
    """A file's name for people, with bytes that are not UTF-8 as escapes."""
    return repr(os.fsencode(name).decode("utf-8", "backslashreplace"))
