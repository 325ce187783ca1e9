"""From nothing to the end of an empty program: each runtime against a bare process, containers against `podman run`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.table import machine, median, show, spread

ROUNDS = 15


def main():
    from penstock.runtimes.base import Mount, Program
    from penstock.runtimes.bubblewrap import Bubblewrap
    from penstock.runtimes.unshare import Unshare

    ways = {"bare process": lambda: subprocess.run(["/bin/true"], check=True)}
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("wb") as nowhere:

        def by(runtime):
            mounts = (Mount(Path(folder), "/opt/ml", writable=True),)
            program = Program(argv=("/bin/true",), environment={"PATH": "/usr/bin:/bin"}, mounts=mounts)

            def run():
                assert runtime.start(program, nowhere.fileno()).wait() == 0

            return run

        if bwrap := shutil.which("bwrap"):
            ways["bubblewrap"] = by(Bubblewrap(bwrap))
        ways["unshare"] = by(Unshare())
        _measure("Walls around an empty program", ways)
        _containers(by)


def _containers(by):
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
    from podman import IMAGE, lacking, podman

    from penstock.runtimes.containers.runtime import Container

    if problem := lacking():
        print(f"\nContainers: {problem}")
        return
    with podman() as engine, tempfile.TemporaryDirectory() as folder:
        same = ["--rm", "--init", "--network=host", f"--volume={folder}:/opt/ml", IMAGE, "/bin/true"]
        command = ["podman", "run", *same]
        ways = {
            "podman run": lambda: subprocess.run(command, env=engine.environment, check=True),
            "container": by(Container(engine.engine, engine.image(), Path(folder, "run"))),
        }
        _measure("The same in a container", ways)


def _measure(title, ways):
    """In turn, so that a busy moment meets all of them."""
    took = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            took[name].append((time.perf_counter() - began) * 1000)
    first = median(next(iter(took.values()))[1:])
    rows = [
        (
            name,
            f"{median(ms[1:]):.0f}",
            spread(ms[1:]),
            f"{median(ms[1:]) - first:+.0f}",
            f"{median(ms[1:]) / first:.2f}",
        )
        for name, ms in took.items()
    ]
    show(f"{title} (ms; median of {ROUNDS}; {machine()})", ("", "ms", "min-max", "above", "ratio"), rows)
