"""Whether the kernel has killed a process of a container for its memory.

Engines tell of it, but not all of them always: Podman 4 says nothing where control groups are of version 1. So the
kernel's own count is looked at, in the container's control group, before the engine has removed that.
"""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class Kills:
    """The kills in the control group of one process."""

    def __init__(self, pid: int, proc: Path = Path("/proc"), root: Path = _ROOT) -> None:
        """Find the group; where there is none to be seen, nothing will have been killed."""
        self._file: Path | None = None
        try:
            lines = (proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            return
        for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
            if "memory" in controllers.split(","):
                self._file = root / "memory" / path.lstrip("/") / "memory.oom_control"
                return
            if not controllers:
                self._file = root / path.lstrip("/") / "memory.events"

    def any(self) -> bool:
        """Whether there has been one so far."""
        try:
            text = self._file.read_text() if self._file else ""
        except OSError:
            return False  # removed already
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return found is not None and int(found[1]) > 0
