"""A server's start after everything was killed, with many jobs on record: to its first answers, and to its first job.

JOBS says how many are on record (default 10,000): half of them have ended, the others wait, but for ten whose programs
ran when they were killed. Compared with a home in which a single one waits.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from botocore.credentials import Credentials

from bench.table import machine, median, show, spread
from bench.wire import new_job, one, request
from penstock.clock import now
from penstock.engines.local import LocalEngine
from penstock.home import Home
from penstock.job.events import Host, HostEvent
from penstock.job.life import Failed, Job, Phase, Reached, Started, advance
from penstock.job.run import Run, S3Access
from penstock.objectstore.held import end_holders
from penstock.store.database import open_sqlite

JOBS = int(os.environ.get("JOBS") or 10_000)
ROUNDS = 5
RAN = 10
PORT = 18050
HOUR = 3_600_000


def main():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, JOBS):
            before = Path(folder) / f"with-{count}"
            first = fill(before, count)
            times = [crashed(before, Path(folder) / f"{count}-{turn}", first) for turn in range(ROUNDS)]
            cells = [f"{median(took):.0f} ({spread(took)})" for took in zip(*times, strict=True)]
            rows.append((f"{count:,}", *cells))
    show(
        f"Start of `penstock serve` after a crash (ms, median of {ROUNDS} and min-max; {machine()})",
        ("jobs on record", "first Describe", "first List", "store ready", "first job begun"),
        rows,
    )


def fill(home, count):
    """Make a home in which a server has run, with so many jobs on record; the name of the one that is next."""
    with served(home):
        ask("ready")
    store, engine, at = open_sqlite(home / "penstock.db"), LocalEngine(home / "runs"), now() - HOUR
    asked = {**new_job("x"), "StoppingCondition": {"MaxRuntimeInSeconds": 60}}
    names = [f"job-{n:06}" for n in range(count)]
    jobs = [Job(name, f"{name}-u", f"arn:{name}", asked, at + n, at + n) for n, name in enumerate(names)]
    store.add_jobs([(job, {}) for job in jobs])
    ended, ran = jobs[: count // 2], jobs[count // 2 : count // 2 + RAN] if count > RAN else []
    for job in ended:
        begun = advance(job, Started(), at)
        store.add_hosts(begun, [host(job, None)])
        store.save_job(advance(begun, Failed("AlgorithmError: , exit code: 1"), at))
    for job in ran:
        handle = engine.prepare(run(job))
        begun = advance(job, Started(), at)
        store.add_hosts(begun, [host(job, handle)])
        told = HostEvent(1, "phase", at, {"phase": "running"})
        store.apply_events(job.uid, "algo-1", [told])
        store.save_job(advance(begun, Reached(Phase.RUNNING), at))
        (home / "runs" / handle / "journal").write_text(json.dumps(told.to_json()) + "\n")
        (home / "runs" / handle / "lock").touch()
    store.close()
    return names[len(ended) + len(ran)]


def host(job, handle):
    return Host(job.uid, job.name, "algo-1", "00", f"{job.name}/algo-1-1", handle)


def run(job):
    s3 = S3Access("http://127.0.0.1:9", "us-east-1", "id", "key")
    hosts = ("algo-1",)
    return Run(job.name, job.uid, job.arn, "algo-1", hosts, job.request, "r", "t", "http://x", None, s3, "/e")


def crashed(before, home, first):
    """What the start of a server in a copy of the home takes: milliseconds to each of what `main` shows."""
    shutil.copytree(before, home, ignore=shutil.ignore_patterns("*.sock"))
    keys = Home(home).keys()
    pair = Credentials(keys.access_key_id, keys.secret_access_key)
    began = time.perf_counter()
    with served(home):
        ask("status")
        times = []
        for operation, asked in (("Describe", {"ProcessingJobName": first}), ("List", {})):
            name = f"{operation}ProcessingJob" + ("s" if operation == "List" else "")
            answer = one(PORT, request(PORT, pair, name, asked))
            assert answer.startswith(b"HTTP/1.1 200"), answer
            times.append(time.perf_counter())
        ask("ready")
        times.append(time.perf_counter())
        store = open_sqlite(home / "penstock.db")
        while store.job(first).phase is Phase.QUEUED:
            time.sleep(0.001)
        times.append(time.perf_counter())
        store.close()
    return [(at - began) * 1000 for at in times]


@contextlib.contextmanager
def served(home):
    """`penstock serve`; in the end all that it has started is killed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PENSTOCK_"))}
    env = {**kept, "PENSTOCK_HOME": str(home), "PENSTOCK_PORT": str(PORT), "PENSTOCK_SLOTS": str(RAN + 2)}
    env |= {"PENSTOCK_CPUS": "1000", "PENSTOCK_MEMORY": "100T"}
    command = [str(Path(sys.executable).with_name("penstock")), "serve"]
    server = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        # The server's children first: what starts runners would go on to start those that it was asked for.
        started = [path.read_text().split() for path in Path(f"/proc/{server.pid}/task").glob("*/children")]
        server.kill()
        for child in (int(pid) for pids in started for pid in pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        server.wait()
        for lock in (home / "store" / "lock", *home.glob("runs/*/*/lock")):
            if lock.exists():
                end_holders(lock, 0)


def ask(page):
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/penstock/{page}", timeout=60) as answer:
                answer.read()
                return
        except OSError:
            time.sleep(0.002)
