"""Where runs lie that this machine's servers have started: each server's in its own home.

A server can look after the runs of another one whose processes it sees and whose home it may write: whether a runner
lives is the kernel's word, whoever asks.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.engines.local import LocalEngine
from penstock.home import Home

_log = logging.getLogger(__name__)

#: In the folder of a server's runs: where its runners find the servers that live, an address a line.
SERVERS = "servers"


class Places:
    """The engines of this machine's homes."""

    def __init__(self, machine: str, release: Callable[[Path], None]) -> None:
        """`machine` names this machine as other servers on it do; `release` is as for a `LocalEngine`."""
        self._machine = machine
        self._release = release
        self._found: dict[str, tuple[Path, LocalEngine]] = {}
        self._told: dict[Path, str] = {}

    def reach(self, place: str, machine: str, home: str) -> LocalEngine | None:
        """The engine of the server `place` with that home; None when it is not on this machine, or not ours to use."""
        folder = Path(home) / "runs"
        if machine != self._machine or Home(Path(home)).known_id() != place or not _usable(folder):
            return None
        if place not in self._found:
            self._found[place] = folder, LocalEngine(folder, self._release)
        return self._found[place][1]

    def tell(self, own: Path, addresses: Sequence[str]) -> None:
        """Tell runners in the folder `own`, and in those that were reached, where servers live."""
        text = "".join(f"{address}\n" for address in addresses)
        for folder in (own, *(folder for folder, _ in self._found.values())):
            if self._told.get(folder) == text:
                continue
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                new = folder / f".{SERVERS}.{os.getpid()}"
                new.write_text(text)
                new.replace(folder / SERVERS)
            except OSError:
                _log.exception("Runners in %s can't be told where servers are; it is tried again", folder)
            else:
                self._told[folder] = text


def _usable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
