"""This machine as an engine: each run is a runner process of its own, in a session of its own.

The runner outlives the server. Whether it lives is asked of the kernel: the server locks `lock` in the run's
folder and hands the locked file down to the runner, so the lock is held exactly as long as a runner lives, from
before its first instruction on, whatever becomes of pids.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock import disk
from penstock.engines.base import Life, Machine, Remains, Reservation, alone
from penstock.engines.nursery import Nursery, runner_environment
from penstock.engines.removal import remove
from penstock.errors import InternalFailure, PenstockError
from penstock.job.claim import Claim, Resources
from penstock.job.events import HostEvent
from penstock.job.run import Run

_log = logging.getLogger(__name__)

#: How much of a dead runner's log is read at a time.
_CHUNK = 8 << 20
#: Said where a file is opened: else Python asks whether it is a terminal.
_BUFFER = 1 << 16


class LocalEngine:
    """Runs on this machine, each in a folder below `folder`."""

    name = "local"

    def __init__(
        self,
        folder: Path,
        release: Callable[[Path], None] = lambda _: None,
        capacity: Resources = Resources(),  # noqa: B008 - frozen
    ) -> None:
        """`release` lets go of what a run has outside of its folder, before that is removed.

        `capacity` is what is given out of this machine; an engine that only looks after runs gives out nothing.
        """
        self._folder = folder
        self._release = release
        self._capacity = capacity
        self._nursery: Nursery | None = None

    def warm_up(self) -> None:
        """Keep a process ready from which runners are forked: a tenth of a second less a job."""
        self._folder.mkdir(parents=True, exist_ok=True)
        disk.spread(self._folder)
        self._nursery = Nursery()

    def capacity(self) -> Resources:
        """As it was told."""
        return self._capacity

    def parts(self) -> Sequence[LocalEngine]:
        """It is of one piece."""
        return (self,)

    def machines(self) -> Sequence[Machine]:
        """This one, with the runs whose folders are there."""
        jobs: dict[str, list[str]] = {}
        for folder in self._folder.glob("*/algo-*"):
            jobs.setdefault(folder.parent.name, []).append(folder.name)
        return [Machine(socket.gethostname(), "", self.name, self._capacity, jobs=jobs)]

    def lacking(self, wanted: Resources) -> str | None:  # noqa: ARG002 - as the protocol has it
        """Nothing: what is larger than the machine runs alone on all of it."""
        return None

    def reserve(self, job_uid: str, wanted: Resources, beside: Claim | None = None) -> Reservation:  # noqa: ARG002
        """All that runs here is planned by the queue, and what is planned has room."""
        return alone(wanted, self._capacity)

    def want(self, waiting: Callable[[], Iterable[Claim]]) -> None:
        """There is one machine."""

    def cancel(self, job_uid: str) -> None:
        """Nothing was taken."""

    def prepare(self, run: Run) -> str:
        """Make the run's folder; the handle is its path below the engine's folder."""
        handle = run.handle
        folder = self._path(handle)
        try:
            self._make(folder)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make(folder)
        descriptor = os.open(f"{folder}/run.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb", _BUFFER) as file:
            file.write(run.to_json().encode())
        return handle

    def knows(self, handle: str) -> bool:
        """Whether its folder is there."""
        return (self._folder / handle).is_dir()

    def start(self, handle: str) -> None:
        """Start the runner with nothing of the server's but the lock."""
        folder = self._path(handle)
        try:
            lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:  # a machine that lost power may have lost the folder
            raise InternalFailure(f"The runner could not be started on this machine: {error}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if any(event.kind == "ended" for event in _events(folder)):
                return  # so has one that has done its work since
            if not (self._nursery and self._nursery.fork(folder, lock)):
                _spawn(folder, lock)
                if self._nursery:  # it has died: the next run is forked from another one
                    self.close()
                    self.warm_up()
        except BlockingIOError:
            return  # it lives: the answer to an earlier start was lost
        except OSError as error:
            raise InternalFailure(f"The runner could not be started on this machine: {error}.") from error
        finally:
            os.close(lock)

    def close(self) -> None:
        """End what was kept ready for runners. They themselves go on."""
        if self._nursery:
            self._nursery.close()

    def probe(self, handle: str) -> Life:
        """Ask the kernel whether the run's lock is held."""
        try:
            lock = os.open(f"{self._path(handle)}/lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return Life.NEVER_STARTED
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Life.ALIVE
        finally:
            os.close(lock)
        return Life.DEAD

    def stop(self, handle: str) -> None:
        """A mark for a runner that is just starting, SIGTERM for one that works: its pid is true while it lives.

        The mark comes first: a runner looks for it when it has told its pid. When its run is over it locks the file of
        its pid, empties it, and looks once more: it does no other run, which the signal could meet.
        """
        if self.probe(handle) is not Life.ALIVE:
            return
        folder = self._folder / handle
        (folder / "stop").touch()
        # A lock that is held is the runner's: its run is over just now.
        with contextlib.suppress(FileNotFoundError, BlockingIOError), (folder / "pid").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(file.read()), signal.SIGTERM)

    def remains(self, handle: str, log_from: int) -> Remains:
        """Read the journal, the log and the error output of a dead runner."""
        folder = self._path(handle)
        words = _read(f"{folder}/runner.err", 0)[-2000:].decode("utf-8", "replace").strip()
        return Remains(_events(folder), _read(f"{folder}/log", log_from, _CHUNK), words)

    def manifest(self, handle: str, start: int) -> bytes:
        """Read on in the upload manifest of a dead runner."""
        return _read(f"{self._path(handle)}/manifest", start, _CHUNK)

    def forget(self, handle: str) -> None:
        """Remove the run's folder, and the job's when it was the last."""
        folder = self._path(handle)
        try:
            self._release(Path(folder))
        except PenstockError:
            _log.exception("What run %s has beside its folder stays", handle)
        try:
            remove(folder)
        except FileNotFoundError:
            pass
        except (OSError, RecursionError):
            # A program may leave folders without rights, or nested deeper than Python goes. Neither command
            # follows links.
            subprocess.run(["chmod", "-R", "u+rwX", folder], check=False, capture_output=True)
            subprocess.run(["rm", "-rf", "--", folder], check=False, capture_output=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(folder))  # noqa: PTH106, PTH120

    def sweep(self, keep: set[str]) -> None:
        """Look through all runs' folders."""
        for folder in self._folder.glob("*/*"):
            handle = f"{folder.parent.name}/{folder.name}"
            try:
                if handle not in keep and self.probe(handle) is not Life.ALIVE:
                    self.forget(handle)
            except OSError:
                _log.exception("The folder of run %s can't be removed", handle)
        for job in self._folder.glob("*"):
            with contextlib.suppress(OSError):
                job.rmdir()  # one whose last run could not remove it, or whose first was never made

    def tidy(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - as the protocol has it
        """It has no machine but the server's own."""
        return {}

    def _path(self, handle: str) -> str:
        """The folder of a run, as a text: each pass asks for all runs that go on, and a `Path` takes longer."""
        return f"{self._folder}/{handle}"

    def _make(self, folder: str) -> None:
        """Make the folder of a run, in that of its job, below the engine's."""
        for path in (os.path.dirname(folder), folder):  # noqa: PTH120
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)  # noqa: PTH102


def _spawn(folder: str, lock: int) -> None:
    """A runner as a process of its own from the start."""
    errors = os.open(f"{folder}/runner.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "penstock.runner", folder],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=(lock,),
            start_new_session=True,
            cwd="/",
            env=runner_environment(),
        )
    finally:
        os.close(errors)
    # Whoever starts a process must wait for it, or it stays in the table of processes.
    threading.Thread(target=child.wait, name=f"reap {Path(folder).name}", daemon=True).start()


def _events(folder: str) -> list[HostEvent]:
    """What the journal of a run has."""
    events = []
    for line in _read(f"{folder}/journal", 0).splitlines():
        with contextlib.suppress(ValueError):  # a last line cut off by the crash
            events.append(HostEvent.from_json(json.loads(line)))
    return events


def _read(path: str, start: int, most: int = -1) -> bytes:
    try:
        with open(path, "rb", _BUFFER) as file:  # noqa: PTH123
            file.seek(start)
            return file.read(most)
    except FileNotFoundError:
        return b""
