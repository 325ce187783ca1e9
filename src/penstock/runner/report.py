"""Sends log, upload manifest and journal to the server, from the last place it has acknowledged, until all is taken.

What is sent in which order is said in `outbox.py`. When no server answers, the runner keeps trying: its journal and
log are on disk, and `line.py` tells where the next server is.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from penstock.data.meter import Meter
from penstock.job.run import Run
from penstock.runner import helpers, scarcity
from penstock.runner.folder import RunFolder
from penstock.runner.helpers import Help
from penstock.runner.journal import Journal
from penstock.runner.line import Line, Refused
from penstock.runner.outbox import Outbox

_LONGEST_PAUSE = 2.0
#: What is new waits for so many seconds, and for a multiple of what the last report took: one that is busy is asked
#: less often. The end waits for nothing.
_GATHER, _LONGEST_GATHER, _REST = 0.1, 0.5, 10
#: It waits for so many seconds in a run that follows another one within a second: of many short ones, of which nobody
#: looks at each, a server hears once.
_GATHER_IN_ROW, _ROW = 0.25, 1.0
#: How often the progress of a transfer is told, in seconds.
_PROGRESS_EVERY = 0.5


class _Late:
    """A file to be read, empty until it is there.

    It is kept open: once the end has been heard, the run's folder is removed under our hands.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._place = 0

    def seek(self, place: int) -> None:
        self._place = place

    def read(self, size: int) -> bytes:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
        data = os.pread(self._descriptor, size, self._place)
        self._place += len(data)
        return data

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Reporter:
    """A thread that reports one run."""

    _last_at: ClassVar[float] = float("-inf")
    """When the last run of this process was over."""

    def __init__(self, run: Run, folder: RunFolder, refused: Callable[[], None]) -> None:
        self._run = run
        self._line = Line(run, folder)
        self._folder = folder
        self._log = _Late(folder.log)
        self._manifest = _Late(folder.manifest)
        self._refused = refused
        self._changed = threading.Event()
        self._all_said = threading.Event()
        self._outbox: Outbox | None = None
        self._meter: Meter | None = None
        self._loop_on: Help | None = None
        in_row = time.monotonic() - self._last_at < _ROW
        self._gather = max(_GATHER, _GATHER_IN_ROW if in_row else 0)

    def changed(self) -> None:
        """There is something new to send."""
        if not self._changed.is_set():  # else whoever waits for it will find this, too
            self._changed.set()

    def start(self, journal: Journal, meter: Meter) -> None:
        """Begin to report."""
        self._outbox, self._meter = Outbox(journal, self._log, self._manifest), meter
        self._loop_on = helpers.start(self._loop)

    def finish(self) -> None:
        """Return when all has been taken, or when nobody has answered for an hour."""
        self._all_said.set()
        self._changed.set()
        if self._loop_on is not None:
            self._loop_on.join()
        self._line.hand_on()
        self._log.close()
        self._manifest.close()
        Reporter._last_at = time.monotonic()

    def _loop(self) -> None:
        pause = 0.05
        gather = self._gather
        last_answer = time.monotonic()
        while True:
            moving = self._meter is not None and self._meter.is_moving
            self._changed.wait(_PROGRESS_EVERY if moving else None)
            self._all_said.wait(gather)
            self._changed.clear()
            finishing = self._all_said.is_set()
            began = time.monotonic()
            try:
                self._send_all()
            except Refused:
                self._refused()
                return
            except (OSError, http.client.HTTPException):
                if finishing and time.monotonic() - last_answer > self._run.patience:
                    return
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._changed.set()
                continue
            pause = 0.05
            last_answer = time.monotonic()
            gather = min(max(self._gather, _REST * (last_answer - began)), _LONGEST_GATHER)
            if finishing:
                return

    def _send_all(self) -> None:
        assert self._outbox is not None
        sending = self._outbox.posts()
        post = next(sending, None)
        while post is not None:
            # The server needs room for what it takes: where there is none, that of what it has taken is given up.
            scarcity.give_up_start(self._folder, self._folder.log, self._outbox.log_sent)
            reply = self._line.post(*post)
            try:
                post = sending.send(reply)
            except StopIteration:
                post = None
        progress = self._meter.read() if self._meter is not None else None
        if progress is not None:
            self._line.post("progress", json.dumps(progress.to_json()).encode())
