"""Outputs of S3UploadMode Continuous: files go to S3 while the program runs.

The kernel tells (inotify) when a file is closed after writing or gets its name; it is uploaded then. Whether a file
was closed before its folder was watched is asked of it, too (by a lease). A scan now and then finds what nobody told
of: the files of a queue that ran over, and those that are held open but have not changed for a while. What is sent
early is a promise about one state of a file only: the upload at the end of the job takes all that is missing in S3
or has changed since.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inotify_simple import INotify, flags

from penstock.data.folder import (
    FOLDER,
    IsLinkError,
    Stamp,
    SteadyFile,
    is_closed,
    open_below,
    open_file_below,
    stamp,
)
from penstock.data.outputs import Record, Sent, read_outputs, shown, unfit, usable_key
from penstock.data.storage import PART, Opener, open_bucket
from penstock.data.uri import S3Uri
from penstock.errors import JobFailure
from penstock.job.run import S3Access

#: From a file's closing to its upload, so that one that is rewritten or renamed at once is uploaded once.
_PAUSE = 0.2
#: A file that changed less than this before it was opened is not taken: file times are some 10 ms coarse, so another
#: change might leave them as they are.
_COARSE = 0.05
_QUIET = 10.0  # seconds without a change, for a file that nobody was heard to close
_SCAN_EVERY = 10.0
_SCAN_SHARE = 20  # scans take at most so small a part of the time: one in 20
_AT_ONCE = 4

_MASK = flags.CLOSE_WRITE | flags.MOVED_TO | flags.CREATE | flags.ONLYDIR

#: An output's number and a path below its LocalPath.
_Place = tuple[int, str]


@contextmanager
def uploading(
    outputs: Sequence[Mapping[str, Any]],
    *,
    kms_key: str | None,
    root: Path,
    access: S3Access,
    progress: Callable[[str], None],
    record: Record = lambda *_: None,
    opener: Opener = open_bucket,
) -> Iterator[dict[tuple[str, str], Stamp]]:
    """Upload the files of Continuous outputs while the block runs; the arguments are those of `outputs.upload`.

    The folders must exist. Failures are told to the log, and are left to the upload at the end.

    Yields:
        Filled once the block has ended: what is in S3, as `outputs.upload` takes it.
    """
    sent: dict[tuple[str, str], Stamp] = {}
    wanted = [
        one
        for one in outputs
        if (one.get("S3Output") or {}).get("S3UploadMode") == "Continuous" and not one.get("AppManaged")
    ]
    if not wanted:
        yield sent
        return
    watch = _Watch(wanted, kms_key, root, access, progress, record, opener)
    watch.start()
    try:
        yield sent
    finally:
        sent.update(watch.finish())


@dataclass(frozen=True)
class _Due:
    """A file to be uploaded."""

    at: float
    """By the monotonic clock."""
    closed: bool
    """Whether it is known to have been closed."""


class _Watch:
    def __init__(
        self,
        outputs: Sequence[Mapping[str, Any]],
        kms_key: str | None,
        root: Path,
        access: S3Access,
        progress: Callable[[str], None],
        record: Record,
        opener: Opener,
    ) -> None:
        self._root, self._progress, self._record = root, progress, record
        self._outputs = read_outputs(outputs, root)
        self._buckets = [
            opener(access, bucket, usable_key(kms_key, access.at(bucket)))
            for bucket in (output.uri.bucket for output in self._outputs)
        ]
        self._inotify = _inotify(progress)
        self._folders: dict[int, dict[int, str]] = {}
        """Watch -> the folder's places now: in each output's own folder, as those may lie in one another."""
        self._due: dict[_Place, _Due] = {}
        """In the order in which it is due."""
        self._scan_at = 0.0
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False
        self._deaf = False
        self._lock = threading.Lock()  # for what follows, which the uploading threads change
        self._busy: set[_Place] = set()
        self._failed: set[_Place] = set()
        self._sent: dict[_Place, Stamp] = {}
        self._sent_open: dict[_Place, Stamp] = {}
        """Sent for being quiet. As someone may write to them still, in ways that leave no trace in their times (a
        mapping of memory), these don't count at the end."""
        self._pool = ThreadPoolExecutor(_AT_ONCE, "continuous")
        self._thread = threading.Thread(target=self._run, name="continuous", daemon=True)

    def start(self) -> None:
        """Watch the folders, then go on in the background."""
        self._scan()
        self._thread.start()

    def finish(self) -> Sent:
        """To be called once nobody writes any more. Returns what is in S3 when the uploads under way have ended."""
        self._ending = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._pool.shutdown()
        self._listen()  # what was closed last
        for place in self._due:
            self._sent.pop(place, None)
        if self._inotify is not None:
            self._inotify.close()
        os.close(self._wake)
        return {(self._outputs[number].name, path): found for (number, path), found in self._sent.items()}

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._inotify is not None:
            poll.register(self._inotify.fileno(), select.POLLIN)
        try:
            while not self._ending:
                ready = {descriptor for descriptor, _ in poll.poll(1000 * self._idle())}
                if self._wake in ready:
                    os.eventfd_read(self._wake)
                self._listen()
                if time.monotonic() >= self._scan_at:
                    self._scan()
                self._begin()
        except Exception:  # noqa: BLE001 -- the job is none the worse: all is uploaded at its end
            traceback.print_exc()
            self._progress(
                "Continuous upload came to an end before its time; all is uploaded when the job ends."
            )
            with self._lock:
                self._sent.clear()

    def _idle(self) -> float:
        """Seconds in which there will be nothing to do, unless somebody tells."""
        until = self._scan_at
        with self._lock:
            if len(self._busy) < _AT_ONCE and self._due:
                until = min(until, next(iter(self._due.values())).at)
        return max(0.0, until - time.monotonic())

    def _listen(self) -> None:
        """Take up what the kernel tells."""
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                # Whatever has been sent may have been written since.
                self._scan_at = 0.0
                with self._lock:
                    self._sent.clear()
                continue
            if event.mask & flags.IGNORED:
                self._folders.pop(event.wd, None)
            for number, base in [*self._folders.get(event.wd, {}).items()]:
                path = f"{base}/{event.name}" if base else event.name
                if event.mask & flags.ISDIR:
                    self._enter(number, path)
                elif event.mask & (flags.CLOSE_WRITE | flags.MOVED_TO):
                    self._set_due((number, path), _Due(time.monotonic() + _PAUSE, closed=True))

    def _set_due(self, place: _Place, due: _Due) -> None:
        self._due.pop(place, None)  # last in the order
        self._due[place] = due
        with self._lock:
            self._failed.discard(place)

    def _scan(self) -> None:
        """Go through all folders: watch them, and find the files that are quiet and not in S3."""
        started = time.monotonic()
        for number in range(len(self._outputs)):
            self._enter(number, "")
        now = time.monotonic()
        self._scan_at = now + max(_SCAN_EVERY, _SCAN_SHARE * (now - started))

    def _enter(self, number: int, path: str) -> None:
        try:
            folder = open_below(self._root, self._outputs[number].folder.relative_to(self._root) / path)
        except (IsLinkError, OSError):
            return  # it is gone, or is none; the upload at the end says so
        try:
            self._explore(number, folder, path)
        finally:
            os.close(folder)

    def _explore(self, number: int, folder: int, base: str) -> None:
        self._listen_to(folder, (number, base))
        within = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    path = f"{base}/{entry.name}" if base else entry.name
                    if unfit(self._outputs[number].key(path)):
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        within.append((entry.name, path))
                    elif stat.S_ISREG(found.st_mode):
                        self._see((number, path), found, folder)
            for name, path in within:
                inner = os.open(name, FOLDER, dir_fd=folder)
                try:
                    self._explore(number, inner, path)
                finally:
                    os.close(inner)
        except OSError:
            return  # it changed under our hands; the next scan comes

    def _listen_to(self, folder: int, place: _Place) -> None:
        if self._inotify is None:
            return
        try:
            # The folder that was opened, whatever its name leads to by now.
            watch = self._inotify.add_watch(f"/proc/self/fd/{folder}/.", _MASK)
            self._folders.setdefault(watch, {})[place[0]] = place[1]
        except OSError as error:
            if not self._deaf:
                self._deaf = True
                self._progress(
                    f"Not all folders of outputs can be watched ({error.strerror}; fs.inotify.max_user_watches is the "
                    f"limit). They are looked through every {_SCAN_EVERY:.0f} s."
                )

    def _see(self, place: _Place, found: os.stat_result, folder: int) -> None:
        if place in self._due:
            return
        now = stamp(found)
        with self._lock:
            if place in self._busy or place in self._failed or self._sent.get(place) == now:
                return
            quiet = _age(found) >= _QUIET and self._sent_open.get(place) != now
        if is_closed(place[1].rpartition("/")[2], folder):
            # Where not all is watched, it could be opened again without our knowing.
            self._due[place] = _Due(
                time.monotonic() + _PAUSE, closed=self._inotify is not None and not self._deaf
            )
        elif quiet:
            self._due[place] = _Due(time.monotonic(), closed=False)

    def _begin(self) -> None:
        """Hand what is due to the uploading threads, as far as one of them is free."""
        now = time.monotonic()
        while self._due:
            place, due = next(iter(self._due.items()))
            with self._lock:
                if due.at > now or len(self._busy) >= _AT_ONCE:
                    return
                del self._due[place]
                if place not in self._busy:
                    self._busy.add(place)
                    self._pool.submit(self._send, place, due)
                    continue
            self._due[place] = _Due(now + _PAUSE, due.closed)  # two at once might arrive in the wrong order

    def _send(self, place: _Place, due: _Due) -> None:
        try:
            self._upload(place, due)
        except (IsLinkError, OSError):
            pass  # it is gone, renamed or replaced; the upload at the end says what is wrong with it
        except JobFailure as failure:
            with self._lock:
                first = not self._failed
                self._failed.add(place)
            if first:
                name = self._outputs[place[0]].name
                self._progress(
                    f"Output {name!r}: {shown(place[1])} could not be uploaded while the program runs: {failure} "
                    "It is uploaded again when the job ends, as are others that fail."
                )
        finally:
            with self._lock:
                self._busy.discard(place)
            os.eventfd_write(self._wake, 1)

    def _upload(self, place: _Place, due: _Due) -> None:
        number, path = place
        output, bucket = self._outputs[number], self._buckets[number]
        if unfit(output.key(path)):
            return
        with SteadyFile(open_file_below(self._root, output.folder.relative_to(self._root) / path)) as file:
            if not stat.S_ISREG(file.found.st_mode) or _age(file.found) < _COARSE:
                return  # it will be closed once more, or found quiet
            size = file.found.st_size
            try:
                if size <= PART:
                    sha256 = bucket.write(output.key(path), file.read(PART + 1))
                else:
                    sha256 = bucket.write_file(output.key(path), file, size)
            except Exception:
                if file.changed:
                    return  # as above
                raise
            self._record(output.name, str(S3Uri(output.uri.bucket, output.key(path))), size, sha256)
            with self._lock:
                (self._sent if due.closed else self._sent_open)[place] = stamp(file.found)


def _age(found: os.stat_result) -> float:
    """Seconds since the last change. If the clock was set back it looks old: the end of the job sees to it."""
    age = time.time() - found.st_ctime
    return age if age >= 0 else _QUIET


def _inotify(progress: Callable[[str], None]) -> INotify | None:
    try:
        return INotify()
    except OSError as error:
        progress(
            f"Outputs can't be watched ({error.strerror}; fs.inotify.max_user_instances is the limit). Their folders "
            f"are looked through every {_SCAN_EVERY:.0f} s."
        )
        return None
