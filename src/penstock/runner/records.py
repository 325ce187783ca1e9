"""What a run leaves in writing, for its server to take."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.data.meter import Meter
from penstock.runner.journal import Journal
from penstock.runner.logs import LogWriter
from penstock.runner.manifest import Manifest


@dataclass(frozen=True)
class Records:
    """Events, lines for the log, the objects that are stored, and how far a transfer is."""

    journal: Journal
    log: LogWriter
    manifest: Manifest
    meter: Meter
