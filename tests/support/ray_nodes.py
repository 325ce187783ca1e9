"""A Ray cluster of simulated machines: the head on the first, nodes of it on the others.

Ray itself is as anybody would start it (`ray start`); the settings are for a small and quick cluster which notices soon
what has failed, and asks for a token. Programs that `run` starts find the cluster, and all its settings, by their
environment.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import machines
from machines import Machines
from patience import until

HEAD = "node1"

_PORT = 6379
_PATIENCE = 300.0
_RAY = Path(sys.executable).parent / "ray"

SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Who does not answer for three times two seconds is dead: soon, but not so soon that a busy machine is.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    "RAY_grpc_keepalive_time_ms": "2000",
    "RAY_grpc_keepalive_timeout_ms": "3000",
    # Seconds; how long a node that is cut off goes on by itself, and how long the head may be away.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "60",
    # What the head knows outlives it.
    "RAY_gcs_storage": "rocksdb",
    "RAY_gcs_storage_path": "/tmp/gcs",
    "RAY_worker_oom_score_adjustment": "0",
    "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper": "true",
    # Workers are started when there is something to do: each is a second of a processor.
    "RAY_prestart_worker_first_driver": "false",
    "RAY_enable_worker_prestart": "false",
}
#: Bytes: the smallest store of objects is 75 MiB, and nothing here puts any into it.
_OPTIONS = (
    "--object-store-memory=80000000",
    "--disable-usage-stats",
    "--include-log-monitor=false",
    "--num-gpus=0",
)
_PREAMBLE = """\
import json, sys, time
import ray
ray.init(address="auto", namespace="penstock", log_to_driver=False, logging_level="ERROR")
def alive():
    return sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])
"""


def lacking():
    """Why there can be no such cluster here; None: there can. Where PENSTOCK_TESTS_NEED names it, that is a failure."""
    problem = machines.lacking()
    if problem is None and not _RAY.exists():
        problem = f"Ray is not installed beside {sys.executable}: pip install 'penstock[ray]'"
        if "ray" in os.environ.get("PENSTOCK_TESTS_NEED", ""):
            raise RuntimeError(problem)
    return problem


class RayNodes(Machines):
    """Machines, each with Ray."""

    def __init__(self, folder, cpus=8, settings=None):
        """`cpus`: what each announces. `settings`: what is to be otherwise than in `SETTINGS`."""
        super().__init__(folder)
        self.env = {
            **SETTINGS,
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ADDRESS": f"{self.address(HEAD)}:{_PORT}",
            **(settings or {}),
        }
        self._options = (*_OPTIONS, f"--num-cpus={cpus}")

    def start(self, count):
        """Switch on that many, and return when Ray has all of them."""
        names = [self.switch_on().name for _ in range(count)]
        self._started(self._start(HEAD))
        for start in [self._start(name) for name in names[1:]]:
            self._started(start)

    def switch_on(self, name=None):
        """A machine without Ray, or one again that was killed."""
        machine = super().switch_on(name)
        machine.env.update(self.env)
        return machine

    def add(self, name=None):
        """A machine more, or one again that was killed, which joins Ray as a new node."""
        machine = self.switch_on(name)
        self.join(machine.name)
        return machine

    def join(self, name):
        """Start Ray on a machine where it has ended, as it does on one that was cut off for long."""
        self.end_ray(name)
        self._started(self._start(name))

    def restart_head(self):
        """As by a crash of the head: its Ray ends at once, and is started again. The machine runs on."""
        self.join(HEAD)

    def end_ray(self, name):
        """Kill Ray on a machine, and wait for that: with its two servers the rest of it ends by itself."""

        def servers():
            return [
                pid for pid, what in self.nodes[name].processes().items() if what in {"gcs_server", "raylet"}
            ]

        for pid in servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not servers())

    def drive(self, code, *arguments, on=HEAD):
        """What a driver on a machine says: it prints JSON. `alive()` is there for it, and all that it imports."""
        program = self.run(
            on,
            [sys.executable, "-P", "-c", _PREAMBLE + code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said, complaint = program.communicate(timeout=_PATIENCE)
        assert program.returncode == 0, complaint
        return json.loads(said.splitlines()[-1])

    def wait_for(self, *names):
        """Return when those, and no others, are the nodes that Ray takes for alive."""
        self.drive("while alive() != sorted(sys.argv[1:]): time.sleep(0.1)\nprint(0)", *names)

    def _start(self, name):
        where = (
            ["--head", f"--port={_PORT}", "--include-dashboard=false", "--no-monitor"]
            if name == HEAD
            else [f"--address={self.env['RAY_ADDRESS']}"]
        )
        log = self.folder / name / "ray.log"
        with log.open("wb") as file:
            command = [_RAY, "start", f"--node-ip-address={self.address(name)}", *where, *self._options]
            return self.run(name, command, stdout=file, stderr=file), log

    def _started(self, start):
        program, log = start
        if program.wait(_PATIENCE):
            raise RuntimeError(f"`ray start` has ended with {program.returncode}: {log.read_text()}")


@contextlib.contextmanager
def ray_nodes(folder, count=4, **options):
    """A cluster that is there as long as the block lasts: `node1`, the head, to `node<count>`."""
    with RayNodes(folder, **options) as nodes:
        nodes.start(count)
        yield nodes
