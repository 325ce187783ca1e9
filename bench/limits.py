"""What limits cost: a program that does nothing, within its walls with limits and without, in turn."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from bench.table import machine, median, show, spread
from penstock.runtimes.base import Limits, Program
from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.groups import nests
from penstock.runtimes.unshare import Unshare

ROUNDS = 41
LIMITS = Limits(
    cpus=(min(os.sched_getaffinity(0)),), memory=1 << 30, processes=4096, shared_memory=1 << 29, gpus=()
)

FREE = Program(argv=("/bin/true",), environment={}, mounts=())
LIMITED = replace(FREE, limits=LIMITS)


def main():
    bwrap = shutil.which("bwrap")
    rows = []
    for means in ("cgroup", "watch") if nests() else ("watch",):
        for runtime in [*([Bubblewrap(bwrap, means)] if bwrap else []), Unshare(limits=means)]:
            ways = (bare, lambda r=runtime: through(r, FREE), lambda r=runtime: through(r, LIMITED))
            for way in ways:
                way()
            took = [[way() for way in ways] for _ in range(ROUNDS)]
            without = [free - alone for alone, free, _ in took]
            more = [limited - free for _, free, limited in took]
            rows.append(
                (f"{runtime.name}, {means}", f"{median(without):.1f}", f"{median(more):.1f}", spread(more))
            )
    show(
        f"Walls and limits, start to end (ms; median of {ROUNDS} in turn; {machine()})",
        ("", "above bare", "limits more", "min-max"),
        rows,
    )


def bare():
    began = time.perf_counter()
    subprocess.run(["/bin/true"], check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1000


def through(runtime, program):
    with Path(os.devnull).open("wb") as nowhere:
        began = time.perf_counter()
        runtime.start(program, nowhere.fileno()).wait()
        return (time.perf_counter() - began) * 1000
