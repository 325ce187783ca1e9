"""The home folder: who may run a server here, with which keys, and where the running one is.

Only the standard library is used: clients read the same files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from penstock.errors import ConfigurationError


class AlreadyServed(ConfigurationError):
    """Another server holds this home."""


@dataclass(frozen=True)
class Keys:
    """The access key pair that clients sign with, at our door and at the object store's."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class ServerRecord:
    """What `server.json` tells of the running server. No secrets."""

    pid: int
    endpoint: str
    s3_endpoint: str | None
    """None: plain AWS S3."""
    version: str
    home: str
    region: str
    account: str
    bucket: str
    started_at: int
    s3_region: str
    own_s3: bool
    """Whether the store is one that Penstock runs itself."""
    s3_buckets: Mapping[str, str | None] = field(default_factory=dict)
    """The buckets that lie elsewhere, and at which endpoint; None: plain AWS S3."""
    local_inputs: Sequence[str] = ()
    """Folders of this machine that may be inputs as they lie."""


@dataclass(frozen=True)
class Home:
    """The folder in which one server keeps all its state."""

    path: Path

    @property
    def cache(self) -> Path:
        """Inputs that were downloaded, for all jobs; may be removed at any time at which none runs."""
        return self.path / "cache"

    def make(self) -> None:
        """Create the folder, readable by nobody else.

        Raises:
            ConfigurationError: It can't be made or written.
        """
        with self._usable():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one server of this home. The kernel lets go of it when the process ends, however it ends.

        Raises:
            AlreadyServed: Another process holds it.
            ConfigurationError: The folder can't be written.
        """
        with self._usable():
            descriptor = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            record = self.server()
            where = f" at {record.endpoint} (process {record.pid})" if record else ""
            raise AlreadyServed(f"A Penstock server already runs for {self.path}{where}.") from None
        # What a dead server told of itself must not be taken for our word: its port may be somebody else's now.
        (self.path / "server.json").unlink(missing_ok=True)
        try:
            yield
        finally:
            (self.path / "server.json").unlink(missing_ok=True)
            os.close(descriptor)

    def held(self) -> bool:
        """Whether a server holds this home now.

        Raises:
            ConfigurationError: The folder is a file, or somebody else's.
        """
        try:
            with self._usable():
                descriptor = os.open(self.path / "server.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def server(self) -> ServerRecord | None:
        """The running server, or None. A record left behind by a dead one counts for nothing."""
        if not self.held():
            return None
        try:
            return ServerRecord(**json.loads((self.path / "server.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None  # it is just starting

    def announce(self, record: ServerRecord) -> None:
        """Tell where the server is; the file appears whole or not at all."""
        self._write("server.json", json.dumps(asdict(record), indent=2))

    def keys(self) -> Keys:
        """The generated key pair, made at the first call.

        Raises:
            ConfigurationError: It can't be read, or not be written.
        """
        path = self.path / "keys.json"
        try:
            with self._usable():
                return Keys(**json.loads(path.read_text()))
        except FileNotFoundError:
            pass
        letters = string.ascii_uppercase + "234567"
        identifier = "AKIAPENSTOCK" + "".join(secrets.choice(letters) for _ in range(8))
        keys = Keys(identifier, secrets.token_urlsafe(30))
        with self._usable():
            self._write("keys.json", json.dumps(asdict(keys), indent=2))
        return keys

    def server_id(self) -> str:
        """By which name servers that share a database know the one of this home; made at the first call.

        Raises:
            ConfigurationError: It can't be read, or not be written.
        """
        with self._usable():
            if self.known_id() is None:
                self._write("server.id", secrets.token_hex(8))
        known = self.known_id()
        if known is None:
            raise ConfigurationError(f"{self.path / 'server.id'} can't be read, or is empty: remove it.")
        return known

    def known_id(self) -> str | None:
        """The same, if it has been made and may be read."""
        try:
            return (self.path / "server.id").read_text().strip() or None
        except (OSError, ValueError):
            return None

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        """Tell what to do when the system refuses a file of this home. That one is missing passes through."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ConfigurationError(
                f"The home folder {self.path} can't be used: {error.strerror}. Set PENSTOCK_HOME to a folder of yours."
            ) from error

    def _write(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
        temporary.replace(self.path / name)
