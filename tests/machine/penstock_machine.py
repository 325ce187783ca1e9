"""Penstock's server on a simulated machine, with its objects on another."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from machine_home import ENVIRONMENTS
from machine_store import client_of
from patience import until

PORT = 9550


def build_environment(folder, image="python:3.11"):
    """Have an environment before a machine needs it: no way leads from there to an index of packages."""
    env = {**os.environ, "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS), "PENSTOCK_HOME": str(folder)}
    program = Path(sys.executable).with_name("penstock")
    subprocess.run(
        [program, "envs", "build", image], env=env, check=True, stdout=subprocess.DEVNULL, timeout=300
    )


@contextlib.contextmanager
def penstock_on(machines, name, store, **settings):
    """A server, and how the test reaches it: its address, as long as the block lasts."""
    env = {
        "PENSTOCK_HOST": machines.address(name),
        "PENSTOCK_PORT": str(PORT),
        "PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS),
        "PENSTOCK_S3_ENDPOINT": store.endpoint,
        "PENSTOCK_S3_REGION": store.region,
        "PENSTOCK_S3_ACCESS_KEY_ID": store.access_key_id,
        "PENSTOCK_S3_SECRET_ACCESS_KEY": store.secret_access_key,
        "PENSTOCK_RUNTIME": "sandbox",
        **settings,
    }
    machines.home(name).mkdir(mode=0o700, exist_ok=True)
    with (machines.home(name) / "server.log").open("ab") as log:
        server = machines.run(
            name, [sys.executable, "-P", "-m", "penstock.server"], env, stdout=log, stderr=log
        )
    try:
        with machines.to(name, PORT) as door:
            until(lambda: _ready(f"http://{door.address}") or server.poll() is not None)
            assert server.poll() is None, (machines.home(name) / "server.log").read_text()
            yield f"http://{door.address}"
    finally:
        server.terminate()
        server.wait(90)


def client_on(machines, name, service, url):
    """A context with a client of the server on that machine."""
    keys = json.loads((machines.home(name) / "keys.json").read_text())
    return client_of(service, url, keys["access_key_id"], keys["secret_access_key"])


def _ready(url):
    try:
        with urllib.request.urlopen(f"{url}/penstock/ready", timeout=30) as answer:
            return json.loads(answer.read())["ready"]
    except (OSError, urllib.error.URLError):
        return False
