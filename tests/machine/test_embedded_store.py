"""The embedded store for real: its life, its files, and what a job without its key can do to it (nothing)."""

import contextlib
import dataclasses
import io
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from penstock.errors import ConfigurationError
from penstock.job.run import S3Access
from penstock.objectstore.armour import write_configuration
from penstock.objectstore.external import ExternalStore
from penstock.objectstore.ports import Ports
from penstock.objectstore.weed import EmbeddedStore

pytestmark = pytest.mark.machine

BUCKET = "sagemaker-us-east-1-000000000000"
KEY_ID = "PSTKTESTKEY"
SECRET_KEY = "not-in-argv-0123456789"
SECRET = b"the-secret-of-another-job-" * 200
READY = 60

#: What the parts of SeaweedFS answer by HTTP when nothing guards them, the destructive ones included.
PATHS = (
    "/",
    "/admin/status",
    "/admin/vacuum/check",
    "/api/config",
    "/buckets",
    f"/buckets/{BUCKET}/",
    f"/buckets/{BUCKET}/secret",
    f"/buckets/{BUCKET}/?pretty=y&metadata=true",
    f"/buckets/{BUCKET}?recursive=true",
    f"/.tus/buckets/{BUCKET}/secret",
    "/.tus",
    "/1,01",
    "/2,01",
    "/3,0100000000",
    "/cluster/healthz",
    "/cluster/status",
    f"/col/delete?collection={BUCKET}",
    "/debug/pprof/heap",
    "/dir/assign",
    "/dir/assign?count=1",
    "/dir/lookup?volumeId=1",
    "/dir/status",
    "/etc/iam/identity.json",
    "/etc/s3/",
    "/healthz",
    "/metrics",
    "/status",
    "/stats/disk",
    "/submit",
    "/topics",
    "/ui/index.html",
    "/v1/config",
    "/vol/grow?count=1",
    "/vol/status",
    "/vol/vacuum?garbageThreshold=0",
)
METHODS = ("GET", "PUT", "POST", "DELETE")
#: The preface of HTTP/2, by which each gRPC conversation begins, and an empty SETTINGS frame.
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def make(folder: Path, **changes: str) -> EmbeddedStore:
    values = {"access_key_id": KEY_ID, "secret_access_key": SECRET_KEY, "bucket": BUCKET, **changes}
    # Tests run side by side, hence a port that follows from the folder.
    return EmbeddedStore(
        folder, region="us-east-1", port=9600 + zlib.crc32(str(folder).encode()) % 1000, **values
    )


@contextlib.contextmanager
def s3(access: S3Access, **changes: str) -> Iterator:
    client = boto3.session.Session().client(
        "s3",
        **{
            "endpoint_url": access.endpoint,
            "region_name": access.region,
            "aws_access_key_id": access.access_key_id,
            "aws_secret_access_key": access.secret_access_key,
            "config": Config(
                s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1}
            ),
            **changes,
        },
    )
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def store(tmp_path):
    store = make(tmp_path / "store")
    yield store
    store.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A store that holds a secret, for the tests that only look at it or attack it."""
    store = make(tmp_path_factory.mktemp("home") / "store")
    store.start()
    try:
        store.wait_ready(READY)
        wait_until_whole(store)
        with s3(store.access) as client:
            client.put_object(Bucket=BUCKET, Key="secret", Body=SECRET)
        yield store
    finally:
        store.stop()


def pids(store: EmbeddedStore) -> list[int]:
    """The store's process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = [store._process.pid]
    for pid in family:
        family.extend(child for child, parent in parents.items() if parent == pid)
    return family


