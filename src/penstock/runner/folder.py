"""A run's folder on disk: what lies where. The engine makes it, the runner fills it, the engine removes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The places in one run's folder."""

    path: Path

    @property
    def run(self) -> Path:
        """What is to be done (`job.run.Run` as JSON; mode 0600: it holds keys)."""
        return self.path / "run.json"

    @property
    def pid(self) -> Path:
        """The runner's process id; true as long as `lock` is held."""
        return self.path / "pid"

    @property
    def stop(self) -> Path:
        """Exists when the run was asked to stop, perhaps before the runner could take signals."""
        return self.path / "stop"

    @property
    def journal(self) -> Path:
        """Events, one JSON line each, on disk before they count."""
        return self.path / "journal"

    @property
    def ending(self) -> Path:
        """Exists when the program has ended, and tells how (`ending.py`)."""
        return self.path / "ending"

    @property
    def manifest(self) -> Path:
        """The upload manifest: a line for each stored object."""
        return self.path / "manifest"

    @property
    def log(self) -> Path:
        """The program's output and the runner's notes, as log events."""
        return self.path / "log"

    def servers(self) -> list[str]:
        """Where the servers are that share the database; kept fresh by those of this machine, for all of its runs."""
        try:
            return (self.path.parent.parent / "servers").read_text().split()
        except OSError:
            return []

    @property
    def ml(self) -> Path:
        """What the program sees as `/opt/ml`."""
        return self.path / "ml"

    @property
    def scratch(self) -> Path:
        """What the program sees as `/tmp`."""
        return self.path / "tmp"

    @property
    def uppers(self) -> Path:
        """What the program writes to inputs that it shares with others."""
        return self.path / "uppers"

    @property
    def layer(self) -> Path:
        """What a script installs by itself, in the job's own layer over its environment."""
        return self.path / "env"
