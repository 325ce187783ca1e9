"""A run's folder on disk: what lies where. The engine makes it, the runner fills it, the engine removes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The places in one run's folder."""

    path: Path

    @cached_property
    def run(self) -> Path:
        """What is to be done (`job.run.Run` as JSON; mode 0600: it holds keys)."""
        return self.path / "run.json"

    @cached_property
    def pid(self) -> Path:
        """The runner's process id; true as long as `lock` is held."""
        return self.path / "pid"

    @cached_property
    def stop(self) -> Path:
        """Exists when the run was asked to stop, perhaps before the runner could take signals."""
        return self.path / "stop"

    @cached_property
    def journal(self) -> Path:
        """Events, one JSON line each, on disk before they count, also how the program ended (`ending.py`)."""
        return self.path / "journal"

    @cached_property
    def manifest(self) -> Path:
        """The upload manifest: a line for each stored object; made with the first."""
        return self.path / "manifest"

    @cached_property
    def log(self) -> Path:
        """The program's output and the runner's notes, as log events."""
        return self.path / "log"

    def servers(self) -> list[str]:
        """Where the servers are that share the database; kept fresh by those of this machine, for all of its runs."""
        try:
            return (self.path.parent.parent / "servers").read_text().split()
        except OSError:
            return []

    @cached_property
    def ml(self) -> Path:
        """What the program sees as `/opt/ml`."""
        return self.path / "ml"

    @cached_property
    def scratch(self) -> Path:
        """What the program sees as `/tmp`."""
        return self.path / "tmp"

    @cached_property
    def uppers(self) -> Path:
        """What the program writes to inputs that it shares with others."""
        return self.path / "uppers"

    @cached_property
    def layer(self) -> Path:
        """What a script installs by itself, in the job's own layer over its environment."""
        return self.path / "env"