def sockets(store: EmbeddedStore) -> set[str]:
    """The inodes of all sockets that the store has open."""
    found = set()
    for pid in pids(store):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.update(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
    return found


def listeners(store: EmbeddedStore) -> list[tuple[str, int]]:
    """(address in the kernel's hexadecimal form, port) of each socket that the store listens on."""
    mine, found = sockets(store), []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in mine:
                address, port = fields[1].split(":")
                found.append((address, int(port, 16)))
    return found


def known_ports(store: EmbeddedStore) -> set[int]:
    ports = Ports.remembered(store._ports_file)
    return {*dataclasses.asdict(ports).values(), ports.admin_grpc}


def wait_until_whole(store: EmbeddedStore) -> None:
    """S3 is ready before the last of the inner ports listens."""
    deadline = time.monotonic() + READY
    while not known_ports(store) <= {port for _, port in listeners(store)}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def unix_sockets(store: EmbeddedStore) -> list[Path]:
    """The paths of the unix sockets that the store listens on (flag 10000)."""
    mine, folder = sockets(store), store._folder
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [folder / row[7] for row in rows if row[6] in mine and row[3] == "00010000"]


def ask(connection: socket.socket, said: bytes) -> bytes:
    """All that the other side answers until it closes or falls silent; of HTTP/2, which stays open, the start."""
    answer = b""
    with contextlib.suppress(OSError):
        connection.sendall(said)
        while chunk := connection.recv(65536):
            answer += chunk
            if said == HTTP2:
                break
    return answer


def request(method: str, path: str) -> bytes:
    body = b"overwritten" if method in {"PUT", "POST"} else b""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def over_tls(port: int, context: ssl.SSLContext, said: bytes) -> bytes:
    with contextlib.suppress(OSError):  # a refused handshake is an OSError too
        connection = socket.create_connection(("127.0.0.1", port), timeout=2)
        with connection, context.wrap_socket(connection) as wrapped:
            return ask(wrapped, said)
    return b""


def in_clear(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        return ask(connection, said)


def trusting(*protocols: str, certificate: Path | None = None) -> ssl.SSLContext:
    """A TLS client that takes any server, and shows the certificate in a folder if it is given one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    if certificate:
        context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    return context


def inner_ports(store: EmbeddedStore) -> list[int]:
    s3_port = int(store.access.endpoint.rpartition(":")[2])
    ports = [port for _, port in listeners(store) if port != s3_port]
    assert known_ports(store) <= {
        s3_port,
        *ports,
    }  # the attack is on whatever is there, but at least on these
    return ports


def is_refusal(answer: bytes) -> bool:
    """Nothing at all, a TLS alert, or Go's own words for a plain request to a TLS server."""
    return answer == b"" or answer.startswith(
        (b"\x15\x03", b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP")
    )


def assert_unharmed(store: EmbeddedStore) -> None:
    with s3(store.access) as client:
        assert client.get_object(Bucket=BUCKET, Key="secret")["Body"].read() == SECRET
        assert [o["Key"] for o in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["secret"]
        assert [b["Name"] for b in client.list_buckets()["Buckets"]] == [BUCKET]


# --- without a key ---


def test_only_loopback_below_the_ephemeral_range(running):
    found = listeners(running)
    assert {address for address, _ in found} == {"0100007F"}
    assert all(port < 32768 for _, port in found)


def test_inner_ports_refuse_plain_requests(running):
    for port in inner_ports(running):
        for path in PATHS:
            for method in METHODS:
                answer = in_clear(port, request(method, path))
                assert is_refusal(answer), (port, method, path, answer)
        assert is_refusal(in_clear(port, HTTP2)), port
    assert_unharmed(running)


@pytest.mark.parametrize("shown", ["no certificate", "a stranger's certificate"])
def test_inner_ports_refuse_tls_without_the_stores_certificate(running, tmp_path, shown):
    stranger = None
    if shown != "no certificate":
        write_configuration(tmp_path)  # made in the same way, with the same names
        stranger = tmp_path
    http1, http2 = (trusting(name, certificate=stranger) for name in ("http/1.1", "h2"))
    for port in inner_ports(running):
        for path in PATHS:
            for method in METHODS:
                answer = over_tls(port, http1, request(method, path))
                assert answer == b"", (port, method, path, answer)
        assert over_tls(port, http2, HTTP2) == b"", port
    assert_unharmed(running)


def test_the_certificate_is_what_the_refusals_are_about(running):
    """The same requests are answered when the store's own certificate is shown: the ports are alive."""
    http1, http2 = (trusting(name, certificate=running._folder) for name in ("http/1.1", "h2"))
    for port in inner_ports(running):
        by_http = over_tls(port, http1, request("GET", "/"))
        by_grpc = over_tls(port, http2, HTTP2)
        assert by_http.startswith(b"HTTP/1.1") or by_grpc[3:4] == b"\4", port  # \4: a SETTINGS frame


def test_beneath_the_certificate_are_tokens_and_no_handlers(running):
    """A second wall, should the first one fall: not even with the certificate does HTTP give or take anything."""
    context = trusting("http/1.1", certificate=running._folder)
    for port in inner_ports(running):
        for path in PATHS:
            for method in METHODS:
                answer = over_tls(port, context, request(method, path))
                assert SECRET[:26] not in answer, (port, method, path)
    assert_unharmed(running)


def test_unix_sockets_are_the_owners_alone_and_give_nothing_away(running):
    found = unix_sockets(running)
    assert found
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        for said in (HTTP2, *(request(method, p) for p in PATHS for method in METHODS)):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2)
                connection.connect(os.path.relpath(path))  # the whole path may be too long for a socket
                answer = ask(connection, said)
            assert SECRET[:26] not in answer, (path, said)
            status = re.match(rb"HTTP/1\.[01] (\d+)", answer)
            assert is_refusal(answer) or (
                status and (status[1][:1] == b"4" or b"/healthz" in said or b"/status" in said)
            )
    assert_unharmed(running)


def test_s3_refuses_the_anonymous(running):
    port = int(running.access.endpoint.rpartition(":")[2])
    queries = (
        "",
        "?acl",
        "?list-type=2",
        "?location",
        "?policy",
        "?uploads",
        "?versions",
        "?delete",
        "?tagging",
    )
    paths = [f"/{BUCKET}{thing}{query}" for thing in ("", "/", "/secret", "/fresh") for query in queries]
    paths += [
        *PATHS,
        "/?Action=AssumeRole&Version=2011-06-15",
        "/?Action=ListUsers",
        "/?Action=CreateAccessKey",
    ]
    for path in paths:
        for method in (*METHODS, "HEAD", "OPTIONS"):
            answer = in_clear(port, request(method, path))
            assert SECRET[:26] not in answer, (method, path)
            status, told = int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]
            if status == 200:  # "I am alive", and what a browser may ask: both without a word
                assert told == b"", (method, path, answer)
                assert path in {"/healthz", "/status"} or method == "OPTIONS", (method, path, answer)
            else:
                assert status in {400, 401, 403, 404, 405, 501}, (method, path, answer)
    assert_unharmed(running)


@pytest.mark.parametrize(
    "changes",
    [{"aws_secret_access_key": "wrong"}, {"aws_access_key_id": "WRONG"}, {"aws_secret_access_key": ""}],
    ids=["wrong secret", "wrong id", "empty secret"],
)
def test_s3_refuses_wrong_keys(running, changes):
    with s3(running.access, **changes) as client:
        for call in (
            client.list_buckets,
            lambda: client.get_object(Bucket=BUCKET, Key="secret"),
            lambda: client.put_object(Bucket=BUCKET, Key="secret", Body=b"overwritten"),
            lambda: client.delete_object(Bucket=BUCKET, Key="secret"),
            lambda: client.delete_bucket(Bucket=BUCKET),
        ):
            with pytest.raises(ClientError) as refused:
                call()
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 403}
    assert_unharmed(running)


def test_keys_are_neither_in_argv_nor_in_the_log(running):
    for pid in pids(running):
        assert SECRET_KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert SECRET_KEY not in running._log.read_text()
    assert SECRET_KEY not in repr(running.access)


def test_files_are_the_owners_alone(running):
    assert stat.S_IMODE(running._folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(running._data.stat().st_mode) == 0o700
    for file in running._folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


# --- with the key ---


def test_s3_does_what_clients_need(running):
    data = os.urandom(20 << 20)
    with s3(running.access) as client:
        parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
        client.upload_fileobj(io.BytesIO(data), BUCKET, "deep/big", Config=parts)
        client.copy_object(
            Bucket=BUCKET, Key="deep/copy ü%+&", CopySource={"Bucket": BUCKET, "Key": "deep/big"}
        )
        client.put_object(Bucket=BUCKET, Key="deep/empty", Body=b"", ExpectedBucketOwner="000000000000")
        client.put_object(Bucket=BUCKET, Key="deep/sealed", Body=b"sealed", ServerSideEncryption="AES256")
        try:
            listed = client.list_objects_v2(Bucket=BUCKET, Prefix="deep/")["Contents"]
            assert [o["Key"] for o in listed] == ["deep/big", "deep/copy ü%+&", "deep/empty", "deep/sealed"]
            assert client.get_object(Bucket=BUCKET, Key="deep/copy ü%+&")["Body"].read() == data
            middle = client.get_object(Bucket=BUCKET, Key="deep/big", Range="bytes=6000000-6000099")
            assert middle["Body"].read() == data[6000000:6000100]
            assert client.get_object(Bucket=BUCKET, Key="deep/sealed")["Body"].read() == b"sealed"
            url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "secret"})
            host, _, path = url.removeprefix("http://").partition("/")
            assert in_clear(
                int(host.partition(":")[2]),
                request("GET", f"/{path}").replace(b"127.0.0.1", host.encode(), 1),
            ).endswith(SECRET)
            with pytest.raises(client.exceptions.ClientError, match="BucketNotEmpty"):
                client.delete_bucket(Bucket=BUCKET)
            with pytest.raises(client.exceptions.NoSuchBucket):
                client.put_object(Bucket="never-made", Key="x", Body=b"")
        finally:
            kept = {"Objects": [{"Key": o["Key"]} for o in listed]}
            client.delete_objects(Bucket=BUCKET, Delete=kept)
    assert_unharmed(running)


