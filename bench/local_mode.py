"""A trivial ScriptProcessor job, run() to its return, against the official SDK's own local mode, in turn.

Both SDKs are imported, their sessions made and one job run before anything counts. The official one stands as its
lock says in an environment of its own; its containers run by DOCKER_HOST, or by a Podman that lives as long as this
run, from an image of the same Python; its S3 is the same store. Without an engine only our own job is measured.
"""

import contextlib
import io
import os
import select
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import compose
from bench.homes import point_to
from bench.table import machine, median, show, spread
from penstock.processing import ScriptProcessor

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "10"))
ROOT = Path(__file__).parents[1]
OFFICIAL = ROOT / ".cache" / "bench-sagemaker-locked"
LOCK = ROOT / "tests" / "clients" / "locks" / "sagemaker-v2.lock"
PENSTOCK = [sys.executable, "-m", "penstock.cli.main"]
#: A job of the official SDK takes seconds; the first may wait for much.
PATIENCE = 120


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        point_to(folder / "home", 17650)
        (folder / "script.py").write_text("print('hello')\n")
        try:
            with contextlib.ExitStack() as stack:
                try:
                    official = stack.enter_context(official_local_mode(folder))
                except compose.NotToBeHadError as error:
                    print(f"\nSageMaker's own local mode is not measured. {error}")
                    official = None
                measure(str(folder / "script.py"), official)
        finally:
            subprocess.run([*PENSTOCK, "down"], check=True, capture_output=True)


def measure(script, official):
    processor = ScriptProcessor(
        image_uri="python:3.11", command=["python3"], instance_count=1, instance_type="local"
    )

    def own():
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            processor.run(code=script)
        return time.perf_counter() - began

    runs = {"penstock": own}
    if official is not None:
        runs["SageMaker's local mode"] = official
    took = {name: [] for name in runs}
    for turn in range(ROUNDS + 1):  # the first of each is not counted
        for name in list(runs) if turn % 2 else reversed(runs):
            took[name].append(runs[name]() * 1000)
    figures = {name: values[1:] for name, values in took.items()}
    base = median(figures["penstock"])
    show(
        f"A trivial ScriptProcessor job, run() to its return, warm (ms; median of {ROUNDS} in turn; {machine()})",
        ("", "median", "min-max", "to penstock"),
        [
            (name, f"{median(values):.0f}", spread(values), f"{median(values) / base:.1f}")
            for name, values in figures.items()
        ],
    )


@contextlib.contextmanager
def official_local_mode(folder):
    """A function that runs one job in the official SDK's local mode and returns its seconds."""
    with compose.engine() as engine:
        exported = subprocess.run([*PENSTOCK, "env"], capture_output=True, text=True, check=True).stdout
        pairs = [shlex.split(line)[1].partition("=") for line in exported.splitlines()]
        scratch = folder / "scratch"
        scratch.mkdir()
        environ = {
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            **{name: value for name, _, value in pairs},
            **engine,
        }
        command = [official_python(), "-W", "ignore", Path(__file__).with_name("official_local.py")]
        log = folder / "official.log"
        process = subprocess.Popen(
            [*command, compose.IMAGE, folder / "script.py", log],
            env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

        def run():
            process.stdin.write("run\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
            answer = process.stdout.readline().strip() if ready else f"no answer after {PATIENCE} s"
            try:
                return float(answer)
            except ValueError:
                last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise compose.NotToBeHadError(f"Its job failed ({answer}):\n{last}") from None

        try:
            run()  # what can't be had is known before anything is measured
            yield run
        finally:
            process.terminate()
            process.wait(30)


def official_python():
    python = OFFICIAL / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    if not python.exists():
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(OFFICIAL)], check=True)
    subprocess.run(
        [uv, "pip", "sync", "-q", "--compile-bytecode", "--require-hashes", "--python", str(python), str(LOCK)],
        check=True,
    )  # fmt: skip
    return python
