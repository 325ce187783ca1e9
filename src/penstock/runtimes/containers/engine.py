"""The container engine of this machine: where its socket is, or a service of our own where only `podman` is there."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import docker
from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.errors import DockerException

from penstock.errors import InternalFailure
from penstock.runtimes.containers.connection import connect
from penstock.runtimes.containers.sockets import candidates, lacking

#: Seconds for an answer to one call. Pulls have none: a large layer may take its time.
_PATIENCE = 120
#: Docker 20.10 and Podman 4 speak it, and docker-py.
_OLDEST = "1.41"
_OWN = f"{tempfile.gettempdir()}/penstock-podman-"
_SERVICE = Path(__file__).with_name("service.py")


@dataclass(frozen=True)
class Engine:
    """A Docker or Podman that answers."""

    socket: str
    """The path of its Unix socket."""
    name: str
    """"Docker" or "Podman"."""
    version: str
    api: str
    """The version of the API to be spoken: Podman takes half a second to tell it."""
    rootless: bool
    """Whether its root is an ordinary user of this machine."""
    remapped: bool
    """Whether Docker gives containers other user ids than the machine's (userns-remap)."""
    limits: frozenset[str]
    """What it can limit here: "memory", "cpus", "processes"."""

    def client(self, timeout: float | None = _PATIENCE) -> docker.APIClient:
        """A connection of one's own; it is not for several threads at once."""
        return connect(self.socket, self.api, timeout)


def reach(notes: Path | None = None) -> Engine:
    """The engine of this machine, which has answered: one that listens, else a service of our own.

    Args:
        notes: See `ask`.

    Raises:
        InternalFailure: There is none, or it does not answer; the message says what to do.
    """
    path = next(iter(candidates()), None)
    if path is not None:
        return ask(path, notes)
    if problem := lacking():
        raise InternalFailure(problem)
    try:
        return ask(serve(), notes)
    except InternalFailure as error:
        raise InternalFailure(_hindrance() or str(error)) from error


def ask(path: str, notes: Path | None = None) -> Engine:
    """What the engine behind the socket `path` is.

    Args:
        path: The socket.
        notes: A folder for what it said, since Podman takes a third of a second for some answers; None: ask anew.

    Raises:
        InternalFailure: It does not answer.
    """
    client = connect(path, _OLDEST, _PATIENCE)
    try:
        # Docker's and Podman's answer to this needs no version, and comes at once.
        headers = client.get(client._url("/_ping", versioned_api=False), timeout=_PATIENCE).headers  # noqa: SLF001 - ping() tells no headers
        podman = headers.get("Libpod-Api-Version")
        note = _note(notes, path, f"{podman} {headers.get('Api-Version')}") if notes else None
        if note is not None and note.exists():
            return replace(Engine(**_read(note.read_text())), socket=path)
        engine = _described(path, podman, headers.get("Api-Version", _OLDEST), client.info())
    except (DockerException, OSError, ValueError, KeyError) as error:
        raise InternalFailure(
            f"The container engine at {path} does not answer: {brief(error)}. `penstock doctor` says what is there."
        ) from error
    finally:
        client.close()
    if note is not None:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(json.dumps({**asdict(engine), "limits": sorted(engine.limits)}))
    return engine


def _described(path: str, podman: str | None, api: str, info: Mapping[str, Any]) -> Engine:
    options = [str(option) for option in info.get("SecurityOptions") or []]
    able = {"memory": ("MemoryLimit",), "processes": ("PidsLimit",), "cpus": ("CPUSet", "CpuCfsQuota")}
    # A version that docker-py and the engine both know.
    known = min(api, DEFAULT_DOCKER_API_VERSION, key=_numbers)
    return Engine(
        socket=path,
        name="Podman" if podman else "Docker",
        version=podman or str(info.get("ServerVersion", "")),
        api=known,
        rootless=bool(info.get("Rootless")) or any("rootless" in option for option in options),
        remapped=any("userns" in option for option in options),
        limits=frozenset(name for name, members in able.items() if all(info.get(one) for one in members)),
    )


@cache
def serve() -> str:
    """Start a service of Podman's for this process, and return the path of its socket.

    It ends a few seconds after this process. The socket lies in a folder that nobody else can enter.
    """
    path = str(Path(tempfile.mkdtemp(prefix=Path(_OWN).name, dir=Path(_OWN).parent), "socket"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(64)
        service = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SERVICE), str(listener.fileno()), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
            cwd="/",
        )
    # Holds the service's stdin for as long as this process lives, and waits for one that ends before.
    threading.Thread(target=service.wait, name="reap podman", daemon=True).start()
    return path


def _hindrance() -> str | None:
    """Why this machine's Podman does not work, in its own words; None when it says that it does."""
    asked = subprocess.run(["podman", "info"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    lines = asked.stderr.splitlines() if asked.returncode else []
    words = " ".join(lines[-1].split())[:600] if lines else ""
    return f"Podman is installed here but does not work. It says: {words}" if words else None


def brief(error: BaseException) -> str:
    """What an engine said, on one line and without the wrappings of HTTP."""
    text = str(getattr(error, "explanation", None) or error)
    return " ".join(text.split())[:600].rstrip(".")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _note(notes: Path, path: str, said: str) -> Path:
    """A file for each start of an engine, which makes its socket anew; one for all services of our own."""
    about = Path(path).stat()
    start = "own" if path.startswith(_OWN) else f"{path} {about.st_ino} {about.st_mtime_ns}"
    return notes / f"engine-{hashlib.sha256(f'{start} {said}'.encode()).hexdigest()[:16]}.json"


def _read(text: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(text)
    return {**told, "limits": frozenset(told["limits"])}
