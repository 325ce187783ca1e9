"""A trivial job from submit to Completed against the bare script, cold and warm, in one run."""

import contextlib
import io
import itertools
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.homes import point_to
from bench.table import machine, median, show, spread
from penstock.client import local_server, record
from penstock.processing import ScriptProcessor

ROUNDS = 15
PHASES = ("queued", "preparing", "downloading", "running", "uploading")
SCRIPT = "print('hello')\n"


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        point_to(folder / "home", 17550)
        script = folder / "script.py"
        script.write_text(SCRIPT)
        try:
            measure(script)
        finally:
            subprocess.run(
                [os.sys.executable, "-m", "penstock.cli.main", "down"], check=True, capture_output=True
            )


def measure(script):
    def bare(python):
        began = time.perf_counter()
        subprocess.run([python, str(script)], check=True, capture_output=True)
        return (time.perf_counter() - began) * 1000

    def job():
        processor = ScriptProcessor(
            image_uri="python:3.11", command=["python3"], instance_count=1, instance_type="ml.m5.large"
        )
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            processor.run(code=str(script), logs=False)
        took = (time.perf_counter() - began) * 1000
        told = record.fetch(local_server.ensure(), processor.latest_job.job_name)
        reached = sorted(told["phases"].items(), key=lambda item: item[1])
        phases = {p: end - at for (p, at), (_, end) in itertools.pairwise(reached)}
        return took, phases, told

    # Cold: no server, no environment, no client: all of it is made by the first job.
    cold, cold_phases, told = job()
    python = told["hosts"][0]["environment"]["interpreter"]
    cold_bare = bare(python)
    job()  # what is loaded at first use is loaded now
    bares, jobs, phases = [], [], []
    for _ in range(ROUNDS):
        bares.append(bare(python))
        took, parts, _ = job()
        jobs.append(took)
        phases.append(parts)

    show(
        f"A trivial job, submit to Completed, against the bare script (ms; median of {ROUNDS} in turn; {machine()})",
        ("", "bare script", "job", "min-max", "above bare", "ratio"),
        [
            (
                "cold (server and environment made)",
                f"{cold_bare:.0f}",
                f"{cold:.0f}",
                "once",
                f"{cold - cold_bare:.0f}",
                f"{cold / cold_bare:.0f}",
            ),
            (
                "warm",
                f"{median(bares):.0f}",
                f"{median(jobs):.0f}",
                spread(jobs),
                f"{median([j - b for j, b in zip(jobs, bares, strict=True)]):.0f}",
                f"{median([j / b for j, b in zip(jobs, bares, strict=True)]):.1f}",
            ),
        ],
    )
    inside = [sum(p.get(name, 0) for name in PHASES) for p in phases]
    rows = [("cold", *(cold_phases.get(p, 0) for p in PHASES), f"{cold - sum(cold_phases.values()):.0f}")]
    rows.append(
        (
            "warm",
            *(f"{median([p.get(name, 0) for p in phases]):.0f}" for name in PHASES),
            f"{median([j - i for j, i in zip(jobs, inside, strict=True)]):.0f}",
        )
    )
    show("Where it went (ms)", ("", *PHASES, "client (upload, submit, notice)"), rows)
