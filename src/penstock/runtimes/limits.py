"""Which means keep a program within its limits on this machine, and one program kept so."""

from __future__ import annotations

import os
import platform
import re
import resource
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from penstock.errors import InternalFailure
from penstock.runtimes.base import Limits, Resource
from penstock.runtimes.groups import Groups, nests
from penstock.runtimes.watch import Watch
from penstock.small import tell

#: `auto`: control groups where they can be had, else the watch.
MEANS = ("auto", "cgroup", "watch", "off")

#: Since when RLIMIT_NPROC counts the processes of a user namespace, and not all that the user has.
_COUNTS_NAMESPACES = (5, 14)

#: Of -1000 to 1000: when the machine itself has no memory left, the kernel ends a program before anything else.
_FIRST_TO_GO = "500"

_DELEGATION = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu memory pids\\n' | "
    "sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload; log in anew; then: "
    "systemd-run --user --unit=penstock penstock serve"
)


class Keeper:
    """Keeps one program, with all that it starts, within its limits."""

    def __init__(self, limits: Limits, means: str) -> None:
        """Prepare for a program that is about to be started, by one of `MEANS`.

        Raises:
            InternalFailure: Control groups are asked for and can't be had.
        """
        self._limits = Limits() if means == "off" else limits
        where = nests() if means in {"auto", "cgroup"} else []
        if means == "cgroup" and not where:
            raise InternalFailure(
                "PENSTOCK_LIMITS=cgroup, but there is no control group here in which memory can be limited. "
                "PENSTOCK_LIMITS=auto or watch does without; `penstock doctor` says how to have them."
            )
        if self._limits.memory is None and self._limits.cpus is None and self._limits.processes is None:
            where = []
        self._means = means
        self._groups: Groups | None = None
        self.notes: list[str] = []
        """What the job's log should say of how its limits are kept."""
        if where:
            try:
                self._groups = Groups(self._limits, where)
            except InternalFailure as failure:
                self._do_without_groups(failure)
        self._watch: Watch | None = None
        self._closing = threading.Lock()
        self._exceeded: frozenset[Resource] | None = None

    def around(self) -> AbstractContextManager[None]:
        """What this thread starts meanwhile is the program's."""
        return self._groups.around() if self._groups else nullcontext()

    def admit(self, first: int) -> None:
        """Limit process 1, which has no children yet: they take after it."""
        if self._groups:
            try:
                self._groups.admit(first)
            except InternalFailure as failure:
                self._do_without_groups(failure)
        if self._limits.cpus is not None:
            os.sched_setaffinity(first, self._limits.cpus)
        if self._limits.processes is not None and "pids" not in self._grouped() and _counts_namespaces():
            most = self._limits.processes + 1  # process 1 counts
            resource.prlimit(first, resource.RLIMIT_NPROC, (most, most))
        if self._limits.memory is not None:
            with suppress(OSError):  # it is a help, no limit
                tell(f"/proc/{first}/oom_score_adj", _FIRST_TO_GO)

    def watch(self, find: Callable[[], int | None], handle: int, end: Callable[[], None]) -> None:
        """Look after what no control group does, from now on; see `Watch`."""
        left = replace(
            self._limits,
            memory=None if "memory" in self._grouped() else self._limits.memory,
            processes=None if "pids" in self._grouped() else self._limits.processes,
        )
        if left.memory is not None or left.processes is not None:
            self._watch = Watch(find, handle, left, end)

    def exceeded(self) -> frozenset[Resource]:
        """See `Running.exceeded`."""
        with self._closing:
            return self._so_far() if self._exceeded is None else self._exceeded

    def close(self) -> None:
        """All of the program's processes have ended, or none was started. May be repeated, by any thread."""
        with self._closing:
            if self._exceeded is None:
                if self._watch:
                    self._watch.join()
                self._exceeded = self._so_far()
                if self._groups:
                    self._groups.remove()

    def _do_without_groups(self, failure: InternalFailure) -> None:
        """Leave all to the watch, unless groups were asked for: a job is worth more than its limits."""
        if self._means == "cgroup":
            raise failure
        self.notes.append(f"The program's limits are kept less strictly: {failure}")
        if self._groups:
            self._groups.remove()
            self._groups = None

    def _grouped(self) -> frozenset[str]:
        return self._groups.controllers if self._groups else frozenset()

    def _so_far(self) -> frozenset[Resource]:
        watched = self._watch.exceeded if self._watch else frozenset()
        return watched | (self._groups.exceeded() if self._groups else frozenset())


def sweep() -> None:
    """Remove what runners that were killed have left; each start of a program does so, too."""
    for nest in nests():
        nest.sweep()


@dataclass(frozen=True)
class Report:
    """How limits stand on this machine."""

    enforced: bool
    """Whether the kernel itself keeps all of them."""
    detail: str
    fix: str | None = None


def report(means: str) -> Report:
    """What keeps programs within their limits here, and what would do better."""
    if means == "off":
        return Report(
            False, "PENSTOCK_LIMITS=off: programs may use all of the machine's processors and memory."
        )
    where = nests() if means != "watch" else []
    if not where:
        detail = (
            "memory and processes are looked at many times a second, and a program that uses too much is ended; "
            "processors are given out by number, which a program can undo."
        )
        if means == "watch":
            return Report(False, f"PENSTOCK_LIMITS=watch: {detail}")
        detail = f"no control group can be used: {detail}"
        if means == "cgroup":
            detail = (
                "PENSTOCK_LIMITS=cgroup, but there is no control group here in which memory can be limited."
            )
        return Report(False, detail, _remedy())
    held = {controller for nest in where for controller in nest.controllers}
    places = ", ".join(sorted({str(nest.folder) for nest in where}))
    version = "2" if any(nest.unified for nest in where) else "1"
    detail = f"{_listed(held)} by control groups (version {version}): {places}"
    missing = {"memory", "cpu", "pids"} - held
    if missing:
        return Report(
            False, f"{detail}; not delegated: {_listed(missing)}, which is kept less strictly", _remedy()
        )
    return Report(True, detail)


def _listed(controllers: set[str]) -> str:
    words = {"memory": "memory", "cpu": "processors", "pids": "processes"}
    return ", ".join(word for name, word in words.items() if name in controllers)


def _remedy() -> str:
    if Path("/run/systemd/system").is_dir():
        return _DELEGATION
    return "run Penstock where it may write to control groups: as root, by systemd, or in a container that has some"


@cache
def _counts_namespaces() -> bool:
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return version is not None and tuple(map(int, version.groups())) >= _COUNTS_NAMESPACES
