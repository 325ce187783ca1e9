"""Finds the local server, or starts one. Used by the SDK and the CLI; imports none of the server's code."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from penstock.config import Settings, home_folder
from penstock.errors import ServerUnavailable
from penstock.home import Home, ServerRecord

_START_SECONDS = 60.0

#: What brings the server's packages to where only the SDK is installed.
INSTALL_SERVER = f"{sys.executable} -m pip install 'penstock[server]'"


@dataclass(frozen=True)
class Address:
    """Where the local server is, and what a client needs to speak to it."""

    endpoint: str
    s3_endpoint: str
    """Where a client finds its objects: the embedded store, or the server, which knows where else they lie."""
    region: str
    s3_region: str
    account: str
    bucket: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    has_kms: bool = False
    """Whether S3 can encrypt by keys of a KMS."""
    local_inputs: tuple[str, ...] = ()
    """Folders of this machine that may be inputs as they lie."""


def ensure(start: bool = True) -> Address:
    """The address of the server of this home; starts one when none runs, and returns when jobs can be sent.

    Raises:
        ServerUnavailable: None runs and none could be started (or `start` is False); the message says why.
        ConfigurationError: A setting can't be used.
    """
    home = Home(home_folder())
    record = home.server()
    if record is None:
        if not start:
            raise ServerUnavailable(f"No Penstock server runs for {home.path}. Start one with `penstock up`.")
        record = start_server(Settings.read())
    _wait_ready(record)
    return address(home, record)


def address(home: Home, record: ServerRecord) -> Address:
    """What a client needs for the server of `record`."""
    keys = home.keys()
    directly = record.own_s3 and not record.s3_buckets
    return Address(
        endpoint=record.endpoint,
        s3_endpoint=(directly and record.s3_endpoint) or record.endpoint,
        region=record.region,
        s3_region=record.s3_region,
        account=record.account,
        bucket=record.bucket,
        access_key_id=keys.access_key_id,
        secret_access_key=keys.secret_access_key,
        has_kms=record.s3_endpoint is None,
        local_inputs=tuple(record.local_inputs),
    )


def start_server(settings: Settings) -> ServerRecord:
    """Start a server in the background and return once it answers.

    Raises:
        ServerUnavailable: Its packages are not installed; or it ended before it answered, and the message holds the
            end of its log.
    """
    if missing := missing_packages():
        raise ServerUnavailable(
            "No Penstock server runs, and none can be started from this Python, which has Penstock's SDK without "
            f"its server (missing: {', '.join(missing)}). Install it with: {INSTALL_SERVER}"
        )
    home = Home(settings.home)
    home.make()
    log = home.path / "server.log"
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "penstock.server"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            start_new_session=True,
            env={
                **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                "PENSTOCK_HOME": str(home.path),
            },
        )
    # It outlives us; but as long as we live, somebody must wait for it when it ends.
    threading.Thread(target=process.wait, name="reap server", daemon=True).start()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        record = home.server()
        if record is not None:
            return record
        # When two clients start at once, one of the servers gives way; both clients then find the other.
        if process.returncode is not None and not home.held():
            raise ServerUnavailable(f"The Penstock server could not be started: {_last_lines(log)}")
        time.sleep(0.01)
    raise ServerUnavailable(f"The Penstock server did not answer within {_START_SECONDS:.0f} s. See {log}.")


def missing_packages() -> list[str]:
    """The packages of the extra `server` that this Python lacks, by what Penstock's own metadata ask for."""
    try:
        asked = importlib.metadata.requires("penstock") or []
    except importlib.metadata.PackageNotFoundError:  # run from its source, without having been installed
        return []
    names = [
        re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in asked if re.search(r"extra == .server", text)
    ]
    return sorted(name for name in names if not _is_installed(name))


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def get(record: ServerRecord, path: str, timeout: float = 90) -> tuple[int, dict[str, object]]:
    """Ask the server for one of its own pages: status and JSON.

    Raises:
        ServerUnavailable: Nobody answers.
    """
    where = urlsplit(record.endpoint)
    connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ServerUnavailable(
            f"The Penstock server at {record.endpoint} (process {record.pid}) does not answer: {error}."
        ) from error
    finally:
        connection.close()


def _wait_ready(record: ServerRecord) -> None:
    status, answer = get(record, "/penstock/ready")
    if status != 200:
        raise ServerUnavailable(str(answer.get("error") or "The server is not ready."))


def _last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return "\n".join(lines[-5:]).removeprefix("penstock: ") or f"it said nothing; see {log}."
