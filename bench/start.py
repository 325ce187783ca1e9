"""From the start of the server's process to its first answer, and to the store's readiness."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from bench.table import machine, median, show, spread

ROUNDS = 5


def main():
    first, ready = [], []
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PENSTOCK_HOME": folder, "PENSTOCK_PORT": "17650"}
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            server = subprocess.Popen(
                [sys.executable, "-m", "penstock.server"], env=env, stderr=subprocess.DEVNULL
            )
            first.append((ask("status") - began) * 1000)
            ready.append((ask("ready") - began) * 1000)
            server.send_signal(signal.SIGTERM)
            server.wait()
    rows = [
        ("first start of a home", f"{first[0]:.0f}", "once", f"{ready[0]:.0f}"),
        ("later starts", f"{median(first[1:]):.0f}", spread(first[1:]), f"{median(ready[1:]):.0f}"),
    ]
    show(
        f"Server start (ms; median of {ROUNDS}; {machine()})",
        ("", "first answer", "min-max", "store ready"),
        rows,
    )


def ask(page):
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:17650/penstock/{page}", timeout=60) as answer:
                json.loads(answer.read())
                return time.perf_counter()
        except OSError:
            time.sleep(0.002)
