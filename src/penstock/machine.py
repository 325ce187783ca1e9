"""What this machine, or the container that Penstock runs in, has for programs: processors, memory, graphics cards."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from penstock import cgroups
from penstock.small import read_small

_SIOCGIFADDR = 0x8915  # of netdevice(7)
_CARD = "nvidia"


@dataclass(frozen=True)
class Machine:
    """What there is."""

    cpus: tuple[int, ...]
    """Processors by the kernel's numbers."""
    share: int
    """How many processors' worth of time there is: fewer than `cpus` in a container that is given less."""
    memory_bytes: int
    processes: int
    """With threads, of everybody."""
    gpus: tuple[int, ...]
    """Graphics cards by the numbers of /dev/nvidia*."""


def look(root: Path = Path("/")) -> Machine:
    """What this process may use.

    Args:
        root: The machine's root folder; another one than `/` only in tests.
    """
    places = cgroups.own(root / "proc/self")
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    share = cgroups.cpu_limit(places)
    memory = _total(f"{root}/proc/meminfo")
    return Machine(
        cpus=cpus,
        share=len(cpus) if share is None else min(len(cpus), max(1, math.ceil(share))),
        memory_bytes=min(memory, cgroups.memory_limit(places) or memory),
        processes=min(
            int(read_small(f"{root}/proc/sys/kernel/{name}")) for name in ("pid_max", "threads-max")
        ),
        gpus=tuple(sorted(_cards(f"{root}/dev"))),
    )


def identity(root: Path = Path("/")) -> str:
    """What two processes have in common that see each other: the kernel's boot and their space of process ids."""
    boot = (root / "proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot} {(root / 'proc/self/ns/pid').readlink()}"


def interface_of(address: str) -> str | None:
    """The network interface that has an IPv4 address; None where no interface has it as its first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name.encode())
            with contextlib.suppress(OSError):  # it has none
                told = fcntl.ioctl(anything, _SIOCGIFADDR, asked)
                if socket.inet_ntoa(told[20:24]) == address:
                    return name
    return None


def _total(file: str) -> int:
    (kib,) = re.findall(rb"^MemTotal:\s+(\d+) kB$", read_small(file), re.MULTILINE)
    return int(kib) * 1024


def _cards(folder: str) -> list[int]:
    names = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208 - for speed, with each run
    numbers = [name.removeprefix(_CARD) for name in names if name.startswith(_CARD)]
    return [
        int(one)
        for one in numbers
        if one.isdecimal() and one.isascii() and stat.S_ISCHR(Path(f"{folder}/{_CARD}{one}").stat().st_mode)
    ]
