"""A Ray cluster of one node, this machine, for tests that need no more."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

from patience import until

#: As docs/ray.md advises; what is lost is noticed soon.
TUNED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


class OneRayNode:
    """The head, from its start to its end; with token authentication."""

    def __init__(self, folder, *, cpus=4, gpus=0, **environ):
        """`folder` has the node's `PENSTOCK_HOME`; the path of Ray's own must be short."""
        self.home = folder / "node"
        self.ray = Path("/tmp", f"ray-{secrets.token_hex(3)}")
        self.mark = secrets.token_hex(16)
        self.port, client_port = _free_ports(2)
        self.auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.address = f"127.0.0.1:{self.port}"
        self.client_address = f"ray://127.0.0.1:{client_port}"
        options = [
            "--head", "--block", "--disable-usage-stats", "--include-dashboard=false", f"--port={self.port}", f"--ray-client-server-port={client_port}",
            "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--memory={64 << 30}",
            f"--object-store-memory={80 << 20}", f"--temp-dir={self.ray}",
        ]  # fmt: skip
        self.log = folder / "ray.log"
        self._command = [str(Path(sys.executable).with_name("ray")), "start", *options]
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PENSTOCK_"))},
            **TUNED,
            **self.auth,
            "PENSTOCK_HOME": str(self.home),
            "PENSTOCK_TEST_MARK": self.mark,
            **environ,
        }
        self.start()

    def start(self):
        """Start it, also again, at the same address, and return when it is up."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.log.parent,
            )
        until(self._up)

    def _up(self):
        assert self.process.poll() is None, self.log.read_text()
        return "--block" in self.log.read_text()

    def processes(self, word=b""):
        """The processes of the node whose command line has `word`."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                marked = self.mark.encode() in (folder / "environ").read_bytes()
                if marked and word in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def runner(self, name, host="algo-1"):
        """The process of a runner of a job."""
        (file,) = self.home.glob(f"ray/*/{name}-*/{host}/pid")
        return int(file.read_text())

    def kill(self, spare=()):
        """End all that was started by it, and by nobody else, but for some processes."""
        while left := set(self.processes()) - set(spare):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        """End it all, and leave nothing."""
        self.kill()
        subprocess.run(["rm", "-rf", "--", str(self.ray)], check=False)


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
