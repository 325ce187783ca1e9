"""An image: found at the engine or pulled, and what it says of the programs in it."""

from __future__ import annotations

import platform
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.auth import resolve_repository_name
from docker.errors import DockerException, ImageNotFound
from docker.utils import parse_repository_tag

from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.runtimes.containers.credentials import credentials
from penstock.runtimes.containers.engine import Engine, brief
from penstock.runtimes.containers.pulling import Pulling

#: Seconds between two looks at whether the pull is still wanted.
_GLANCE = 0.2
#: The engines' names of architectures, where they are not the kernel's.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
#: Where the shell lies that joins stdout and stderr.
SHELL = "/bin/sh"


@dataclass(frozen=True)
class Image:
    """An image that the engine has."""

    uri: str
    """As the job names it."""
    id: str
    """Its own digest, by which it is run: the name may come to mean another one."""
    digest: str | None
    """The manifest's digest at the registry; None for one that was made here."""
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    """As the image has it, name or number; empty: root."""
    working_directory: str
    architecture: str
    size: int
    shell: bool
    """Whether it has a shell at `SHELL`."""

    @property
    def by_root(self) -> bool:
        """Whether its programs run as root."""
        return self.user.partition(":")[0] in {"", "0", "root"}

    def argv(self, entrypoint: Sequence[str], arguments: Sequence[str]) -> tuple[str, ...]:
        """What is run, by Docker's rules: an entrypoint given drops the image's CMD, arguments given replace it.

        Raises:
            ClientFailure: Neither the job nor the image names a program.
        """
        own = (*self.entrypoint, *(arguments or self.command))
        argv = (*entrypoint, *arguments) if entrypoint else own
        if not argv:
            raise ClientFailure(
                f"The image {self.uri} has neither ENTRYPOINT nor CMD, so there is nothing to run. "
                "Give ContainerEntrypoint."
            )
        return argv


