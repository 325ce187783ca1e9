"""A program's control groups: made below the own one of this process, entered, read and removed. See cgroups(7).

All lie in folders called `penstock`, one in each hierarchy, and are locked (flock) by the process that made them, for
as long as it lives. So whoever finds one that isn't locked may remove it, with all that still runs in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from penstock import cgroups
from penstock.cgroups import Place
from penstock.errors import InternalFailure
from penstock.runtimes.base import Limits, Resource
from penstock.small import read_small, tell

_NEST = "penstock"

#: What kernels that don't swap, or don't count it, are without.
_OPTIONAL = ("memory.swap.max", "memory.memsw.limit_in_bytes", "memory.swappiness")

#: Of the time that processors have, as the kernel counts it in microseconds.
_PERIOD = 100_000

#: The monitor and process 1, which stand in the program's groups beside it.
_OURS = 2

#: Seconds for which the kernel may take to let go of a group whose processes have ended.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Nest:
    """The folder in one hierarchy in which groups are made."""

    folder: Path
    unified: bool
    controllers: frozenset[str]
    outer: Path
    """The group of this process itself."""

    def make(self, name: str) -> tuple[Path, int]:
        """A new group, and the descriptor that holds its lock."""
        folder = self.folder / name
        while True:
            try:
                if self.unified:
                    wanted = " ".join(f"+{controller}" for controller in sorted(self.controllers))
                    tell(self.folder / "cgroup.subtree_control", wanted)
                folder.mkdir()
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(lock, fcntl.LOCK_SH)
                if folder.exists():
                    return folder, lock
                os.close(lock)
            except FileNotFoundError:  # removed by another process before it was locked, or there is no nest
                self.folder.mkdir(exist_ok=True)

    def sweep(self) -> None:
        """Remove the groups of processes that were killed, and what may still run in them."""
        folders: list[Path] = []
        with suppress(OSError), os.scandir(self.folder) as entries:  # there is none, or it goes just now
            folders = [Path(one) for one in entries if one.is_dir()]
        for folder in folders:
            with suppress(OSError):  # gone meanwhile
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    end(folder)
                finally:
                    os.close(lock)


def nests(places: Mapping[str, Place] | None = None) -> list[Nest]:
    """Where this process may make groups, by the controllers they have; none where no memory can be limited.

    Those of version 1 lie below our own. With version 2 that can't be, since processes and controllers don't go
    together in one group: they lie below the nearest one around us that hands controllers on and is ours to write to,
    such as one that systemd has delegated.
    """
    places = cgroups.own() if places is None else places
    found = [
        Nest(place.folder / _NEST, False, frozenset({controller}), place.folder)
        for controller, place in places.items()
        if not place.unified and _ours(place.folder, "cgroup.procs", "tasks")
    ]
    unified = {controller: place for controller, place in places.items() if place.unified}
    if "memory" in unified:
        for group in unified["memory"].upwards():
            if not _ours(group, "cgroup.procs"):
                break  # a process can't be moved across it
            handed_on = (group / "cgroup.subtree_control").read_text("ascii").split()
            if "memory" in handed_on:
                found = [Nest(group / _NEST, True, frozenset(unified).intersection(handed_on), group)]
                break
    return found if any("memory" in nest.controllers for nest in found) else []


class Groups:
    """The groups of one program."""

    def __init__(self, limits: Limits, where: list[Nest]) -> None:
        """Make them, one in each nest, and set their limits.

        Raises:
            InternalFailure: They can't be made.
        """
        self.controllers = frozenset[str]().union(*(nest.controllers for nest in where))
        """Those that keep limits here."""
        self._stack = ExitStack()
        self._nests: dict[Path, Nest] = {}
        name = os.urandom(16).hex()
        try:
            for nest in where:
                nest.sweep()
                folder, lock = nest.make(name)
                self._stack.callback(os.close, lock)
                self._nests[folder] = nest
                _limit(folder, nest, limits)
        except OSError as error:
            self.remove()
            raise _failure(error) from error

    @contextmanager
    def around(self) -> Iterator[None]:
        """What this thread starts meanwhile, starts within the groups of version 1.

        A thread that moves itself waits for nobody. To move another process takes the kernel some ten milliseconds.
        """
        first = [(folder, nest) for folder, nest in self._nests.items() if not nest.unified]
        try:
            try:
                for folder, _ in first:
                    tell(f"{folder}/tasks", "0")
            except OSError as error:
                raise _failure(error) from error
            yield
        finally:
            for _, nest in first:
                tell(f"{nest.outer}/tasks", "0")

    def admit(self, process: int) -> None:
        """Move a process, which has no children yet, into the groups of version 2.

        Raises:
            ProcessLookupError: It has ended.
            InternalFailure: It can't be moved.
        """
        for folder, nest in self._nests.items():
            if nest.unified:
                try:
                    tell(folder / "cgroup.procs", str(process))
                except ProcessLookupError:
                    raise
                except OSError as error:
                    raise _failure(error) from error

    def exceeded(self) -> frozenset[Resource]:
        """See `Running.exceeded`."""
        counted = [_counted(folder, nest) for folder, nest in self._nests.items() if folder.exists()]
        return frozenset().union(*counted)

    def remove(self) -> None:
        """Remove them; their processes have ended."""
        for folder, nest in self._nests.items():
            end(folder)
            with suppress(OSError):  # others have groups in it
                nest.folder.rmdir()
        self._stack.close()


def end(folder: Path) -> None:
    """End all processes in a group and remove it. What doesn't end in time is left to the next sweep."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                return
            _kill(folder)
            time.sleep(0.001)
        else:
            return


