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
    "RAY_worker_oom_score_adjustment": "0",
    # All machines share the real one's memory: a shortage there is no machine's own.
    "RAY_memory_monitor_refresh_ms": "0",
    # Workers are started when there is something to do: each is a second of a processor.
    "RAY_prestart_worker_first_driver": "false",
    "RAY_enable_worker_prestart": "false",
}
#: Where the head keeps what it knows. All but the memory outlive it.
STORAGES = {
    "rocksdb": {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": "/tmp/gcs"},
    "redis": {"RAY_REDIS_ADDRESS": "127.0.0.1:6380"},
    "memory": {"RAY_gcs_storage": "memory"},
}
#: Bytes. The smallest store of objects is 75 MiB, and nothing here puts any into it; the memory is what a node says it
#: has, and Ray believes it.
_OPTIONS = (
    "--object-store-memory=80000000",
    f"--memory={64 << 30}",
    "--disable-usage-stats",
    "--include-log-monitor=false",
    "--num-gpus=0",
)
_DRIVER = Path(__file__).with_name("ray_driver.py")


def lacking():
    """Why there can be no such cluster here; None: there can. Where PENSTOCK_TESTS_NEED names it, that is a failure."""
    problem = machines.lacking()
    if problem is None and not _RAY.exists():
        problem = f"Ray is not installed beside {sys.executable}: pip install 'penstock[ray]'"
        if "ray" in os.environ.get("PENSTOCK_TESTS_NEED", ""):
            raise RuntimeError(problem)
    return problem


class DriverFailed(Exception):
    """What a driver has raised."""


class RayNodes(Machines):
    """Machines, each with Ray."""

    def __init__(self, folder, cpus=8, settings=None, storage="rocksdb"):
        """`cpus`: what each announces. `settings`: beside `SETTINGS`. `storage`: the head's, one of `STORAGES`."""
        super().__init__(folder)
        self.env = {
            **SETTINGS,
            **STORAGES[storage],
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ADDRESS": f"{self.address(HEAD)}:{_PORT}",
            **(settings or {}),
        }
        self._redis = storage == "redis"
        self._names = []
        self._drivers = {}
        self._options = (*_OPTIONS, f"--num-cpus={cpus}")

    def start(self, count):
        """Switch on that many, and return when Ray has all of them."""
        self._names = [self.switch_on().name for _ in range(count)]
        if self._redis:
            self._start_redis()
        self._started(self._start(HEAD))
        for start in [self._start(name) for name in self._names[1:]]:
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

    def mend(self):
        """All that were switched on at the start are on, whole and nodes of Ray again, whatever was done to them."""
        for name in self.nodes:
            self.heal(name)
        gone = [name for name in self._names if name not in self.nodes]
        for name in gone:  # the head first: all others ask it
            self.add(name)
        seen = self.alive()
        for name in self._names:
            if name not in seen:
                self.join(name)
        self.wait_for(*self._names)

    def end_ray(self, name):
        """Kill Ray on a machine, and wait for that: with its two servers the rest of it ends by itself."""
        self.end_driver(name)

        def servers():
            return [
                pid for pid, what in self.nodes[name].processes().items() if what in {"gcs_server", "raylet"}
            ]

        for pid in servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not servers())

    def drive(self, code, *arguments, on=HEAD):
        """What a piece of code leaves in `told`, run by a driver on a machine, which is kept for the next one.

        There for it: `ray`, connected; `arguments`; `alive()`; `until_alive(names)`.
        """
        driver = self._drivers.get(on)
        if driver is None or driver.poll() is not None:
            driver = self.run(
                on, [sys.executable, "-P", _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self._drivers[on] = driver
        with contextlib.suppress(BrokenPipeError):  # it has ended, and says so by silence
            driver.stdin.write(json.dumps([code, arguments]) + "\n")
            driver.stdin.flush()
        line = driver.stdout.readline()
        if not line:
            raise DriverFailed(f"the driver on {on} has ended with {driver.wait(_PATIENCE)}")
        answer = json.loads(line)
        if "failed" in answer:
            raise DriverFailed(answer["failed"])
        return answer["told"]

    def end_driver(self, on=HEAD):
        """What is not detached ends with it."""
        driver = self._drivers.pop(on, None)
        if driver is not None:
            driver.kill()
            driver.communicate(timeout=_PATIENCE)

    def alive(self, on=HEAD):
        """The names of those that Ray takes for alive."""
        return self.drive("told = alive()", on=on)

    def wait_for(self, *names):
        """Return when those, and no others, are the nodes that Ray takes for alive."""
        self.drive("told = until_alive(arguments)", *names)

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

    def _start_redis(self):
        """On the head's machine, for itself alone; nothing on disk."""
        host, port = STORAGES["redis"]["RAY_REDIS_ADDRESS"].split(":")
        with (self.folder / HEAD / "redis.log").open("wb") as log:
            command = ["redis-server", "--bind", host, "--port", port, "--save", "", "--appendonly", "no"]
            self.run(HEAD, command, stdout=log, stderr=log)
        ping = ["redis-cli", "-h", host, "-p", port, "ping"]
        until(lambda: self.run(HEAD, ping, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait() == 0)

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
