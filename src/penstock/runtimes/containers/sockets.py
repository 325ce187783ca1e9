"""Where container engines listen on this machine. Loads nothing but the standard library: the server asks, too."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

#: In the folder of a run that has a container: by which engine.
MARK = "container"
#: The engines' own variables; the first that is set is taken at its word.
_VARIABLES = ("DOCKER_HOST", "CONTAINER_HOST")
_INSTALLERS = {
    "apt-get": "apt-get install -y podman",
    "dnf": "dnf install -y podman",
    "yum": "yum install -y podman",
    "apk": "apk add podman",
    "pacman": "pacman -S --noconfirm podman",
    "zypper": "zypper install -y podman",
}


def candidates(environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """The sockets at which an engine listens that this user may speak to, the one to be used first."""
    env = os.environ if environ is None else environ
    return (path for path in places(env) if listens(path))


def places(environ: Mapping[str, str]) -> list[str]:
    """Where to look: where the engines' own variables say, or else in the usual places."""
    for name in _VARIABLES:
        if said := environ.get(name):
            # Of another machine's engine no folder of ours could be mounted.
            return [said.removeprefix("unix://")] if said.startswith("unix:///") else []
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"]
    return ["/var/run/docker.sock", "/run/podman/podman.sock", *own]


def listens(path: str) -> bool:
    """Whether somebody listens at `path` who lets us in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(5)
        try:
            end.connect(path)
        except OSError:
            return False
    return True


def listens_by_itself(path: str, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the engine at `path` is one that was found, rather than a service of our own."""
    return path in places(os.environ if environ is None else environ)


def lacking(environ: Mapping[str, str] | None = None) -> str | None:
    """Why no container can be run here, and what to do; None when one can. Takes no time: nobody is asked."""
    env = os.environ if environ is None else environ
    if next(candidates(env), None) is not None:
        return None
    named = any(env.get(name) for name in _VARIABLES)
    return none_here(env) if named or shutil.which("podman") is None else None


def none_here(environ: Mapping[str, str] | None = None) -> str:
    """That there is no engine, where it was looked for, and how to come by one."""
    env = os.environ if environ is None else environ
    for name in _VARIABLES:
        if said := env.get(name):
            wanted = (
                "" if said.startswith("unix:///") else " Penstock needs one of this machine: unix:///path."
            )
            return f"{name}={said}: no container engine can be reached there.{wanted}"
    sockets = [path for path in places(env) if Path(path).exists()]
    if sockets:
        return (
            f"The container engine at {sockets[0]} lets user {os.getuid()} not in, or has ended. Start it, or for "
            "Docker: sudo usermod -aG docker $USER, and log in anew."
        )
    return f"There is neither Docker nor Podman on this machine. To have one: {installation()}"


def installation() -> str:
    """The command that installs an engine."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return next(
        (sudo + command for name, command in _INSTALLERS.items() if shutil.which(name)),
        sudo + _INSTALLERS["apt-get"],
    )


def marked(folder: Path) -> bool:
    """Whether the run in `folder` has had a container that may be there yet."""
    return (folder / MARK).exists()


def let_go(folder: Path) -> None:
    """End what the dead run in `folder` has outside of it: its container; and have its files."""
    if marked(folder):
        from penstock.runtimes.containers.remains import release  # noqa: PLC0415 - seldom needed, and slow to load

        release(folder)
