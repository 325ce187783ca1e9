"""Jobs on a Ray cluster of simulated machines, beside what bare Ray takes for the same. As root; else it is left out.

Bare Ray is what an engine can't do without: a placement group with a bundle for each instance, a detached actor with a
name in each bundle, and the program as a process of the actor's. BENCH_JOBS says how many jobs of one instance there
are (default 500); both sides have a place for eight of them at once, and take turns, some jobs at a time. Penstock does
the same by its API, with all that a job is besides: its record, its walls, its log, its reports. The seconds of
processors are those of all processes on all machines, where the kernel counts them for a control group.
"""

import contextlib
import math
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.table import machine, median, show

JOBS = int(os.environ.get("BENCH_JOBS") or 500)
#: How many of them a side does before it is the other's turn.
TURN = 20
NODES = 4
PLACES = 2
GANGS = (1, 2, 4, 8)
CLIENTS = 8
ROUNDS = 5
#: Seconds for one turn of one side: longer is a fault, which is told in the place of a bench that never ends.
PATIENCE = 300

_HOST = """
import subprocess, time
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Placed

@ray.remote(num_cpus=2, max_restarts=0, max_task_retries=0)
class Host:
    def begin(self, command):
        self.program = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.program.stdout.readline()
        return time.monotonic()  # one kernel, one clock
    def end(self):
        self.program.stdout.close()
        return self.program.wait()

def group(name, count):
    # Eight instances on four nodes: two on each.
    strategy = "STRICT_SPREAD" if count <= len(alive()) else "SPREAD"
    return placement_group([{"CPU": 2}] * count, strategy=strategy, name=name, lifetime="detached")

def host(group, name, n):
    place = Placed(group, n)
    return Host.options(name=f"{name}-{n}", lifetime="detached", scheduling_strategy=place).remote()
"""
_GANG = """
name, count, command = arguments
began = time.monotonic()
gang = group(name, count)
hosts = [host(gang, name, n) for n in range(count)]
told = max(ray.get([one.begin.remote(command) for one in hosts])) - began
assert not any(ray.get([one.end.remote() for one in hosts]))
for one in hosts:
    ray.kill(one)
remove_placement_group(gang)
"""
_MANY = """
name, count, places, command = arguments
began = time.monotonic()
left, waits, codes = list(range(count)), {}, []
while left or waits:
    while left and len(waits) < places:
        n = left.pop()
        one = group(f"{name}-{n}", 1)
        actor = host(one, f"{name}-{n}", 0)
        actor.begin.remote(command)
        waits[actor.end.remote()] = actor, one
    (ready, *_), _ = ray.wait(list(waits))
    actor, one = waits.pop(ready)
    codes.append(ray.get(ready))
    ray.kill(actor)
    remove_placement_group(one)
assert codes == [0] * count
told = time.monotonic() - began
"""
_CODE = "import time; print('begun', time.monotonic(), flush=True)"
_PROGRAM = [sys.executable, "-I", "-c", _CODE]


def main():
    for folder in ("tests/support", "tests/machine"):
        if (path := str(Path(__file__).parents[1] / folder)) not in sys.path:
            sys.path.insert(0, path)
    from machine_home import ENVIRONMENTS
    from penstock_machine import build_environment
    from ray_nodes import lacking, ray_nodes

    if problem := lacking():
        print(f"\nJobs on Ray are not measured: {problem}")
        return
    with tempfile.TemporaryDirectory() as folder, effort() as spent:
        build_environment(Path(folder) / "home")
        before, began = spent(), time.perf_counter()
        settings = {"PENSTOCK_ENVIRONMENTS": str(ENVIRONMENTS)}
        with ray_nodes(folder, NODES, cpus=2 * PLACES, settings=settings) as cluster:
            show_start(time.perf_counter() - began, spent() - before)
            with contextlib.ExitStack() as stack:
                sides = {"bare Ray": Bare(cluster), "Penstock": stack.enter_context(penstock(cluster))}
                show_gangs(sides)
                show_many(sides, spent)


class Bare:
    """What a driver of Ray does by itself."""

    def __init__(self, cluster):
        self._cluster = cluster
        cluster.alive()  # the driver is up

    def gang(self, name, count):
        return self._cluster.drive(_HOST + _GANG, name, count, _PROGRAM)

    def many(self, name, count):
        return self._cluster.drive(_HOST + _MANY, name, count, NODES * PLACES, _PROGRAM)


