"""HAProxy in front of several servers, as anybody would set it up: plain TCP, with checks that take out who is down."""

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import until

ROOT = Path(__file__).parents[2]

_CONFIG = """
global
    maxconn 1000
defaults
    mode tcp
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout check 1s
    retries 3
    option redispatch 1
frontend penstock
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk GET /penstock/status
    default-server check inter 250ms fall 1 rise 1 on-marked-down shutdown-sessions
"""


def program():
    """HAProxy, which is installed where that is possible; else the test is skipped."""
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None and os.getuid() == 0 and shutil.which("apt-get"):
        subprocess.run([ROOT / "tools/install_haproxy.sh"], check=True)
        found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("HAProxy is not installed. On Debian or Ubuntu: sudo apt-get install haproxy")
    return found


@contextmanager
def balancer(folder, addresses):
    """The one address of all those servers, as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = [f"    server server{n} {address.removeprefix('http://')}" for n, address in enumerate(addresses)]
    config = folder / "haproxy.cfg"
    config.write_text(_CONFIG.format(port=port) + "\n".join(lines) + "\n")
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program(), "-db", "-f", config], stdout=log, stderr=log)
    try:
        until(lambda: _answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
