"""Walls by bubblewrap (https://github.com/containers/bubblewrap), version 0.5 or later."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

from penstock.errors import InternalFailure
from penstock.runtimes import seccomp, tree
from penstock.runtimes.base import File, Link, Program
from penstock.runtimes.steps import Bind, Copy, Folder, Overlay, Step, Tmpfs
from penstock.runtimes.system import HIDDEN_IN_PROC, READ_ONLY_IN_PROC, view
from penstock.runtimes.userns import wanted

#: What bubblewrap closes to writing in /proc wherever that could be written to.
_CLOSED_BY_ITSELF = ("bus", "irq")


@dataclass(frozen=True)
class Bubblewrap:
    """The runtime that calls `bwrap`."""

    path: str = "/usr/bin/bwrap"
    limits: str = "auto"
    name: str = field(default="bubblewrap", init=False)
    overlays: bool = field(default=False, init=False)

    def start(self, program: Program, output: int) -> tree.Tree:
        """See `Runtime.start`. A program that can't be executed ends with 127 or 126 and a line on its output."""
        # Without new privileges, which a scope needs, a bwrap of the old kind could not do its work.
        set_user_id = bool(Path(self.path).stat().st_mode & stat.S_ISUID)
        return tree.start(self.composer(program), output, program, self.limits, scoped=not set_user_id)

    def composer(self, program: Program) -> tree.Compose:
        """What makes the command line that starts `program`.

        Raises:
            ClientFailure, InternalFailure: As `system.view` does.
        """
        steps = view(program)

        def compose(channels: tree.Channels) -> Sequence[str]:
            options = []
            executable = self.path
            if (
                os.geteuid() == 0
            ):  # an ordinary user's program can't write to root's bwrap; root's program could
                descriptor = channels.sealed(self.path)
                # By its own number, for a scope shuts it off from ours; --sync-fd: it is not the program's.
                executable = f"/proc/self/fd/{descriptor}"
                options += ["--sync-fd", str(descriptor)]
            options += [
                *_namespaces(program, nesting_can_be_refused(self.path)),
                *("--info-fd", str(channels.info), "--block-fd", str(channels.block)),
                *("--proc", "/proc", *_proc(), "--dev", "/dev"),
                *_filter(channels),
                *chain.from_iterable(_step(step, channels, self.path) for step in steps),
                *(option for pair in program.environment.items() for option in ("--setenv", *pair)),
                *("--chdir", program.working_directory),
            ]
            # By descriptor, since the environment may hold secrets and everybody can read everybody's argv.
            arguments = channels.data(os.fsencode("\0".join((*options, ""))))
            return [executable, "--args", str(arguments), "--", *_exec(program)]

        return compose


def nesting_can_be_refused(path: str) -> bool:
    """Whether this bwrap knows --disable-userns (0.8 and later)."""
    return _version(path) >= (0, 8)


def _has_sizes(path: str) -> bool:
    """Whether this bwrap knows --size (0.7 and later)."""
    return _version(path) >= (0, 7)


@cache
def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, env={}).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def _namespaces(program: Program, refuse_nesting: bool) -> Iterator[str]:
    if wanted():
        # SageMaker's containers run as root, so the program's only user is one called that.
        yield from ("--unshare-user", "--uid", "0", "--gid", "0")
        if refuse_nesting:
            yield "--disable-userns"
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--hostname", program.hostname)
    if not program.network:
        yield "--unshare-net"
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv")


def _proc() -> Iterator[str]:
    for name in READ_ONLY_IN_PROC:
        if name not in _CLOSED_BY_ITSELF and os.path.exists(f"/proc/{name}"):  # noqa: PTH110 - as in `shown`, for speed
            yield from ("--ro-bind", f"/proc/{name}", f"/proc/{name}")
    for name in HIDDEN_IN_PROC:
        if os.access(f"/proc/{name}", os.R_OK):  # else the program can't read it either
            yield from ("--dev-bind", "/dev/null", f"/proc/{name}")
    # Process 1 has the program's own user and no more rights, so its memory and descriptors would be open to it.
    yield from ("--perms", "555", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1")


def _filter(channels: tree.Channels) -> Iterator[str]:
    program = seccomp.program()
    if program is not None:
        yield from ("--seccomp", str(channels.data(program)))


def _step(step: Step, channels: tree.Channels, bwrap: str) -> Sequence[str]:
    match step:
        case Folder(path, mode):
            return ("--perms", f"{mode:o}", "--dir", path)
        case Link(path, to):
            return ("--symlink", to, path)
        case File(path, content, mode):
            return ("--perms", f"{mode:o}", "--file", str(channels.data(content)), path)
        case Copy(source, path, mode):
            try:
                descriptor = channels.opened(source)
            except OSError:  # gone, or closed to us, since it was looked for: then it is not shown
                return ()
            return ("--perms", f"{mode:o}", "--file", str(descriptor), path)
        case Bind(source, path, writable, device):
            return ("--dev-bind" if device else "--bind" if writable else "--ro-bind", source, path)
        case Tmpfs(path, size):
            sized = ("--size", str(size)) if _has_sizes(bwrap) else ()
            return ("--perms", "1777", *sized, "--tmpfs", path)
        case Overlay(_, path, _):
            raise InternalFailure(
                f"{path}: bubblewrap builds no overlays. Set PENSTOCK_WALLS=auto or unshare."
            )


def _exec(program: Program) -> Iterator[str]:
    # bwrap ends with 1 when it can't execute the program; env ends with 127 or 126 then, but takes a millisecond more.
    if not _is_the_machines(program):
        yield from ("/usr/bin/env", "--")
        if "=" in program.argv[0]:
            # Changes nothing, but env would take the name for a variable.
            yield from ("nice", "-n", "0", "--")
    yield from program.argv


def _is_the_machines(program: Program) -> bool:
    """Whether what will be executed is surely a program in the machine's own /usr, as most jobs' interpreters are."""
    name = program.argv[0]
    links = {one.path: one.to for one in program.files if isinstance(one, Link)}
    for folder in [""] if "/" in name else program.environment.get("PATH", "").split(":"):
        place = f"{folder}/{name}" if folder else name
        place = links.get(place, place)
        if not place.startswith(("/bin/", "/usr/")) or "/../" in place:
            return False
        if os.access(place, os.X_OK) and os.path.isfile(place):  # noqa: PTH113 - as in `shown`, for speed
            return True
    return False
