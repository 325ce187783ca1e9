"""Walls without any further program: a setup script of ours makes the namespaces by unshare(2)."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.runtimes import seccomp, tree
from penstock.runtimes.base import File, Link, Program
from penstock.runtimes.steps import Bind, Copy, Folder, Overlay, Step, Tmpfs
from penstock.runtimes.system import HIDDEN_IN_PROC, READ_ONLY_IN_PROC, view
from penstock.runtimes.userns import wanted

_WALLS = Path(__file__).with_name("walls.py")

#: Attributes of a mount, as mount_setattr(2) numbers them.
_RDONLY, _NOSUID, _NODEV = 1, 2, 4


@dataclass(frozen=True)
class Unshare:
    """The runtime that needs nothing but Python and Linux 5.12 or later."""

    python: str = sys.executable
    limits: str = "auto"
    name: str = field(default="unshare", init=False)
    overlays: bool = field(default=True, init=False)

    def start(self, program: Program, output: int) -> tree.Tree:
        """See `Runtime.start`. A program that can't be executed ends with 127 or 126 and a line on its output."""
        plan = marshal.dumps(_plan(program))

        def compose(channels: tree.Channels) -> Sequence[str]:
            descriptors = (channels.data(plan), channels.info, channels.block)
            return [self.python, "-I", "-S", str(_WALLS), *map(str, descriptors)]

        return tree.start(compose, output, program, self.limits)


def _plan(program: Program) -> dict[str, Any]:
    return {
        "parent": os.getpid(),
        "user": wanted(),
        "network": program.network,
        "hostname": program.hostname,
        "read_only_in_proc": READ_ONLY_IN_PROC,
        "hidden_in_proc": HIDDEN_IN_PROC,
        "filter": seccomp.program(),
        "steps": [_step(step) for step in view(program)],
        "working_directory": program.working_directory,
        "argv": list(program.argv),
        "environment": dict(program.environment),
    }


def _step(step: Step) -> tuple[str | int | bytes, ...]:
    match step:
        case Folder(path, mode):
            return ("folder", path, mode)
        case Link(path, to):
            return ("link", path, to)
        case File(path, content, mode):
            return ("file", path, content, mode)
        case Copy(source, path, mode):
            return ("copy", source, path, mode)
        case Bind(source, path, writable, device):
            attributes = _NOSUID | (0 if writable else _RDONLY) | (0 if device else _NODEV)
            return ("bind", source, path, attributes)
        case Tmpfs(path, size):
            return ("tmpfs", path, size)
        case Overlay(lower, path, upper):
            return ("overlay", lower, path, upper)