class Penstock:
    """A server on the head."""

    def __init__(self, jobs, logs):
        self._jobs = jobs
        self._logs = logs

    def gang(self, name, count):
        began = time.monotonic()
        self._create(name, count)
        self._wait(name, 1)
        group = "/aws/sagemaker/ProcessingJobs"
        told = self._logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")["events"]
        lines = [one["message"].split() for one in told if one["message"].startswith("begun ")]
        assert len(lines) == count
        return max(float(at) for _, at in lines) - began

    def many(self, name, count):
        began = time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda n: self._create(f"{name}-{n}", 1), range(count)))
        self._wait(name, count)
        return time.monotonic() - began

    def _create(self, name, count):
        from fleet import submit

        submit(self._jobs, name, _CODE, **of_instances(count))

    def _wait(self, name, count):
        """Until the jobs with that in their names have ended, which must be so many, and Completed."""
        while self._named(name, StatusEquals="InProgress", MaxResults=1):
            time.sleep(0.1)
        assert len(self._named(name, StatusEquals="Completed", MaxResults=100)) == count

    def _named(self, name, **which):
        found = self._jobs.list_processing_jobs(NameContains=name, **which)
        return found["ProcessingJobSummaries"]


@contextlib.contextmanager
def penstock(cluster):
    from penstock_machine import PORT, client_on, penstock_on
    from ray_nodes import HEAD

    store = cluster.store("bucket")
    report = f"http://{cluster.address(HEAD)}:{PORT}"
    with (
        penstock_on(cluster, HEAD, store, PENSTOCK_ENGINE="ray", PENSTOCK_REPORT_URL=report) as url,
        client_on(cluster, HEAD, "sagemaker", url) as jobs,
        client_on(cluster, HEAD, "logs", url) as logs,
    ):
        side = Penstock(jobs, logs)
        side.gang("warm-up", NODES)
        yield side


def of_instances(count):
    kind = {"InstanceCount": count, "InstanceType": "ml.t3.medium", "VolumeSizeInGB": 1}  # two processors
    return {"ProcessingResources": {"ClusterConfig": kind}}


def show_start(seconds, work):
    show(
        f"A Ray cluster of {NODES} simulated machines ({machine()})",
        ("", "s", "s of processors"),
        [("until all are nodes", f"{seconds:.1f}", f"{work:.1f}")],
    )


def show_gangs(sides):
    times = {side: {n: [] for n in GANGS} for side in sides}
    for turn in range(ROUNDS):
        for n in GANGS:
            for side, what in sides.items():
                with in_time(f"{side}, a gang of {n}"):
                    times[side][n].append(what.gang(f"gang-{n}-{turn}", n))
    show(
        f"From the wish to the first line of the last instance (s, median of {ROUNDS}, and range; {machine()})",
        ("instances", *map(str, GANGS)),
        [
            (side, *(f"{median(t):.2f} ({min(t):.2f}-{max(t):.2f})" for t in of_side.values()))
            for side, of_side in times.items()
        ],
    )


def show_many(sides, spent):
    seconds, work = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for first in range(0, JOBS, TURN):
        for side, what in sides.items():
            before = spent()
            with in_time(f"{side}, from job {first} on"):
                seconds[side] += what.many(f"many-{first}", min(TURN, JOBS - first))
            work[side] += spent() - before
    bare = next(iter(sides))
    show(
        f"{JOBS:,} jobs of one instance, {TURN} a turn, on {NODES} nodes with {PLACES} places each ({machine()})",
        ("", "s, all", "ms a job", "ratio", "s of processors, a job", "ratio"),
        [
            (
                side,
                f"{seconds[side]:.1f}",
                f"{seconds[side] / JOBS * 1000:.0f}",
                f"{seconds[side] / seconds[bare]:.2f}",
                f"{work[side] / JOBS:.2f}",
                f"{work[side] / work[bare]:.2f}",
            )
            for side in sides
        ],
    )


@contextlib.contextmanager
def in_time(what):
    """A block that ends within `PATIENCE`."""

    def over(*_):
        raise TimeoutError(f"{what}: not done within {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def effort():
    """How to ask for the seconds of processors that all have spent who are started in this block; NaN: not counted.

    Not by rusage: machines forget what their ended processes have spent.
    """
    for counter, scale in (("cpuacct/cpuacct.usage", 1e9), ("cpu.stat", 1e6)):
        top = (Path("/sys/fs/cgroup") / counter).parent
        group = top / f"penstock-bench-{os.getpid()}"
        file = group / Path(counter).name
        try:
            group.mkdir()
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield (
                lambda file=file, scale=scale: (
                    int(file.read_text().removeprefix("usage_usec ").split()[0]) / scale
                )
            )
        finally:
            (top / "cgroup.procs").write_text(str(os.getpid()))
            group.rmdir()
        return
    yield lambda: math.nan
