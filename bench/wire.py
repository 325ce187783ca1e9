"""Requests a second for Describe and Create against moto's server, in turn, with 8 connections each.

The load comes from one process and thread that keeps a ready-made, signed request under way on each connection: the
client costs both servers the same, and little.
"""

import contextlib
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.table import machine, median, show

CONNECTIONS = 8
SECONDS = 2.0
ROUNDS = 5
MOTO = Path(__file__).parents[1] / ".cache" / "bench-moto"
OURS, THEIRS = 17750, 17850


def main():
    with tempfile.TemporaryDirectory() as home, penstock(home) as keys, moto():
        servers = {"penstock": (OURS, keys), "moto": (THEIRS, Credentials("id", "secret"))}
        for port, pair in servers.values():
            assert one(port, create(port, pair, "described")).startswith(b"HTTP/1.1 200")
        rates = {(what, name): [] for what in ("Describe", "Create") for name in servers}
        for turn in range(ROUNDS):
            for name, (port, pair) in servers.items():
                describe = request(port, pair, "DescribeProcessingJob", {"ProcessingJobName": "described"})
                rates["Describe", name].append(rate(port, lambda _, d=describe: d))
                jobs = [
                    [create(port, pair, f"{name}-{turn}-{c}-{n}") for n in range(1200)]
                    for c in range(CONNECTIONS)
                ]
                rates["Create", name].append(rate(port, lambda c, j=jobs: j[c].pop() if j[c] else None))
    rows = []
    for what in ("Describe", "Create"):
        ours, theirs = rates[what, "penstock"], rates[what, "moto"]
        ratio = median([a / b for a, b in zip(ours, theirs, strict=True)])
        rows.append((what, f"{median(ours):.0f}", f"{median(theirs):.0f}", f"{ratio:.1f}"))
    show(
        f"Requests a second, {CONNECTIONS} connections (median of {ROUNDS} in turn; {machine()})",
        ("", "penstock", "moto", "ratio"),
        rows,
    )


def rate(port, next_request):
    """How many requests were answered with 200 in a second."""
    answered, waiting = 0, selectors.DefaultSelector()
    for number in range(CONNECTIONS):
        ask(waiting, connect(port), number, next_request)
    began = time.perf_counter()
    while time.perf_counter() < began + SECONDS and waiting.get_map():
        for key, _ in waiting.select(1):
            number, got = key.data
            got += key.fileobj.recv(65536)
            if not complete(got):
                continue
            assert got.startswith(b"HTTP/1.1 200"), bytes(got)
            answered += 1
            waiting.unregister(key.fileobj)
            connection = key.fileobj
            if b"connection: close" in got.lower():  # moto's server does so after each answer
                connection.close()
                connection = connect(port)
            ask(waiting, connection, number, next_request)
    took = time.perf_counter() - began
    for key in list(waiting.get_map().values()):
        key.fileobj.close()
    return answered / took


def ask(waiting, connection, number, next_request):
    """Send the connection's next request, if there is one."""
    data = next_request(number)
    if data is None:
        connection.close()
        return
    connection.sendall(data)
    waiting.register(connection, selectors.EVENT_READ, (number, bytearray()))


def complete(got):
    """Whether an answer has arrived whole."""
    head, end, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(end) and len(body) >= int(length[1])


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def one(port, data):
    """The answer to one request."""
    got = bytearray()
    with connect(port) as connection:
        connection.sendall(data)
        while not complete(got):
            got += connection.recv(65536)
    return got


def create(port, keys, name):
    return request(port, keys, "CreateProcessingJob", new_job(name))


def new_job(name):
    return {
        "ProcessingJobName": name,
        "RoleArn": "arn:aws:iam::000000000000:role/r",
        "AppSpecification": {"ImageUri": "python:3.11", "ContainerEntrypoint": ["true"]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
        },
    }


def request(port, keys, operation, params):
    sent = AWSRequest("POST", f"http://127.0.0.1:{port}/", data=json.dumps(params))
    sent.headers["Host"] = f"127.0.0.1:{port}"
    sent.headers["Content-Type"] = "application/x-amz-json-1.1"
    sent.headers["X-Amz-Target"] = f"SageMaker.{operation}"
    SigV4Auth(keys, "sagemaker", "us-east-1").add_auth(sent)
    body = sent.data.encode() if isinstance(sent.data, str) else sent.data
    head = "".join(f"{k}: {v}\r\n" for k, v in sent.headers.items())
    return f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def penstock(home, at=OURS, **more):
    """A server whose jobs wait: what is measured is the acknowledgement, on disk, and not the running."""
    # An S3 that is not there keeps the dispatcher from starting what is created.
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PENSTOCK_"))},
        "PENSTOCK_HOME": home,
        "PENSTOCK_PORT": str(at),
        "PENSTOCK_S3_ENDPOINT": "http://127.0.0.1:9",
        "PENSTOCK_S3_ACCESS_KEY_ID": "id",
        "PENSTOCK_S3_SECRET_ACCESS_KEY": "secret",
        **more,
    }
    server = subprocess.Popen([sys.executable, "-m", "penstock.server"], env=env, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{at}/penstock/status")
        keys = json.loads((Path(home) / "keys.json").read_text())
        yield Credentials(keys["access_key_id"], keys["secret_access_key"])
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def moto():
    program = MOTO / "bin" / "moto_server"
    if not program.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        python = str(MOTO / "bin" / "python")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(MOTO)], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, "moto[server]"], check=True
        )
    server = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(THEIRS)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{THEIRS}/moto-api/")
        yield
    finally:
        server.terminate()
        server.wait()


def wait_for(url):
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