# --- its life ---


def test_the_bucket_exists_once_it_is_ready(store):
    store.start()
    store.wait_ready(READY)
    with s3(store.access) as client:
        client.head_bucket(Bucket=BUCKET)


def test_a_restart_keeps_data_and_ports(store):
    store.start()
    store.wait_ready(READY)
    before = known_ports(store)
    with s3(store.access) as client:
        client.put_object(Bucket=BUCKET, Key="kept", Body=SECRET, Metadata={"of": "mine"})
    store.stop()
    again = make(store._folder)
    again.start()
    try:
        again.wait_ready(READY)
        assert again.access == store.access
        assert known_ports(again) == before
        with s3(again.access) as client:
            kept = client.get_object(Bucket=BUCKET, Key="kept")
            assert (kept["Body"].read(), kept["Metadata"]) == (SECRET, {"of": "mine"})
    finally:
        again.stop()


def test_nothing_stays_behind_outside_the_folder(store):
    store.start()
    store.wait_ready(READY)
    wait_until_whole(store)
    outside = [path for path in unix_sockets(store) if not path.is_relative_to(store._folder)]
    assert outside
    process = store._process.pid
    store.stop()
    assert [path for path in outside if path.exists()] == []
    assert not Path(f"/proc/{process}").exists()


def test_other_ports_after_a_restart_when_they_are_taken_and_the_data_is_still_there(store):
    store.start()
    store.wait_ready(READY)
    with s3(store.access) as client:
        client.put_object(Bucket=BUCKET, Key="kept", Body=SECRET)
    store.stop()
    before = Ports.remembered(store._ports_file)
    with contextlib.ExitStack() as squatters:
        for port in (before.s3, before.master, before.volume, before.filer_grpc):
            squatters.enter_context(socket.create_server(("127.0.0.1", port)))
        store.start()
        store.wait_ready(READY)
        after = Ports.remembered(store._ports_file)
        assert before.s3 != after.s3
        assert store.access.endpoint == f"http://127.0.0.1:{after.s3}"
        with s3(store.access) as client:
            assert client.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == SECRET
            client.put_object(Bucket=BUCKET, Key="more", Body=SECRET)


