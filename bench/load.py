"""Many trivial jobs at once, through the wire, by 8 clients: all acknowledged on disk, none lost, in what time.

BENCH_JOBS says how many (default 10,000). Compared with three plain loops that keep the processors busy: of the
subprocess that the server starts for a job, its runner, and by it all others, so that what is left is the queue, the
record and the wire; of bubblewrap and by it the program; and of the bare program. First, without a server: a pass of
the dispatcher with as many jobs in the queue.
"""

import contextlib
import fcntl
import itertools
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
from bench.effort import efforts
from bench.table import machine, median, show
from penstock.client import local_server, record
from penstock.data.meter import Meter
from penstock.dispatch.loop import Dispatcher
from penstock.dispatch.outlook import outlook
from penstock.engines.local import LocalEngine
from penstock.environments import Uses
from penstock.job.claim import Resources
from penstock.job.life import Job
from penstock.job.run import Run, S3Access
from penstock.runner.folder import RunFolder
from penstock.runner.journal import Journal
from penstock.runner.limits import allotted
from penstock.runner.logs import LogWriter
from penstock.runner.manifest import Manifest
from penstock.runner.records import Records
from penstock.runner.sandboxed import Sandboxed
from penstock.runtimes.tree import Channels
from penstock.store.database import open_sqlite
from penstock.store.logbook import FileLogbook
from penstock.testing.fake_engine import FakeEngine

JOBS = int(os.environ.get("BENCH_JOBS") or 10_000)
CLIENTS = 8
PROGRAM = ["python3", "-c", "pass"]
LOOP = 1000
PORT = 17950
PASSES = 20
#: Runs of the loop that go on at once: a runner rests while it knocks at a server that is not there.
AT_ONCE = 4 * os.cpu_count()


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
    with (
        efforts("clients", "server", "runners", "loop") as spent,
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder) / "home") as (process, address),
    ):
        spent["clients"].admit(0)
        spent["server"].admit(process.pid)
        spent["runners"].admit(nursery_of(process.pid))
        keys = Credentials(address.access_key_id, address.secret_access_key)
        submit(keys, ["warm-up"])  # makes the environment
        wait_all(keys, 1)
        before = {name: one.spent() for name, one in spent.items()}
        began = time.perf_counter()
        submit(keys, [f"job-{n:06}" for n in range(JOBS)])
        acknowledged = time.perf_counter() - began
        wait_all(keys, JOBS + 1)
        took = time.perf_counter() - began
        used = {name: (one.spent() - before[name]) / JOBS * 1000 for name, one in spent.items()}
        most = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        python = record.fetch(address, "warm-up")["hosts"][0]["environment"]["interpreter"]
        run = run_of_a_job(keys, Path(folder) / "home")
        spent["loop"].admit(0)
        count = min(JOBS, LOOP)
        with same_runs(run, Path(folder) / "runs") as turn:
            runs = Loop(lambda: turn, count, spent["loop"], AT_ONCE)
        walls = Loop(lambda: WalledProgram(run, Path(folder) / "walls"), count, spent["loop"])
        bare = Loop(lambda: BareProgram(python), count, spent["loop"])
        spent["clients"].admit(0)
    show(
        f"{JOBS:,} trivial jobs by {CLIENTS} clients ({machine()})",
        ("", "all", "a job"),
        [
            ("acknowledged, on disk", f"{acknowledged:.1f} s", f"{acknowledged / JOBS * 1000:.1f} ms"),
            ("all completed, none lost", f"{took:.1f} s", f"{took / JOBS * 1000:.1f} ms"),
            *(
                row
                for what, loop in (
                    ("the same runners, walls and programs", runs),
                    ("the same walls and programs", walls),
                    ("the bare program", bare),
                )
                for row in (
                    (f"{what} in a plain loop", "", f"{loop.seconds * 1000:.1f} ms"),
                    ("  ratio to that", "", f"{took / JOBS / loop.seconds:.2f}"),
                )
            ),
            ("the server's memory at most", f"{int(most[1]) / 1024:.0f} MiB", ""),
        ],
    )
    total = sum(used[name] for name in ("clients", "server", "runners"))
    show(
        "Processors (ms a job)",
        ("", "ms", "of it"),
        [
            ("clients", f"{used['clients']:.1f}", ""),
            ("server and store", f"{used['server']:.1f}", ""),
            ("all below the nursery", f"{used['runners']:.1f}", ""),
            ("  runners", "", f"{used['runners'] - walls.spent * 1000:.1f}"),
            ("  walls (the two loops' difference)", "", f"{(walls.spent - bare.spent) * 1000:.1f}"),
            ("  programs (the bare loop)", "", f"{bare.spent * 1000:.1f}"),
            ("all", f"{total:.1f}", ""),
            ("ratio to the loop of runners, walls and programs", f"{total / runs.spent / 1000:.2f}", ""),
            ("ratio to the loop of walls and programs", f"{total / walls.spent / 1000:.2f}", ""),
            ("ratio to the loop of the bare program", f"{total / bare.spent / 1000:.2f}", ""),
        ],
    )