def obtain(
    engine: Engine,
    uri: str,
    *,
    always: bool,
    notes: Path,
    progress: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> Image | None:
    """The image `uri`, pulled when the engine has none of that name.

    Args:
        engine: Whose image it is to be.
        uri: Any name that the engine takes.
        always: Whether to ask the registry even so, for what the name means now.
        notes: A folder for what was found out about images, by their id.
        progress: Told what is done when it takes time.
        cancelled: Polled while the image is pulled.

    Returns:
        None when it was cancelled.

    Raises:
        ClientFailure: There is no such image, no log-in for it, or it is made for another kind of processor.
        InternalFailure: The registry can't be reached, or the engine fails.
    """
    client = engine.client()
    try:
        found = None if always else _inspect(client, uri)
        if found is None:
            if not _pull(engine, uri, progress, cancelled):
                return None
            found = _inspect(client, uri)
        if found is None:
            raise InternalFailure(f"{engine.name} pulled the image {uri} and does not have it.")
        _check_architecture(uri, str(found.get("Architecture") or ""))
        config = found.get("Config") or {}
        return Image(
            uri=uri,
            id=str(found["Id"]),
            digest=_digest(uri, found.get("RepoDigests") or []),
            entrypoint=_words(config.get("Entrypoint")),
            command=_words(config.get("Cmd")),
            user=str(config.get("User") or ""),
            working_directory=str(config.get("WorkingDir") or "/"),
            architecture=str(found.get("Architecture") or ""),
            size=int(found.get("Size") or 0),
            shell=_has_shell(client, str(found["Id"]), notes),
        )
    except (DockerException, OSError) as error:
        raise InternalFailure(f"{engine.name} can't tell of the image {uri}: {brief(error)}.") from error
    finally:
        client.close()


def _inspect(client: docker.APIClient, uri: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = client.inspect_image(uri)
    except ImageNotFound:
        return None
    return found


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _digest(uri: str, known: Sequence[str]) -> str | None:
    """The digest of the repository that the name means, or of any from which the same image came."""
    repository = parse_repository_tag(uri)[0]
    of = {name.partition("@")[0]: name.partition("@")[2] for name in known}
    return of.get(repository) or of.get(f"docker.io/{repository}") or next(iter(of.values()), None)


def _check_architecture(uri: str, made_for: str) -> None:
    kernel = platform.machine()
    ours = _ARCHITECTURES.get(kernel, kernel)
    emulated = any(Path("/proc/sys/fs/binfmt_misc").glob("qemu-*"))
    if made_for and made_for != ours and not emulated:
        raise ClientFailure(
            f"The image {uri} is made for {made_for} processors, and this machine has {ours} ones. Build it for "
            f"linux/{ours} (docker build --platform linux/{ours})."
        )


def _has_shell(client: docker.APIClient, identity: str, notes: Path) -> bool:
    """Looked up once per image: a look into an image takes the engine as long as a start."""
    note = notes / f"{identity.removeprefix('sha256:')}.shell"
    if note.exists():
        return note.read_text() == "yes"
    made = client.create_container(identity, entrypoint=[SHELL])["Id"]
    try:
        answer = client.head(client._url("/containers/{0}/archive", made), params={"path": SHELL})  # noqa: SLF001 - get_archive would fetch it
    finally:
        client.remove_container(made, force=True, v=True)
    notes.mkdir(mode=0o700, parents=True, exist_ok=True)
    note.write_text("yes" if answer.ok else "no")
    return bool(answer.ok)


def _pull(engine: Engine, uri: str, progress: Callable[[str], None], cancelled: Callable[[], bool]) -> bool:
    """Pull; False when it was cancelled."""
    repository, tag = parse_repository_tag(uri)
    registry, _ = resolve_repository_name(repository)
    login = credentials(registry)
    began = time.monotonic()
    progress(f"Pulling the image {uri} by {engine.name}{'' if login is None else ', with a log-in'}")
    pulling = Pulling()
    client = engine.client(timeout=None)
    lines: queue.Queue[Mapping[str, Any] | BaseException | None] = queue.Queue()
    arguments = {"tag": tag or "latest", "stream": True, "decode": True, "auth_config": login}

    def read() -> None:
        try:
            for line in client.pull(repository, **arguments):
                lines.put(line)
            lines.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            lines.put(error)

    # Daemon: where the engine says nothing, only the end of the connection ends it.
    threading.Thread(target=read, name="pull", daemon=True).start()
    try:
        while not cancelled():
            try:
                line = lines.get(timeout=_GLANCE)
            except queue.Empty:
                continue
            if line is None:
                progress(f"Pulled {uri} in {time.monotonic() - began:.1f} s")
                return True
            if isinstance(line, BaseException):
                raise _refused(engine, uri, registry, brief(line), login) from line
            if problem := line.get("error") or (line.get("errorDetail") or {}).get("message"):
                raise _refused(engine, uri, registry, " ".join(str(problem).split()), login)
            for said in pulling.take(line):
                progress(said)
        return False
    finally:
        client.close()


#: What registries and engines say, in small letters, and what it comes down to.
_LOGIN = (
    "unauthorized",
    "authentication required",
    "access denied",
    "access to the resource is denied",
    "no basic auth",
    "docker login",
    "forbidden",
    "invalid username/password",
    "incorrect username or password",
)
_ABSENT = ("manifest unknown", "not found", "name unknown", "name_unknown", "manifest_unknown")
_FOREIGN = ("no matching manifest", "no image found in manifest list", "no image found in image index")
_UNREACHED = (
    "no such host",
    "connection refused",
    "i/o timeout",
    "deadline exceeded",
    "network is unreachable",
    "tls:",
    "x509",
    "server gave http response",
    "pinging container registry",
)


def _refused(
    engine: Engine, uri: str, registry: str, said: str, login: Mapping[str, Any] | None
) -> JobFailure:
    """Why a pull failed, as far as the engine's words tell."""
    small = said.lower()
    if "no space left" in small:
        return InternalFailure(
            f"The disk has no room for the image {uri}. Free some: {engine.name} said: {said}."
        )
    if any(words in small for words in _LOGIN):
        who = (
            "Nobody is logged in"
            if login is None
            else f"The log-in of {login.get('username') or 'a token'} is refused"
        )
        command = "podman login" if engine.name == "Podman" else "docker login"
        return ClientFailure(
            f"The image {uri} can't be pulled: {who} at {registry}, or there is no such image. Log in, as the user who "
            f"runs Penstock: {_login_command(registry, command)}. The registry said: {said}."
        )
    if any(words in small for words in _FOREIGN):
        ours = _ARCHITECTURES.get(platform.machine(), platform.machine())
        return ClientFailure(
            f"The image {uri} is not made for this machine's processors ({ours}). Build it for linux/{ours}. "
            f"{engine.name} said: {said}."
        )
    if any(words in small for words in _UNREACHED):
        return InternalFailure(
            f"The registry {registry} of the image {uri} can't be reached: {said}. Check the network, or bring the "
            f"image by {engine.name.lower()} load."
        )
    if any(words in small for words in _ABSENT):
        return ClientFailure(f"There is no image {uri} at {registry}: {said}. Check repository and tag.")
    return InternalFailure(f"The image {uri} can't be pulled from {registry}: {said}.")


def _login_command(registry: str, command: str) -> str:
    if ".dkr.ecr." in registry:
        region = registry.split(".")[3]
        return f"aws ecr get-login-password --region {region} | {command} --username AWS --password-stdin {registry}"
    return f"{command} {registry}"
