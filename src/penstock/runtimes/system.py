"""What of the machine a program sees: the system's read-only folders, a few files of /etc, and nothing else.

`view` lists it as steps in order, which every runtime carries out in its own way. Both runtimes share it, so a
program finds the same paths whichever of them runs it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from penstock.errors import ClientFailure, InternalFailure
from penstock.runtimes.base import File, Limits, Link, Program
from penstock.runtimes.shown import each_folder_once, look
from penstock.runtimes.steps import Bind, Folder, Overlay, Step, Tmpfs

# Mostly strings and not paths: this is a part of what each short job costs.
# ruff: noqa: PTH110, PTH120, PTH208

#: A graphics card, and what its driver has for all of them; everything else in /dev is made anew.
_CARD = "nvidia[0-9]*"
_DRIVER = ("nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/*")

#: In a new /proc, still the machine's own: closed to writing, since the files in them only ask "are you the machine's
#: user 0?", and a program of a Penstock that runs as root is that, though it holds no capability.
READ_ONLY_IN_PROC = ("acpi", "bus", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger")

#: Likewise, closed to reading.
HIDDEN_IN_PROC = (
    "kcore",
    "keys",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "pagetypeinfo",
    "sched_debug",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
)


def view(program: Program, machine: Path = Path("/")) -> tuple[Step, ...]:
    """All that `program` sees besides /proc and the common part of /dev, as steps to be carried out in order.

    Args:
        program: What is to be run.
        machine: The machine's root folder; another one than `/` only in tests.

    Raises:
        ClientFailure: An argument or variable can't be passed to any program.
        InternalFailure: A mount has a source that doesn't exist or a target that isn't an absolute path.
    """
    check(program)
    shown = look(machine)
    own = (
        *_devices(machine / "dev", program.limits),
        *_files(program),
        *_own(program),
        *_mounts(program),
        Folder(program.working_directory),
    )
    return (*shown.steps, *each_folder_once(own, set(shown.folders)))


def check(program: Program) -> None:
    """Refuse what no runtime can carry out.

    Raises:
        ClientFailure: An argument or variable can't be passed to any program; values are not repeated in the text.
        InternalFailure: A path within the walls isn't absolute.
    """
    if not program.argv or not program.argv[0]:
        raise ClientFailure("There is no program to run: the entry point is empty.")
    if any("\0" in argument for argument in program.argv):
        raise ClientFailure(
            "An argument of the program holds a NUL character, which no program can be given."
        )
    for name, value in program.environment.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ClientFailure(
                f"The environment variable {name!r} can't be set: its name is empty or holds '=', or a NUL "
                "character is in it."
            )
    for path in (
        program.working_directory,
        *(mount.target for mount in program.mounts),
        *(one.path for one in program.files),
    ):
        if not path.startswith("/") or ".." in path.split("/"):
            raise InternalFailure(f"{path!r} is no absolute path without '..', so nothing can be put there.")


def _devices(dev: Path, limits: Limits) -> Iterator[Step]:
    if limits.shared_memory is not None:
        yield Tmpfs("/dev/shm", limits.shared_memory)  # noqa: S108 - the program's own
    if "\0nvidia" not in "\0".join(("", *os.listdir(dev))):
        return
    if limits.gpus is None:
        cards = sorted(dev.glob(_CARD))
    else:
        cards = [path for number in limits.gpus if (path := dev / f"nvidia{number}").exists()]
    driver = [path for pattern in _DRIVER for path in sorted(dev.glob(pattern))]
    for device in (*cards, *(driver if limits.gpus != () else ())):
        if stat.S_ISCHR(device.stat().st_mode):
            yield Bind(str(device), f"/dev/{device.relative_to(dev)}", writable=True, device=True)


def hosts_file(program: Program) -> bytes:
    """The content of the program's /etc/hosts."""
    names = {program.hostname: "127.0.0.1", **program.hosts}
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {name}" for name, address in names.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _files(program: Program) -> Iterator[Step]:
    yield File("/etc/hosts", hosts_file(program))
    yield File("/etc/hostname", f"{program.hostname}\n".encode())
    yield File(
        "/etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    )
    yield File("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    yield Link("/etc/mtab", "/proc/self/mounts")


def _own(program: Program) -> Iterator[Step]:
    for one in program.files:
        yield Folder(os.path.dirname(one.path))
        yield one


def _mounts(program: Program) -> Iterator[Step]:
    for mount in program.mounts:
        source = os.path.realpath(mount.source)
        if not os.path.exists(source):
            raise InternalFailure(
                f"{mount.source}, which the program is to see at {mount.target}, does not exist or can't be reached "
                f"by user {os.geteuid()}."
            )
        yield Folder(mount.target.rstrip("/").rpartition("/")[0] or "/")
        if mount.upper is None:
            yield Bind(source, mount.target, writable=mount.writable)
        else:
            _make_upper(mount.upper)
            yield Overlay(source, mount.target, str(mount.upper.resolve()))


def _make_upper(upper: Path) -> None:
    try:
        for name in ("files", "work"):
            (upper / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InternalFailure(
            f"{upper}, for what a program writes, can't be made: {error.strerror}."
        ) from None
