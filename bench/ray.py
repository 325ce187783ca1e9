"""Jobs on a Ray cluster of simulated machines, beside what bare Ray takes for the same. As root; else it is left out.

Bare Ray is what an engine can't do without: a placement group with a bundle for each instance, a detached actor with a
name in each bundle, and the program as a process of the actor's. BENCH_RAY_JOBS says how many jobs of one instance
there are (default 500), all at once. The seconds of processors are those of all processes on all machines, where the
kernel counts them for a control group.
"""

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from bench.table import machine, median, show

JOBS = int(os.environ.get("BENCH_RAY_JOBS") or 500)
NODES = 4
CPUS = 2
GANGS = (1, 2, 4, 8)
ROUNDS = 5

_HOST = """
import subprocess, time
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Placed

@ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)
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
    return placement_group([{"CPU": 1}] * count, strategy=strategy, name=name, lifetime="detached")

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
name, count, command = arguments
began = time.monotonic()
waits = {}
for n in range(count):
    one = group(f"{name}-{n}", 1)
    actor = host(one, f"{name}-{n}", 0)
    actor.begin.remote(command)
    waits[actor.end.remote()] = actor, one
codes = []
while waits:
    (ready, *_), _ = ray.wait(list(waits))
    actor, one = waits.pop(ready)
    codes.append(ray.get(ready))
    ray.kill(actor)
    remove_placement_group(one)
assert codes == [0] * count
told = time.monotonic() - began
"""
_PROGRAM = [sys.executable, "-I", "-c", "print('begun', flush=True)"]


def main():
    support = str(Path(__file__).parents[1] / "tests/support")
    if support not in sys.path:
        sys.path.insert(0, support)
    from ray_nodes import lacking, ray_nodes

    if problem := lacking():
        print(f"\nJobs on Ray are not measured: {problem}")
        return
    with tempfile.TemporaryDirectory() as folder, effort() as spent:
        began = time.perf_counter()
        with ray_nodes(folder, NODES, cpus=CPUS) as cluster:
            show_start(time.perf_counter() - began, spent())
            cluster.alive()  # the driver is up
            show_gangs(cluster)
            show_many(cluster, spent)


def show_start(seconds, work):
    show(
        f"A Ray cluster of {NODES} simulated machines ({machine()})",
        ("", "s", "s of processors"),
        [("until all are nodes", f"{seconds:.1f}", words(work))],
    )


def show_gangs(cluster):
    """Penstock's rows come here, from Create to the first line of the last instance, once it has an engine for Ray."""
    times = {n: [] for n in GANGS}
    for turn in range(ROUNDS):
        for n in GANGS:
            times[n].append(cluster.drive(_HOST + _GANG, f"gang-{n}-{turn}", n, _PROGRAM))
    show(
        f"From the wish to the first line of the last instance (s, median of {ROUNDS}, and range; {machine()})",
        ("instances", *map(str, GANGS)),
        [("bare Ray", *(f"{median(t):.2f} ({min(t):.2f}-{max(t):.2f})" for t in times.values()))],
    )


def show_many(cluster, spent):
    before = spent()
    seconds = cluster.drive(_HOST + _MANY, "many", JOBS, _PROGRAM)
    work = None if before is None else spent() - before
    show(
        f"{JOBS:,} jobs of one instance, all at once, on {NODES} nodes with {CPUS} places each ({machine()})",
        ("", "all", "a job", "s of processors, a job"),
        [
            (
                "bare Ray",
                f"{seconds:.1f} s",
                f"{seconds / JOBS * 1000:.0f} ms",
                words(work and work / JOBS),
            )
        ],
    )


def words(seconds):
    return "unknown" if seconds is None else f"{seconds:.2f}"


@contextlib.contextmanager
def effort():
    """How to ask for the seconds of processors that all have spent who are started in this block; None: not counted.

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
    yield lambda: None
