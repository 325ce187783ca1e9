"""Programs in containers, by Docker or Podman.

What these walls hold less than the sandbox's: a program has the capabilities that images' own start scripts need
(`CAPABILITIES`), limited to its container; its root is the machine's root where the engine's is and no user namespace
lies between, as with all containers of such an engine; the image's files are writable to it, in a layer that goes with
the container. New privileges are refused to it. Its stdin is empty.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from docker.types import DeviceRequest, Mount

from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.runtimes.base import Limits, Program
from penstock.runtimes.containers import remains
from penstock.runtimes.containers.connection import cut
from penstock.runtimes.containers.engine import Engine, brief
from penstock.runtimes.containers.image import SHELL, Image
from penstock.runtimes.containers.running import Contained
from penstock.runtimes.system import check, hosts_file

#: What is left of Docker's default set: start scripts hand files and themselves to other users. Not NET_RAW and
#: NET_BIND_SERVICE, since the network is the machine's; not MKNOD, SETPCAP, SETFCAP, SYS_CHROOT, AUDIT_WRITE.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")

#: Container and log have one stream, in the order in which it was written. Engines give two pipes to a program.
_JOINED = 'exec "$@" 2>&1'

_REAPER = Path(__file__).with_name("reaper.py")
#: The period over which the kernel counts a program's processor time, in microseconds.
_PERIOD = 100_000


@dataclass(frozen=True)
class Container:
    """The runtime that asks an engine for containers of one image."""

    engine: Engine
    image: Image
    folder: Path
    """The run's own, for files of the container, and by which what a dead runner has left is found."""
    name: str = field(default="container", init=False)
    overlays: bool = field(default=False, init=False)

    def start(self, program: Program, output: int) -> Contained:
        """See `Runtime.start`. What the image's ENV sets and the program's environment doesn't is set as well."""
        check(program)
        _check_text(program)
        mounts = [*self._files(program), *(_mount(mount) for mount in program.mounts)]
        remains.mark(self.folder, self.engine, self.image)
        if not self.image.by_root:
            for mount in program.mounts:
                if mount.writable:
                    _open(mount.source)
        with ExitStack() as undo:
            reaper = _reaper(self.engine)
            undo.callback(_let_go, reaper)
            client = self.engine.client()
            undo.callback(client.close)
            try:
                made = self._create(client, program, mounts)
                reaper.stdin.write(f"{made}\n".encode())  # type: ignore[union-attr]
                reaper.stdin.flush()  # type: ignore[union-attr]
                stream = client.attach_socket(made, {"stdout": 1, "stderr": 1, "stream": 1, "logs": 0})
                undo.callback(cut, stream)
                client.start(made)
            except (DockerException, OSError) as error:
                raise self._refusal(program, brief(error)) from error
            undo.pop_all()
        own = [mount.source for mount in program.mounts if mount.writable]
        return Contained(
            self.engine,
            client,
            made,
            stream,
            os.dup(output),
            reaper,
            self._settle(own),
            self._done,
            self._notes(program),
        )

    def _settle(self, own: list[Path]) -> Callable[[], None]:
        return lambda: remains.take_over(self.engine, self.image.id, own)

    def _done(self) -> None:
        remains.unmark(self.folder)

    def _notes(self, program: Program) -> Sequence[str]:
        limits = {
            "memory": program.limits.memory,
            "cpus": program.limits.cpus,
            "processes": program.limits.processes,
        }
        unkept = sorted(
            name for name, value in limits.items() if value is not None and name not in self.engine.limits
        )
        if unkept:
            return [f"{self.engine.name} can't limit {' and '.join(unkept)} here: they are not limited."]
        return []

    def _create(self, client: docker.APIClient, program: Program, mounts: list[Mount]) -> str:
        """With an init of the engine's as process 1 where it has one; the container's id."""
        try:
            return self._ask(client, program, mounts, init=True)
        except DockerException as error:
            if "init" not in brief(error):
                raise
            # Without one a program is process 1: SIGTERM ends it only if it handles that, as on AWS.
            return self._ask(client, program, mounts, init=False)

    def _ask(self, client: docker.APIClient, program: Program, mounts: list[Mount], *, init: bool) -> str:
        joined = [SHELL, "-c", _JOINED, SHELL] if self.image.shell else []
        options = client.create_host_config(
            network_mode="host" if program.network else "none",
            mounts=mounts,
            init=init,
            # The output goes through the attached stream alone; the engine's own log would keep it once more.
            log_config={"Type": "none"},
            cap_drop=["ALL"],
            cap_add=list(CAPABILITIES),
            security_opt=["no-new-privileges"],
            **self._limits(program.limits),
        )
        made = client.create_container(
            self.image.id,
            entrypoint=[*joined, *program.argv],
            environment=dict(program.environment),
            working_dir=program.working_directory,
            hostname=program.hostname,
            host_config=options,
            healthcheck={
                "test": ["NONE"]
            },  # nobody asks for its health, and Podman would need systemd for it
            labels={remains.LABEL: str(self.folder)},
        )
        return str(made["Id"])

    def _limits(self, limits: Limits) -> Mapping[str, Any]:
        """Those that the engine can carry out here, in its own words."""
        options: dict[str, Any] = {}
        able = self.engine.limits
        if limits.memory is not None and "memory" in able:
            options.update(mem_limit=limits.memory, memswap_limit=limits.memory)
        if limits.processes is not None and "processes" in able:
            options["pids_limit"] = limits.processes
        if limits.cpus is not None and "cpus" in able:
            options["cpuset_cpus"] = ",".join(map(str, limits.cpus))
            options.update(cpu_period=_PERIOD, cpu_quota=_PERIOD * len(limits.cpus))
        if limits.shared_memory is not None:
            options["shm_size"] = limits.shared_memory
        if limits.gpus:
            cards = [str(number) for number in limits.gpus]
            options["device_requests"] = [DeviceRequest(device_ids=cards, capabilities=[["gpu"]])]
        return options

    def _files(self, program: Program) -> list[Mount]:
        """Files of /etc that are the program's own. The run's folder has them: an engine may not see /tmp."""
        place = self.folder / "etc"
        place.mkdir(parents=True, exist_ok=True)
        contents = {"hosts": hosts_file(program), "hostname": f"{program.hostname}\n".encode()}
        for name, content in contents.items():
            (place / name).write_bytes(content)
            (place / name).chmod(0o644)
        return [Mount(f"/etc/{name}", str(place / name), type="bind") for name in contents]

    def _refusal(self, program: Program, said: str) -> JobFailure:
        """Why a container could not be started."""
        small = said.lower()
        name = program.argv[0]
        if "executable file" in small or (f'"{name.lower()}"' in small and "no such file" in small):
            return ClientFailure(
                f"The program {name!r} can't be executed in the image {self.image.uri}: {said}. Check "
                "ContainerEntrypoint, and whether the file is there and may be executed."
            )
        if "unable to find user" in small or "unable to find group" in small:
            return ClientFailure(
                f"The image {self.image.uri} has no user {self.image.user!r}, which its USER names: {said}. Name one "
                "that is in its /etc/passwd, or a number."
            )
        return InternalFailure(
            f"The container can't be started by {self.engine.name} {self.engine.version}: {said}. `penstock doctor` "
            "says whether this machine is fit."
        )


def _check_text(program: Program) -> None:
    """Engines are told by JSON."""
    try:
        "".join((*program.argv, *program.environment, *program.environment.values())).encode()
    except UnicodeEncodeError:
        raise ClientFailure(
            "An argument or variable of the program is no text, which no engine takes."
        ) from None


def _mount(mount: Any) -> Mount:
    source = mount.source.resolve()
    if not source.exists():
        raise InternalFailure(
            f"{mount.source}, which the program is to see at {mount.target}, does not exist or can't be reached by "
            f"user {os.geteuid()}."
        )
    if mount.upper is not None:
        raise InternalFailure(f"{mount.target}: containers have no overlays of ours.")
    return Mount(mount.target, str(source), type="bind", read_only=not mount.writable)


def _open(folder: Path) -> None:
    """Let a program write that runs as a user of its image's; nobody else comes through the run's closed folder."""
    subprocess.run(["chmod", "-R", "a+rwX", "--", str(folder)], check=False, capture_output=True)


def _reaper(engine: Engine) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_REAPER), engine.socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def _let_go(reaper: subprocess.Popen[bytes]) -> None:
    with suppress(BrokenPipeError):
        assert reaper.stdin is not None
        reaper.stdin.close()
    reaper.wait()
