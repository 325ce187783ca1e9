"""Limits without control groups: a thread looks at a process tree now and then, and ends it above them.

It looks through the program's own /proc, so it sees the processes of its namespace and no others, wherever they have
gone. Memory is what no file on a disk holds, as control groups count it too, but for the kernel's own.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from penstock.runtimes.base import Limits, Resource

#: Bytes a second: no program fills its memory faster, by and large.
_FASTEST = 8 << 30

#: Seconds between two looks: the fewest and the most.
_SHORTEST, _LONGEST = 0.01, 0.25

#: What may be in memory and is not seen as anybody's: file systems, within the walls.
_IN_MEMORY = ("", "dev", "dev/shm")

#: A look takes at most one part of this many of a processor, unless that would be less than once in so many seconds.
_RARELY, _SELDOM = 20, 1.0


class Watch:
    """Looks after one tree until its process 1 has ended."""

    def __init__(
        self, find: Callable[[], int | None], handle: int, limits: Limits, end: Callable[[], None]
    ) -> None:
        """Begin to look.

        Args:
            find: Gives the number of the main program, once there is one.
            handle: A pidfd of process 1.
            limits: `memory` and `processes` count; None is no limit.
            end: Ends the whole tree; called from another thread.
        """
        self._find = find
        self._root: Path | None = None
        self._held: int | None = None
        self._handle = os.dup(handle)
        self._limits = limits
        self._end = end
        self.exceeded: frozenset[Resource] = frozenset()
        """What the tree was ended for, or how far it came."""
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the last look at a tree that has ended."""
        self._thread.join()

    def _look_on(self) -> None:
        if self._limits.processes is not None:
            # A fork bomb leaves others next to no time. An ordinary user can't have this, but has the kernel count.
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        with os.fdopen(self._handle, "rb"):  # closes it
            ended = select.poll()
            ended.register(self._handle, select.POLLIN)
            pause = _SHORTEST
            try:
                while not ended.poll(pause * 1000):
                    began = time.thread_time()
                    with suppress(OSError):  # ended under our eyes
                        pause = self._look()
                    pause = max(pause, min(_SELDOM, _RARELY * (time.thread_time() - began)))
            finally:
                if self._held is not None:
                    os.close(self._held)

    def _look(self) -> float:
        """Look once; how many seconds may pass until the next time."""
        if self._root is None:
            # Not by process 1, which is closed to an ordinary user. The tree ends with the program.
            if (program := self._find()) is None:
                return _SHORTEST
            self._held = _root(program)
            self._root = Path(f"/proc/self/fd/{self._held}")
        memory, processes = self._limits.memory, self._limits.processes
        if processes is not None and len(_numbers(self._root / "proc")) > processes:
            # Without a look at each, which takes long by then.
            self.exceeded |= {"processes"}
            self._end()
            return _LONGEST
        tree = list(_tree(self._root / "proc"))
        if processes is not None:
            count = sum(one["Threads"] for one in tree)
            if count >= processes - 1:  # the kernel may count a monitor as well, and refuses all beyond
                self.exceeded |= {"processes"}
            if count > processes:
                self._end()
        if memory is None:
            return _LONGEST
        used = self._used(self._root, tree, memory)
        if used > memory:
            self.exceeded |= {"memory"}
            self._end()
        return min(_LONGEST, max(_SHORTEST, (memory - used) / _FASTEST))

    def _used(self, root: Path, tree: list[Mapping[str, int]], limit: int) -> int:
        """Bytes in use; exact only above the limit, since it takes the kernel long to divide what processes share."""
        files = in_memory(root)
        each = [one["RssAnon"] + one["VmSwap"] for one in tree]
        most = sum(each) + max(files, sum(one["RssShmem"] for one in tree))
        if most <= limit or max(each, default=0) > limit:
            return most
        parts = list(_parts(root / "proc"))
        own = sum(one["Pss_Anon"] + one["SwapPss"] for one in parts)
        return own + max(files, sum(one["Pss_Shmem"] for one in parts))


def _root(program: int) -> int:
    """A descriptor of a program's root folder; of whichever thread has one, for the first may end before others."""
    threads = Path(f"/proc/{program}/task")
    for thread in threads.iterdir():
        with suppress(FileNotFoundError):
            return os.open(thread / "root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    raise FileNotFoundError(threads)


def in_memory(root: Path) -> int:
    """Bytes of files in the file systems that the walls keep in memory."""
    used: dict[int, int] = {}
    for name in _IN_MEMORY:
        place = root / name
        found = os.statvfs(place)
        used[place.stat().st_dev] = (found.f_blocks - found.f_bfree) * found.f_frsize
    return sum(used.values())


def _tree(proc: Path) -> Iterator[Mapping[str, int]]:
    return _fields(proc, "status", ("RssAnon", "RssShmem", "VmSwap", "Threads"))


def _parts(proc: Path) -> Iterator[Mapping[str, int]]:
    return _fields(proc, "smaps_rollup", ("Pss_Anon", "Pss_Shmem", "SwapPss"))


def _fields(proc: Path, file: str, names: tuple[str, ...]) -> Iterator[Mapping[str, int]]:
    """The fields of each process's file; sizes in bytes, 0 for what a process has not, such as one that ends."""
    for name in _numbers(proc):
        found = dict.fromkeys(names, 0)
        for line in _text(f"{proc}/{name}", file, names[0].encode()).splitlines():
            field, _, value = line.partition(b":")
            key = field.decode("ascii", "replace")
            if key in found:
                number, *unit = value.split()
                found[key] = int(number) * (1024 if unit else 1)
        yield found


def _numbers(proc: Path) -> list[str]:
    """Of all processes but the first, which is ours."""
    return [name for name in os.listdir(proc) if name.isdigit() and name != "1"]  # noqa: PTH208 - many a time


def _text(folder: str, file: str, needed: bytes) -> bytes:
    """What a process's file says; empty for one that has ended.

    A first thread that has ended has no memory, so while others go on one of theirs is taken.
    """
    text = _read(f"{folder}/{file}")
    if needed not in text:
        with suppress(OSError):
            for thread in os.listdir(f"{folder}/task"):  # noqa: PTH208 - many a time
                if needed in (other := _read(f"{folder}/task/{thread}/{file}")):
                    return other
    return text


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - many a time
            return file.read()
    except OSError:
        return b""
