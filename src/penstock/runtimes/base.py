"""What a runtime is: it starts one program within walls and stays in charge of its whole process tree.

Every implementation passes `penstock.testing.runtimes`, the conformance suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

#: What a program can run into: `memory`, a process of it was killed for using too much; `processes`, it was refused
#: another one.
Resource = Literal["memory", "processes"]


@dataclass(frozen=True)
class Mount:
    """A folder or file of the machine that the program sees at `target`.

    `source` must exist. `target` is absolute; what is missing of it is made, if need be in the writable source of
    an earlier mount. Mounts are never a way to run set-user-id programs or to open device files.
    """

    source: Path
    target: str
    writable: bool = False
    """The program writes to `source` itself."""
    upper: Path | None = None
    """A folder of the program's own: it sees the folder `source` as writable, but what it changes lies here, so that
    many programs may share one `source`. The upper layer of an overlay file system (overlayfs, Linux 5.11 or later);
    only for runtimes with `overlays`. What is mounted below `source` is not seen."""


@dataclass(frozen=True)
class File:
    """A file made for this program alone, in memory."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    path: str
    to: str


@dataclass(frozen=True)
class Limits:
    """What a program, together with all that it starts, may use of the machine. None: whatever there is."""

    cpus: tuple[int, ...] | None = None
    """The processors that it may run on, by the kernel's numbers. It gets no more time than these have, either."""
    memory: int | None = None
    """Bytes, with all of its files in memory (/dev/shm) and without swapping."""
    processes: int | None = None
    """Processes and threads, as the kernel counts them."""
    shared_memory: int | None = None
    """The size of /dev/shm in bytes; None: the runtime's own default."""
    gpus: tuple[int, ...] | None = None
    """The graphics cards that it sees, by the numbers of /dev/nvidia*; (): none, and nothing of their driver."""


@dataclass(frozen=True)
class Closed:
    """What of the machine's network a program must not reach, as far as the runtime can see to it."""

    networks: tuple[str, ...] = ()
    """As `ipaddress.ip_network` reads them."""
    ports: tuple[int, ...] = ()
    """Of the machine's loopback."""


@dataclass(frozen=True)
class Program:
    """What is to be run, and all that it may see beyond the read-only system."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """The whole environment of the program; nothing is inherited."""
    mounts: tuple[Mount, ...]
    """Beyond the system's own read-only folders. Order matters: a later one may lie within an earlier one."""
    files: tuple[File | Link, ...] = ()
    """There before anything is mounted. Not for containers, whose image has its own."""
    working_directory: str = "/"
    """Made when it doesn't exist, as container engines do."""
    hostname: str = "algo-1"
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Lines of `/etc/hosts` beyond localhost: name -> address. The program's own name is 127.0.0.1 unless said here."""
    network: bool = True
    """True: the machine's, with its loopback. False: a loopback of its own alone."""
    closed: Closed = Closed()
    limits: Limits = Limits()


class Running(Protocol):
    """A started program."""

    @property
    def notes(self) -> Sequence[str]:
        """What the job's log should say about its walls: a sentence for each thing that they lack."""
        ...

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code once the program has ended (128 + n when signal n ended it), None on a timeout.

        Returning a code means that nothing of the program's process tree is left.
        """
        ...

    def terminate(self) -> None:
        """Ask the program to end: SIGTERM to the program itself, as `docker stop` does. No effect after its end."""
        ...

    def kill(self) -> None:
        """End the whole process tree at once. No effect after its end."""
        ...

    def exceeded(self) -> frozenset[Resource]:
        """The limits that the program, or whatever it started, has run into so far; complete once it has ended.

        That a process was killed for its memory need not have ended the program.
        """
        ...


class Runtime(Protocol):
    """A way to build walls."""

    @property
    def name(self) -> str:
        """As `penstock doctor` and the settings call it."""
        ...

    @property
    def overlays(self) -> bool:
        """Whether it carries out mounts with an `upper`. The file system of the upper folder may still refuse."""
        ...

    def start(self, program: Program, output: int) -> Running:
        """Start `program` with stdin from /dev/null and stdout and stderr both to the descriptor `output`.

        `output` stays the caller's, who closes it. For a pipe: close its writing end right after `start`, and read
        to the end of file, which comes when the last process of the tree has let go of it; then `wait`.

        The program is behind the walls from its first instruction, and dies when the calling process dies. `start`
        may be called from any thread. Signals that the calling process ignores or blocks may stay so in the program.

        Raises:
            ClientFailure: The program can't be executed (not found, not executable), said before anything ran,
                where that can be known; else the exit code is 127 or 126 as a shell has it.
            InternalFailure: The walls can't be built; the message says why and what to do.
        """
        ...
