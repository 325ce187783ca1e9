"""Log-ins at registries: where `docker login` and `podman login` keep them, credential helpers included."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker.auth import load_config
from docker.errors import DockerException

from penstock.errors import ClientFailure


def credentials(registry: str, environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The log-in for `registry`, from the first file that has one; None: there is none.

    Raises:
        ClientFailure: A credential helper that a file names is not installed, or fails.
    """
    env = os.environ if environ is None else environ
    for path in files(env):
        try:
            with warnings.catch_warnings(action="ignore"):  # of a missing helper, which is told below
                login = load_config(config_path=str(path)).resolve_authconfig(registry)
        except DockerException as error:
            raise ClientFailure(
                f"The log-in at {registry} can't be had: {error}. The credential helper is named in {path}: install "
                "it where Penstock finds it, or log in without one."
            ) from error
        if login:
            return dict(login)
    return None


def files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The files that are there, in the order in which they are asked."""
    home = Path(environ.get("HOME") or "~").expanduser()
    docker = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    places = [docker / "config.json"]
    if said := environ.get("REGISTRY_AUTH_FILE"):
        places.insert(0, Path(said))
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    if os.getuid() == 0:
        places.append(Path("/run/containers/0/auth.json"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    places += [Path(runtime, "containers/auth.json"), config / "containers/auth.json"]
    return (path for path in places if path.is_file())
