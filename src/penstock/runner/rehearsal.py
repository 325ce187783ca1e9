"""What a runner finds out once in its life, found out before it is forked: runners inherit the answers.

It is what the machine has, how its tools are, and every regular expression on the way. That takes longer than the rest
of a short run. Nothing is kept that may change while a server runs: each runner reads files anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress

from penstock import machine
from penstock.environments.settings import fingerprint, pip_environment
from penstock.images.kinds import in_container
from penstock.job.instances import instance
from penstock.runtimes import landlock, seccomp, system
from penstock.runtimes.base import Program
from penstock.runtimes.bubblewrap import nesting_can_be_refused
from penstock.runtimes.groups import nests


def rehearse() -> None:
    """Go once through what asks the machine. Whatever fails here is told by the first run that needs it."""
    steps: tuple[Callable[[], object], ...] = (
        machine.look,
        nests,
        seccomp.program,
        landlock.version,
        lambda: nesting_can_be_refused(shutil.which("bwrap") or ""),
        lambda: system.view(Program(("true",), {}, ())),
        lambda: in_container({"AppSpecification": {"ImageUri": "python:3.11"}}, "auto"),
        lambda: instance("ml.m5.large"),
        lambda: "localhost".encode("idna"),  # by its first address a program loads what writes names in ASCII
        pip_environment,
        fingerprint,
    )
    for step in steps:
        with suppress(Exception):
            step()