def _kill(folder: Path) -> None:
    with suppress(OSError):
        if (folder / "cgroup.kill").exists():
            tell(folder / "cgroup.kill", "1")
            return
        for line in (folder / "cgroup.procs").read_text("ascii").split():
            # 0 is a process that can't be seen from here; to kill it would mean all of our own group.
            if int(line) not in (0, os.getpid()):
                os.kill(int(line), signal.SIGKILL)


def _failure(error: OSError) -> InternalFailure:
    return InternalFailure(
        f"No control group can limit the program: {error.filename}: {error.strerror}. PENSTOCK_LIMITS=watch does "
        "without; `penstock doctor` says more."
    )


def _ours(group: Path, *files: str) -> bool:
    return all(os.access(path, os.W_OK) for path in (str(group), *(f"{group}/{name}" for name in files)))


def _limit(folder: Path, nest: Nest, limits: Limits) -> None:
    for name, value in _values(nest.unified, limits):
        if name.partition(".")[0] in nest.controllers:
            try:
                tell(f"{folder}/{name}", value)
            except OSError as error:
                missing = name in _OPTIONAL and error.errno == errno.ENOENT
                # Version 1 takes no more than the groups around leave, and those hold without us.
                if not missing and (name != "cpu.cfs_quota_us" or error.errno != errno.EINVAL):
                    raise


def _values(unified: bool, limits: Limits) -> Iterator[tuple[str, str]]:
    """The files to be written, in order, and what to write."""
    if limits.memory is not None:
        if unified:
            yield from (("memory.max", str(limits.memory)), ("memory.swap.max", "0"))
        else:
            yield "memory.limit_in_bytes", str(limits.memory)
            yield "memory.memsw.limit_in_bytes", str(limits.memory)  # with swap, and so without
            yield "memory.swappiness", "0"
    if limits.cpus is not None:
        time_of_all = len(limits.cpus) * _PERIOD
        if unified:
            yield "cpu.max", f"{time_of_all} {_PERIOD}"
        else:
            yield from (("cpu.cfs_period_us", str(_PERIOD)), ("cpu.cfs_quota_us", str(time_of_all)))
    if limits.processes is not None:
        yield "pids.max", str(limits.processes + _OURS)


def _counted(folder: Path, nest: Nest) -> Iterator[Resource]:
    if "memory" in nest.controllers:
        file = f"{folder}/{'memory.events' if nest.unified else 'memory.oom_control'}"
        if _count(file, "oom_kill"):
            yield "memory"
    if "pids" in nest.controllers and _count(f"{folder}/pids.events", "max"):
        yield "processes"


def _count(file: str, name: str) -> int:
    try:
        lines = read_small(file).decode("ascii").splitlines()
    except FileNotFoundError:
        return 0  # an old kernel
    for line in lines:
        found, _, count = line.partition(" ")
        if found == name:
            return int(count)
    return 0
