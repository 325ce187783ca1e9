"""What a warm environment costs a job: finding it, taking it, the job's layer over it; with requirements on top."""

import json
import tempfile
import time
from pathlib import Path

from bench.table import machine, median, show, spread
from penstock.environments import Uses, add_requirements, job_layer, prepare
from penstock.environments.model import Environment

ROUNDS = 200
#: Milliseconds of a job that a warm environment may take.
LIMIT = 20.0
IMAGES = {"plain Python": "python:3.11", "scikit-learn": "sagemaker-scikit-learn:1.2-1-cpu-py3"}


def main():
    rows = []
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept, "environments")
        requirements = Path(kept, "requirements.txt")
        requirements.write_text("iniconfig==2.0.0\n")
        layers = (Path(kept, str(number)) for number in range(10_000))
        for name, uri in IMAGES.items():
            for on_top in (None, requirements):
                began = time.perf_counter()
                job(uri, folder, on_top, next(layers))
                cold = time.perf_counter() - began
                took = [measured(uri, folder, on_top, next(layers)) for _ in range(ROUNDS)]
                label = name + (" and requirements.txt" if on_top else "")
                verdict = "yes" if median(took) <= LIMIT else "NO"
                rows.append((label, f"{cold:.1f} s", f"{median(took):.1f}", spread(took), verdict))
    show(
        f"A warm environment's part of a job (ms; median of {ROUNDS}; {machine()})",
        ("", "built in", "warm", "min-max", f"at most {LIMIT:.0f}"),
        rows,
    )


def measured(uri, folder, on_top, layer):
    began = time.perf_counter()
    job(uri, folder, on_top, layer)
    return (time.perf_counter() - began) * 1000


def job(uri, folder, on_top, layer) -> Environment:
    """All that a runner does for its environment, the record included."""
    with Uses() as uses:
        environment = prepare(uri, folder, strict=False, progress=str, uses=uses)
        if on_top:
            environment = add_requirements(environment, on_top, folder, progress=str, uses=uses)
        json.dumps(environment.record())
        len(environment.lock_text)
        layer.mkdir()
        job_layer(environment, layer)
    return environment
