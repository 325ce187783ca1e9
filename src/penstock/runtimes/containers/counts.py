"""What a container ran into, by the kernel's own counts in its control groups.

Engines tell of memory, but not all of them always: Podman 4 says nothing where control groups are of version 1. Of
processes they tell nothing. So the counts are read before the engine has removed the groups.
"""

from __future__ import annotations

import re
from pathlib import Path

from penstock.runtimes.base import Resource

_ROOT = Path("/sys/fs/cgroup")
#: Resource -> controller, the file of either version, and what counts in it.
_COUNTS: dict[Resource, tuple[str, str, str, str]] = {
    "memory": ("memory", "memory.oom_control", "memory.events", "oom_kill"),
    "processes": ("pids", "pids.events", "pids.events", "max"),
}


class Counts:
    """Of the control groups in which one process is."""

    def __init__(self, pid: int, proc: Path = Path("/proc"), root: Path = _ROOT) -> None:
        """Find the groups; where there are none to be seen, nothing will have been counted."""
        self._files: dict[Resource, Path] = {}
        try:
            lines = (proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            return
        # The line of version 2 has no controllers and comes last: what version 1 has found stays.
        for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
            for resource, (controller, first, second, _) in _COUNTS.items():
                if controller in controllers.split(","):
                    self._files[resource] = root / controller / path.lstrip("/") / first
                elif not controllers:
                    self._files.setdefault(resource, root / path.lstrip("/") / second)

    def exceeded(self) -> frozenset[Resource]:
        """What was run into so far."""
        return frozenset(resource for resource in self._files if self._count(resource))

    def _count(self, resource: Resource) -> int:
        try:
            text = self._files[resource].read_text()
        except OSError:
            return 0  # removed already
        found = re.search(rf"^{_COUNTS[resource][3]} (\d+)$", text, re.MULTILINE)
        return int(found[1]) if found else 0
