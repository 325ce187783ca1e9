"""`import penstock.processing` against `import sagemaker` (the official SDK v2), in turn, each in its own process."""

import subprocess
import sys
import time
from pathlib import Path

from bench.table import machine, median, show, spread

ROUNDS = 7
OFFICIAL = Path(__file__).parents[1] / ".cache" / "bench-sagemaker"


def main():
    official = OFFICIAL / "bin" / "python"
    if not official.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(OFFICIAL)], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(official), "sagemaker<3"],
            check=True,
        )
    programs = {
        "python alone": (sys.executable, "pass"),
        "import penstock.processing": (sys.executable, "import penstock.processing"),
        "import sagemaker": (str(official), "import sagemaker"),
        "import sagemaker.processing": (str(official), "import sagemaker.processing"),
    }
    took = {name: [] for name in programs}
    for _ in range(ROUNDS + 1):
        for name, (python, program) in programs.items():
            began = time.perf_counter()
            subprocess.run([python, "-W", "ignore", "-c", program], check=True, capture_output=True)
            took[name].append((time.perf_counter() - began) * 1000)
    base = median(took["import sagemaker"][1:])
    show(
        f"Import (ms; median of {ROUNDS} in turn; {machine()})",
        ("", "median", "min-max", "to import sagemaker"),
        [
            (name, f"{median(v[1:]):.0f}", spread(v[1:]), f"{median(v[1:]) / base:.3f}")
            for name, v in took.items()
        ],
    )
