"""An engine whose runners are simulated ones, and the disk on which their runs lie."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from penstock.engines.base import Life, Remains
from penstock.job.claim import Resources
from penstock.job.events import HostEvent
from penstock.job.run import Run
from penstock.testing.fake_engine import FakeEngine, FakeRun


@dataclass
class Disk:
    """The folder of one run."""

    run: Run
    journal: BytesIO = field(default_factory=BytesIO)
    log: BytesIO = field(default_factory=BytesIO)
    manifest: BytesIO = field(default_factory=BytesIO)
    ml: bool = False
    """Whether the program's folder is there."""
    stop: bool = False
    """The mark of a stop that was asked for."""

    ending: tuple[bool, int, str | None] | None = None
    """Whether its program was halted, its exit code, and why else it failed, once it has ended; counts until the
    machine is down."""
    synced: dict[str, int] = field(default_factory=lambda: {"journal": 0, "manifest": 0, "log": 0})
    """How much of each file no loss of power takes."""

    def sync(self, name: str) -> None:
        """Bring a file to disk for good."""
        self.synced[name] = len(getattr(self, name).getvalue())

    def lose(self, chance: random.Random) -> bool:
        """What a loss of power takes: what was not synced, perhaps. False: also that it was ever started."""
        self.ending = None
        if not self.synced["journal"] and chance.random() < 0.2:  # as before the start
            self.journal, self.log, self.manifest = BytesIO(), BytesIO(), BytesIO()
            self.ml = self.stop = False
            return False
        for name, safe in self.synced.items():
            file: BytesIO = getattr(self, name)
            held = len(file.getvalue())
            file.truncate(chance.choice((held, chance.randint(safe, held), safe)))
        return True


class SimulatedEngine(FakeEngine):
    """The fake engine, with a disk that dead runners leave behind."""

    def __init__(
        self, on_start: Callable[[str, Disk], None], on_stop: Callable[[str], None], room: Resources
    ) -> None:
        super().__init__(room)
        self.disks: dict[str, Disk] = {}
        self._started = on_start
        self._asked = on_stop
        self.on_start = self._begin
        self.on_stop = self._ask

    def prepare(self, run: Run) -> str:
        """Write what the runner is told; an earlier run of the same host may lie there."""
        handle = super().prepare(run)
        self.runs[handle].run = run
        disk = self.disks.setdefault(handle, Disk(run))
        disk.run = run
        return handle

    def start(self, handle: str) -> None:
        """Look into the journal first."""
        if handle in self.disks:
            self.runs[handle].left = _events(self.disks[handle].journal)
        super().start(handle)

    def remains(self, handle: str, log_from: int) -> Remains:
        """Read the journal and the log."""
        disk = self.disks.get(handle)
        if disk is not None:
            found = self.runs[handle]
            found.left = _events(disk.journal)
            found.log = disk.log.getvalue()
        return super().remains(handle, log_from)

    def manifest(self, handle: str, start: int) -> bytes:
        """Read on in the upload manifest."""
        disk = self.disks.get(handle)
        if disk is not None:
            self.runs[handle].manifest = disk.manifest.getvalue()
        return super().manifest(handle, start)

    def forget(self, handle: str) -> None:
        """Remove the run and its disk."""
        super().forget(handle)
        self.disks.pop(handle, None)

    def died(self, handle: str) -> None:
        """The run's runner is no more."""
        if handle in self.runs:
            self.runs[handle].life = Life.DEAD

    def power_lost(self, chance: random.Random) -> list[str]:
        """All runners are dead, and what was not synced may be gone; returns the runs whose folders are."""
        gone = []
        for handle, found in list(self.runs.items()):
            disk = self.disks[handle]
            if found.life is not Life.NEVER_STARTED:
                found.life = Life.DEAD if disk.lose(chance) else Life.NEVER_STARTED
            if found.life is Life.NEVER_STARTED and chance.random() < 0.5:
                self.forget(handle)
                gone.append(handle)
        return gone

    def _begin(self, found: FakeRun) -> None:
        self._started(found.run.handle, self.disks[found.run.handle])

    def _ask(self, found: FakeRun) -> None:
        self.disks[found.run.handle].stop = True
        self._asked(found.run.handle)


def _events(journal: BytesIO) -> list[HostEvent]:
    events = []
    for line in journal.getvalue().splitlines():
        with contextlib.suppress(ValueError):  # a last line cut off by the crash
            events.append(HostEvent.from_json(json.loads(line)))
    return events