def test_a_kill_loses_nothing_and_the_next_start_works(store):
    store.start()
    store.wait_ready(READY)
    with s3(store.access) as client:
        for n in range(20):
            client.put_object(Bucket=BUCKET, Key=f"kept/{n}", Body=SECRET)
    process = store._process
    process.kill()
    process.wait()
    store.start()
    store.wait_ready(READY)
    assert store._process.pid != process.pid
    with s3(store.access) as client:
        for n in range(20):
            assert client.get_object(Bucket=BUCKET, Key=f"kept/{n}")["Body"].read() == SECRET


def test_a_second_start_finds_the_one_that_runs(store):
    store.start()
    other = make(store._folder)
    other.start()  # while the first is still on its way up
    other.wait_ready(READY)
    assert other._process is None
    assert other.access == store.access
    other.stop()  # it may end what it has found
    with pytest.raises(ConfigurationError, match="has ended"):
        store.wait_ready(READY)


def test_it_outlives_whoever_started_it(tmp_path):
    script = (
        "import sys; from pathlib import Path; from penstock.objectstore.weed import EmbeddedStore\n"
        "store = EmbeddedStore(Path(sys.argv[1]), region='us-east-1', access_key_id=sys.argv[2],\n"
        "    secret_access_key=sys.argv[3], bucket=sys.argv[4], port=int(sys.argv[5]))\n"
        "store.start()\n"
        "print(store._process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    store = make(tmp_path / "store")
    argv = [str(store._folder), KEY_ID, SECRET_KEY, BUCKET, str(store._port)]
    starter = subprocess.Popen(
        [sys.executable, "-c", script, *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with starter:
            pid = int(starter.stdout.readline())
            os.killpg(starter.pid, signal.SIGKILL)  # as an impatient terminal would
        store.start()
        store.wait_ready(READY)
        assert store._process is None
        assert os.getsid(pid) == pid
    finally:
        store.stop()
    assert not Path(f"/proc/{pid}/exe").exists()


def test_other_keys_than_the_running_ones_are_told_as_such(running):
    other = make(running._folder, secret_access_key="changed")
    other.start()
    with pytest.raises(ConfigurationError, match="runs with other keys"):
        other.wait_ready(READY)


def test_an_early_end_is_told_at_once_with_the_reason(store, monkeypatch):
    ports = Ports.choose(store._folder, 9600)
    monkeypatch.setattr(Ports, "choose", lambda *_: ports)
    with socket.create_server(("127.0.0.1", ports.filer)):
        store.start()
        with pytest.raises(
            ConfigurationError, match=rf"(?s)has ended by itself.*port {ports.filer} for Filer.*not avail"
        ) as told:
            store.wait_ready(READY)
    assert SECRET_KEY not in str(told.value)


# --- as a store of the user's own ---


def test_an_external_store_makes_its_bucket_or_finds_it(running):
    store = ExternalStore(lambda: running.access, "made-by-external")
    store.wait_ready(10)
    store.wait_ready(10)
    with s3(running.access) as client:
        client.delete_bucket(Bucket="made-by-external")


@pytest.mark.parametrize(
    ("key_id", "secret", "code"),
    [("WRONG", SECRET_KEY, "InvalidAccessKeyId"), (KEY_ID, "wrong", "SignatureDoesNot")],
)
def test_an_external_store_that_refuses_is_told_with_its_own_words(running, key_id, secret, code):
    access = S3Access(running.access.endpoint, "us-east-1", key_id, secret)
    with pytest.raises(ConfigurationError, match=code) as told:
        ExternalStore(lambda: access, BUCKET).wait_ready(10)
    assert BUCKET in str(told.value)
    assert running.access.endpoint in str(told.value)
    assert "PENSTOCK_S3_ACCESS_KEY_ID" in str(told.value)
    assert secret not in str(told.value)
