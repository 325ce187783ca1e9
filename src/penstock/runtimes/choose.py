"""Which runtime is used on this machine, and whether it works here."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import ConfigurationError, JobFailure
from penstock.runtimes import landlock, seccomp
from penstock.runtimes.base import Mount, Program, Runtime
from penstock.runtimes.bubblewrap import Bubblewrap, nesting_can_be_refused
from penstock.runtimes.unshare import Unshare
from penstock.runtimes.userns import obstacle

_INSTALLERS = {
    "apt-get": "apt-get install -y bubblewrap",
    "dnf": "dnf install -y bubblewrap",
    "yum": "yum install -y bubblewrap",
    "apk": "apk add bubblewrap",
    "pacman": "pacman -S --noconfirm bubblewrap",
    "zypper": "zypper install -y bubblewrap",
}

#: What a container engine must leave open for walls to be built within its container.
_CONTAINER_OPTIONS = (
    "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined ..."
)


@dataclass(frozen=True)
class Finding:
    """What was found out about one runtime by trying it."""

    runtime: str
    fit: bool
    detail: str
    """One or two sentences: how it stands, or why it doesn't work."""
    weaker: tuple[str, ...] = ()
    """In what its walls are weaker here than they could be."""
    fix: str | None = None
    """The command that mends what is wrong or weaker."""


def choose(name: str, *, overlays: bool = False, limits: str = "auto") -> Runtime:
    """The runtime called `name`; "auto" is bubblewrap where it is installed, else unshare.

    Args:
        name: "auto" or a runtime's name.
        overlays: Whether a mount with an upper folder is wanted; "auto" then is the first that has `overlays`. A
            runtime called by its name may lack them.
        limits: By what means it keeps programs within their limits.

    Raises:
        ConfigurationError: There is no such runtime, or bubblewrap was asked for and isn't installed.
    """
    bwrap = shutil.which("bwrap")
    match name:
        case "bubblewrap" | "auto" if bwrap and (Bubblewrap.overlays or not overlays or name != "auto"):
            return Bubblewrap(bwrap, limits)
        case "unshare" | "auto":
            return Unshare(limits=limits)
        case "bubblewrap":
            raise ConfigurationError(f"bubblewrap (bwrap) is not installed. To install it: {_installation()}")
        case _:
            raise ConfigurationError(f"There is no runtime {name!r}; there are auto, bubblewrap and unshare.")


def checks(folder: Path | None = None) -> list[Finding]:
    """How each runtime fares on this machine; each one that is there has run a program to find out.

    `folder`: where runs will keep what they write to mounted inputs; None: overlays are not tried.
    """
    bwrap = shutil.which("bwrap")
    return [_try(Bubblewrap(bwrap), folder) if bwrap else _missing(), _try(Unshare(), folder)]


def _missing() -> Finding:
    return Finding(
        "bubblewrap",
        fit=False,
        detail="bubblewrap (bwrap) is not installed, so the walls are built by Penstock's own code (unshare).",
        fix=_installation(),
    )


def _try(runtime: Bubblewrap | Unshare, folder: Path | None) -> Finding:
    try:
        code = _run_true(runtime)
    except JobFailure as failure:
        return Finding(runtime.name, fit=False, detail=str(failure), fix=_remedy())
    if code != 0:
        return Finding(
            runtime.name, fit=False, detail=f"`env true` ended with {code} in its walls.", fix=_remedy()
        )
    switch = obstacle()
    weaker = tuple(_weaknesses(runtime))
    how = f"{runtime.path} works." if isinstance(runtime, Bubblewrap) else "The kernel's namespaces work."
    how += _overlays(runtime, folder)
    if not landlock.has_scopes():
        how += " Programs reach the machine's abstract Unix sockets; Linux 6.12 with Landlock closes them."
    return Finding(runtime.name, fit=True, detail=how, weaker=weaker, fix=switch.fix if switch else None)


def _run_true(runtime: Runtime, *mounts: Mount) -> int | None:
    program = Program(argv=("/usr/bin/env", "true"), environment={}, mounts=mounts, network=False)
    with Path(os.devnull).open("wb") as nowhere:
        return runtime.start(program, nowhere.fileno()).wait()


def _overlays(runtime: Runtime, folder: Path | None) -> str:
    if not runtime.overlays or folder is None:
        return ""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        lower = Path(name, "lower")
        lower.mkdir()
        try:
            _run_true(runtime, Mount(lower, "/opt/ml", upper=Path(name, "upper")))
        except JobFailure as failure:
            return f" Inputs are copied from the cache, for {folder} can't hold overlays: {failure}"
    return " Inputs are mounted by it."


def _weaknesses(runtime: Bubblewrap | Unshare) -> list[str]:
    found = []
    if obstacle():
        found.append(
            "User namespaces are switched off: a program is the machine's own root, though without any capability."
        )
    if seccomp.program() is None:
        found.append("Nothing here filters a program's system calls, so it meets more of the kernel's code.")
        if isinstance(runtime, Bubblewrap) and not nesting_can_be_refused(runtime.path):
            found.append("This bubblewrap is older than 0.8: a program may make user namespaces of its own.")
    if isinstance(runtime, Unshare):
        found.append(
            "The walls are the same as bubblewrap's, but built by Penstock's own code, which fewer people have "
            "tried to break."
        )
    return found


def _remedy() -> str | None:
    switch = obstacle()
    if switch:
        return switch.fix
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return _CONTAINER_OPTIONS
    return None


def _installation() -> str:
    sudo = "" if os.geteuid() == 0 else "sudo "
    for installer, command in _INSTALLERS.items():
        if shutil.which(installer):
            return sudo + command
    return f"{sudo}{_INSTALLERS['apt-get']}"
