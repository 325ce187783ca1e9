"""What this machine, or the container that Penstock runs in, has for programs: processors, memory, graphics cards."""

from __future__ import annotations

import math
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from penstock import cgroups


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
    memory = _total(root / "proc/meminfo")
    return Machine(
        cpus=cpus,
        share=len(cpus) if share is None else min(len(cpus), max(1, math.ceil(share))),
        memory_bytes=min(memory, cgroups.memory_limit(places) or memory),
        processes=min(
            int((root / "proc/sys/kernel" / name).read_text()) for name in ("pid_max", "threads-max")
        ),
        gpus=tuple(sorted(_cards(root / "dev"))),
    )


def identity(root: Path = Path("/")) -> str:
    """What two processes have in common that see each other: the kernel's boot and their space of process ids."""
    boot = (root / "proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot} {(root / 'proc/self/ns/pid').readlink()}"


def _total(file: Path) -> int:
    (kib,) = re.findall(r"^MemTotal:\s+(\d+) kB$", file.read_text("ascii"), re.MULTILINE)
    return int(kib) * 1024


def _cards(folder: Path) -> list[int]:
    return [
        int(path.name.removeprefix("nvidia"))
        for path in folder.glob("nvidia[0-9]*")
        if path.name.removeprefix("nvidia").isdigit() and stat.S_ISCHR(path.stat().st_mode)
    ]
