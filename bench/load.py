"""Many trivial jobs at once, through the wire, by 8 clients: all acknowledged on disk, none lost, in what time.

BENCH_JOBS says how many (default 10,000). Compared with a plain loop that starts the same program as often, as many at
once as there are processors. First, without a server: a pass of the dispatcher with as many jobs in the queue.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

from botocore.credentials import Credentials

from bench import wire
from bench.table import machine, median, show
from penstock.client import local_server, record
from penstock.dispatch.loop import Dispatcher
from penstock.dispatch.outlook import outlook
from penstock.job.claim import Resources
from penstock.job.life import Job
from penstock.job.run import Run, S3Access
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.testing.fake_engine import FakeEngine

JOBS = int(os.environ.get("BENCH_JOBS") or 10_000)
CLIENTS = 8
PORT = 17950
PASSES = 20


def main():
    passes()
    load()


def passes():
    """What one pass takes with `JOBS` in the queue: with no room, with room for a job, and telling the whole queue."""
    rows = []
    for owners in (1, 100):
        with tempfile.TemporaryDirectory() as folder:
            store = open_sqlite(Path(folder) / "p.db")
            rows.append(
                (str(owners), *(f"{median(times):.1f}" for times in time_passes(store, folder, owners)))
            )
            store.close()
    show(
        f"With {JOBS:,} in the queue (ms, median; {machine()})",
        ("owners", "pass, machine full", "pass that begins one (with some 10 that run)", "telling all of it"),
        rows,
    )


def time_passes(store, folder, owners):
    request = wire.new_job("x")
    names = [(f"job-{n:06}", f"owner-{n % owners}") for n in range(JOBS)]
    store.add_jobs(
        [(Job(n, f"{n}-u", f"arn:{n}", request, i, i, owner=o), {}) for i, (n, o) in enumerate(names)]
    )
    capacity = Resources(1 << 20, 1 << 60, 0, 1)
    engine = FakeEngine(capacity)
    full = dispatcher(store, folder, engine)
    full.step()
    waits = [timed(full.step) for _ in range(PASSES)]
    begins = []
    for places in range(2, 2 + PASSES):
        engine.room = replace(capacity, instances=places)
        begins.append(timed(dispatcher(store, folder, engine).step))
    tells = [timed(lambda: outlook(store, FakeEngine(capacity), 0)) for _ in range(3)]
    return waits, begins, tells


def dispatcher(store, folder, engine):
    def make_run(job, host, hosts, token):
        s3 = S3Access(None, "us-east-1")
        return Run(
            job.name, job.uid, job.arn, host, hosts, job.request, "r", token, "http://x", None, s3, "/e"
        )

    return Dispatcher(store, FileLogbook(Path(folder) / "logs"), engine, make_run, lambda: 0)


def timed(what):
    began = time.perf_counter()
    what()
    return (time.perf_counter() - began) * 1000


def load():
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "home") as (process, address):
        keys = Credentials(address.access_key_id, address.secret_access_key)
        submit(keys, ["warm-up"])  # makes the environment
        wait_all(keys, 1)
        began = time.perf_counter()
        submit(keys, [f"job-{n:06}" for n in range(JOBS)])
        acknowledged = time.perf_counter() - began
        wait_all(keys, JOBS + 1)
        took = time.perf_counter() - began
        most = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        python = record.fetch(address, "warm-up")["hosts"][0]["environment"]["interpreter"]
        plain = loop(python, min(JOBS, 1000))
    show(
        f"{JOBS:,} trivial jobs by {CLIENTS} clients ({machine()})",
        ("", "all", "a job"),
        [
            ("acknowledged, on disk", f"{acknowledged:.1f} s", f"{acknowledged / JOBS * 1000:.1f} ms"),
            ("all completed, none lost", f"{took:.1f} s", f"{took / JOBS * 1000:.1f} ms"),
            ("the same program in a plain loop", "", f"{plain * 1000:.1f} ms"),
            ("ratio", "", f"{took / JOBS / plain:.1f}"),
            ("the server's memory at most", f"{int(most[1]) / 1024:.0f} MiB", ""),
        ],
    )


@contextlib.contextmanager
def server(home):
    """A server with places for as many jobs as keep the processors busy."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "PENSTOCK_")):
            del os.environ[name]
    os.environ |= {
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_PORT": str(PORT),
        "PENSTOCK_CPUS": "1000",
        "PENSTOCK_MEMORY": "100T",
    }
    process = subprocess.Popen([sys.executable, "-m", "penstock.server"], stderr=subprocess.DEVNULL)
    try:
        wire.wait_for(f"http://127.0.0.1:{PORT}/penstock/ready")
        yield process, local_server.ensure(start=False)
    finally:
        process.terminate()
        process.wait()


def loop(python, count):
    """Seconds for each of so many runs of the jobs' program, as many at once as there are processors."""
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: subprocess.run([python, "-c", "pass"], check=True), range(count)))
    return (time.perf_counter() - began) / count


def submit(keys, names):
    """Create all, `CLIENTS` at once, each on a connection of its own. What isn't answered with 200 ends it."""

    def send(part):
        connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
        for name in part:
            job = wire.new_job(name)
            job["AppSpecification"] |= {"ContainerEntrypoint": ["python3", "-c", "pass"]}
            head, _, body = wire.request(PORT, keys, "CreateProcessingJob", job).partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
            connection.request("POST", "/", body, dict(lines))
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
        connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, [names[n::CLIENTS] for n in range(CLIENTS)]))


def wait_all(keys, count):
    """Wait for the end of all jobs, and see that so many are on record and each has completed."""
    while ask("/penstock/status")["active_jobs"]:
        time.sleep(0.1)
    completed, more = 0, {}
    while more is not None:
        asked = {"StatusEquals": "Completed", "MaxResults": 100, **more}
        answer = wire.one(PORT, wire.request(PORT, keys, "ListProcessingJobs", asked))
        page = json.loads(answer.partition(b"\r\n\r\n")[2])
        completed += len(page["ProcessingJobSummaries"])
        more = {"NextToken": page["NextToken"]} if page.get("NextToken") else None
    assert completed == count, f"{completed} of {count} jobs have completed"


def ask(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=60) as answer:
        return json.load(answer)