def nursery_of(server):
    """The process from which a server's runners are forked."""
    for path in Path(f"/proc/{server}/task").glob("*/children"):
        for child in path.read_text().split():
            if b"penstock.runner.nursery" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise LookupError(f"server {server} has no nursery")


def run_of_a_job(keys, home):
    """What the runner of a trivial job was told."""
    submit(keys, ["told"], ["sleep", "600"])
    while not (found := list(home.glob("runs/*/algo-1/ml"))):
        time.sleep(0.05)
    run = Run.from_json((found[0].parent / "run.json").read_text())
    wire.one(PORT, wire.request(PORT, keys, "StopProcessingJob", {"ProcessingJobName": "told"}))
    specification = {**run.request["AppSpecification"], "ContainerEntrypoint": PROGRAM}
    return replace(run, request={**run.request, "AppSpecification": specification})


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


class Loop:
    """So many turns of what `make` returns, `width` at once; seconds for each."""

    def __init__(self, make, count, effort, width=os.cpu_count()):  # noqa: B008 - does not change
        before, began = effort.spent(), time.perf_counter()
        with ThreadPoolExecutor(width) as pool:
            workers = [pool.submit(self._work, make, count // width) for _ in range(width)]
            turns = sum(worker.result() for worker in workers)
        self.seconds = (time.perf_counter() - began) / turns
        self.spent = (effort.spent() - before) / turns

    def _work(self, make, turns):
        turn = make()
        for _ in range(turns):
            turn()
        return turns


@contextlib.contextmanager
def same_runs(run, folder):
    """What does one run after the other, each by a runner from the nursery: all that is a job's, and nobody's reports.

    A runner that finds no server keeps its record on disk and, told to have no patience, ends.
    """
    engine = LocalEngine(folder)
    engine.warm_up()
    numbers = itertools.count()
    alone = replace(run, far=True, report_url="http://127.0.0.1:1", patience=0.0)

    def turn():
        handle = engine.prepare(replace(alone, job_uid=f"same-{next(numbers)}"))
        engine.start(handle)
        with (folder / handle / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)  # free when the runner has ended
        end = engine.remains(handle, 0).events[-1]
        assert (end.kind, end.data["outcome"]) == ("ended", "succeeded"), end
        engine.forget(handle)

    try:
        yield turn
    finally:
        engine.close()


class BareProgram:
    """The jobs' program, by the interpreter of their environment."""

    def __init__(self, python):
        self._argv = [python, *PROGRAM[1:]]

    def __call__(self):
        subprocess.run(self._argv, check=True)


class WalledProgram:
    """bubblewrap with the command line that a runner would call it by, and by that the program.

    What a runner does around it is left out: all is composed once, and only read again by each turn.
    """

    def __init__(self, run, folder):
        self._kept = contextlib.ExitStack()
        place = RunFolder(Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent)))
        log = LogWriter(place.log, lambda: 0, lambda: None)
        journal = Journal(place.journal.open("a+b", buffering=0), lambda: 0, lambda: None)
        records = Records(journal, log, Manifest(place.manifest, lambda: 0, lambda: None), Meter())
        ground = Sandboxed.prepare(run, place, records, lambda: False, self._kept.enter_context(Uses()))
        with allotted(run, place, records) as share:
            program = ground.program(share.variables, share.limits)
        self._channels = Channels(self._kept, self._kept)
        self._argv = ground.runtime(overlays=False).composer(program)(self._channels)

    def __call__(self):
        for descriptor in self._channels.passed:
            with contextlib.suppress(OSError):  # a pipe
                os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(self._channels.gate, b"1")
        subprocess.run(
            self._argv,
            stdin=subprocess.DEVNULL,
            pass_fds=self._channels.passed,
            env={},
            start_new_session=True,
            check=True,
        )
        os.read(self._channels.told, 4096)


def submit(keys, names, program=PROGRAM):
    """Create all, `CLIENTS` at once, each on a connection of its own. What isn't answered with 200 ends it."""

    def send(part):
        connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
        for name in part:
            job = wire.new_job(name)
            job["AppSpecification"] |= {"ContainerEntrypoint": program}
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
