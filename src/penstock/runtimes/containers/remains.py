"""What containers leave behind: those of dead runners, and files that belong to users of an image's.

A container belongs to a run by its label, the path of the run's folder; a mark in that folder tells by which engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from docker.errors import DockerException, NotFound
from docker.types import Mount

from penstock.errors import InternalFailure
from penstock.runtimes.containers.engine import Engine, ask, brief, reach
from penstock.runtimes.containers.image import Image
from penstock.runtimes.containers.sockets import MARK, listens

LABEL = "penstock.run"
#: The machine's own folders that `chown` needs to run, whatever the image is made of.
_SYSTEM = ("usr", "lib", "lib64", "bin")
#: By which the image would say what code `chown` loads: the machine's own, and none.
_LOADED = {"/etc/ld.so.cache": "/etc/ld.so.cache", "/etc/ld.so.preload": "/dev/null"}


def mark(folder: Path, engine: Engine, image: Image) -> None:
    """Note in the run's folder that it has a container."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(json.dumps({"socket": engine.socket, "image": image.id}))


def unmark(folder: Path) -> None:
    """Its container is gone."""
    (folder / MARK).unlink(missing_ok=True)


def release(folder: Path) -> None:
    """End and remove the containers of a run whose runner is dead, and take over its files. May be repeated.

    Raises:
        InternalFailure: The engine does not answer.
    """
    try:
        told = json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return  # it had none
    # The socket of a service of our own has gone with its runner.
    engine = ask(told["socket"]) if listens(told["socket"]) else reach()
    client = engine.client()
    try:
        for found in client.containers(all=True, filters={"label": f"{LABEL}={folder}"}):
            with suppress(NotFound):
                client.remove_container(found["Id"], force=True, v=True)
    except DockerException as error:
        raise InternalFailure(f"The containers of {folder} can't be removed: {brief(error)}.") from error
    finally:
        client.close()
    take_over(engine, told["image"], [folder])


def take_over(engine: Engine, image: str, folders: Sequence[Path]) -> None:
    """Give this process's user what users of an image's own have made in `folders`, so that it can be removed.

    A container does it, of the same image but with the machine's own `chown`: only the engine has the right to.

    Raises:
        InternalFailure: It can't be done.
    """
    user, group = os.geteuid(), os.getegid()
    theirs = [folder for folder in folders if user and _has_others_files(folder, user)]
    if not theirs:
        return
    owner = "0:0" if engine.rootless else f"{user}:{group}"
    system = [
        Mount(f"/{name}", f"/{name}", type="bind", read_only=True)
        for name in _SYSTEM
        if Path("/", name).exists()
    ]
    system += [
        Mount(target, source, type="bind", read_only=True)
        for target, source in _LOADED.items()
        if Path(source).exists()
    ]
    places = {f"/opt/penstock/{number}": folder for number, folder in enumerate(theirs)}
    client = engine.client()
    try:
        options = client.create_host_config(
            network_mode="none",
            cap_drop=["ALL"],
            # Not DAC_READ_SEARCH, by which files are opened that no mount shows.
            cap_add=["CHOWN", "DAC_OVERRIDE"],
            security_opt=["no-new-privileges"],
            log_config={"Type": "none"},
            userns_mode="host" if engine.remapped and not engine.rootless else None,
            mounts=[*system, *(Mount(place, str(folder), type="bind") for place, folder in places.items())],
        )
        made = client.create_container(
            image,
            entrypoint=["/usr/bin/chown", "-hR", owner, "--", *places],
            environment={"PATH": "/usr/bin", "LD_LIBRARY_PATH": "", "LD_PRELOAD": ""},
            user="0:0",
            healthcheck={"test": ["NONE"]},
            host_config=options,
            labels={LABEL: str(folders[0])},
        )["Id"]
        try:
            client.start(made)
            code = client.wait(made)["StatusCode"]
        finally:
            client.remove_container(made, force=True, v=True)
    except DockerException as error:
        raise InternalFailure(_stay(theirs, brief(error))) from error
    if code:
        raise InternalFailure(_stay(theirs, f"chown ended with {code}"))


def _stay(folders: Sequence[Path], why: str) -> str:
    names = ", ".join(map(str, folders))
    return f"Files in {names} stay with the users of the container that made them: {why}."


def _has_others_files(folder: Path, user: int) -> bool:
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.stat(follow_symlinks=False).st_uid != user:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue  # of our own and closed: removed as such folders of any program are
    return False
