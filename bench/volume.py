"""How far a program that writes at full speed gets beyond its volume before it is ended, and what the watch costs."""

import os
import tempfile
import time
from pathlib import Path

from bench.table import machine, median, show
from penstock.runner.folder import RunFolder
from penstock.runner.volume import GIB, Volume
from penstock.runtimes.base import Mount, Program
from penstock.runtimes.choose import choose

ROUNDS = 5
#: One file as fast as the disk takes it, several at once, and many small ones.
WRITERS = {
    "one file": "dd if=/dev/zero of=/tmp/x bs=1M",
    "four files at once": "for n in 1 2 3 4; do dd if=/dev/zero of=/tmp/$n bs=1M & done; wait",
    "reserved at once": "for n in $(seq 64); do fallocate -l 256M /tmp/$n; done; sleep 60",
}


def main():
    rows = [(name, *beyond(command)) for name, command in WRITERS.items()]
    show(
        f"Beyond a volume of 1 GiB (MiB; median and most of {ROUNDS}; {machine()})",
        ("", "beyond", "most", "written at, MiB/s"),
        rows,
    )
    show(
        "A walk through the run's folder (ms)",
        ("files", "walk"),
        [(count, f"{walk(count):.1f}") for count in (100, 10_000, 100_000)],
    )


def beyond(command):
    """MiB beyond the quota that the program's files take in the end, and its speed."""
    over, speed = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as temporary:
            folder = prepared(Path(temporary))
            volume = Volume(1, folder, [])
            program = Program(
                argv=("/bin/sh", "-c", command),
                environment={"PATH": "/usr/bin:/bin"},
                mounts=(Mount(folder.scratch, "/tmp", writable=True),),
            )
            with Path(os.devnull).open("wb") as null:
                began = time.perf_counter()
                running = choose("auto").start(program, null.fileno())
                volume.watch(running)
                running.wait()
            assert volume.failure is not None
            taken = volume.measure().bytes
            over.append((taken - GIB) / 2**20)
            speed.append(taken / 2**20 / (time.perf_counter() - began))
    return f"{median(over):.0f}", f"{max(over):.0f}", f"{median(speed):.0f}"


def walk(count):
    """Milliseconds that it takes to measure so many files."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = prepared(Path(temporary))
        for number in range(count):
            place = folder.scratch / str(number // 1000)
            place.mkdir(exist_ok=True)
            (place / str(number)).touch()
        volume, took = Volume(1, folder, []), []
        for _ in range(3):
            began = time.perf_counter()
            volume.measure()
            took.append((time.perf_counter() - began) * 1000)
        return median(took)


def prepared(path):
    folder = RunFolder(path / "run")
    for place in (folder.ml, folder.scratch, folder.layer):
        place.mkdir(parents=True)
    return folder
