"""Seconds of processors, counted by the kernel for groups of processes: also of those that ended and were forgotten."""

import contextlib
import math
import os
from pathlib import Path

#: The kernel's counters: version 1 of control groups, then version 2, whose groups have theirs without a controller.
_COUNTERS = (
    ("/sys/fs/cgroup/cpuacct", "cpuacct.usage", 1e9),
    ("/sys/fs/cgroup", "cpu.stat", 1e6),
    ("/sys/fs/cgroup/unified", "cpu.stat", 1e6),
)


class Effort:
    """What processes spend that were put into it, with all that they start from then on; NaN where nobody counts."""

    def __init__(self, group, file, scale):
        self._group, self._file, self._scale = group, file, scale

    def admit(self, pid):
        """From now on process `pid` counts here, with its threads; 0 is this one."""
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(pid))

    def spent(self):
        """Seconds so far."""
        if self._group is None:
            return math.nan
        return (
            int((self._group / self._file).read_text().removeprefix("usage_usec ").split()[0]) / self._scale
        )


@contextlib.contextmanager
def efforts(*names):
    """An `Effort` for each name. Whoever is in one when this ends goes back to where nobody counts."""
    for top, file, scale in _COUNTERS:
        groups = {name: Path(top) / f"penstock-bench-{os.getpid()}-{name}" for name in names}
        try:
            for group in groups.values():
                group.mkdir()
                (group / file).read_text()
        except OSError:
            _remove(groups.values())
            continue
        try:
            yield {name: Effort(group, file, scale) for name, group in groups.items()}
        finally:
            for group in groups.values():
                for pid in (group / "cgroup.procs").read_text().split():
                    with contextlib.suppress(OSError):  # it has just ended
                        (Path(top) / "cgroup.procs").write_text(pid)
            _remove(groups.values())
        return
    yield {name: Effort(None, "", 1) for name in names}


def _remove(groups):
    for group in groups:
        with contextlib.suppress(OSError):
            group.rmdir()
