"""On a node: an actor by which a server reaches the node's own engine.

The runner is no part of the actor. It is a process in a session of its own with a folder below the node's
`PENSTOCK_HOME`, exactly as on a server's own machine, so it outlives the actor and all of Ray: a door that has died is
made anew on the same node, and asks the lock of the run. It is forked by a nursery: a worker of Ray that ends takes its
children with it, but not theirs. All other settings are the node's own, too: where environments and inputs are cached,
how walls are built, which folders may be inputs.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from penstock.config import Settings
from penstock.engines.base import Life, Remains
from penstock.engines.local import LocalEngine
from penstock.errors import InternalFailure
from penstock.home import Home
from penstock.job.run import Run
from penstock.runtimes.containers.sockets import let_go

#: A run's folder that was touched within so many seconds is not swept: it may just be made.
_YOUNG = 60.0
#: In the folder of a server's runs: touched as often as the server has it swept. What a server has left behind that was
#: not here for so many seconds goes.
_HEARD, _GONE = "heard", 30 * 86400.0


class Door:
    """One node, as the server `server` sees it; for several threads. Several servers may share a cluster."""

    def __init__(self, server: str) -> None:
        self._settings = Settings.read()
        Home(self._settings.home).make()
        self._folder = self._settings.home / "ray" / server
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._engine = LocalEngine(self._folder, let_go)
        # Ray makes its workers the kernel's first choice when memory is short, and what they start inherits it.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("0")
        self._engine.warm_up()

    def address(self) -> str:
        """The node's IP address."""
        found: str = ray.util.get_node_ip_address()
        return found

    def start(self, text: str) -> str | None:
        """Start a runner for the run, as JSON with its cards; why it could not be, or None.

        It may have been started by a door that died before it said so: then it is left as it is.
        """
        settings, given = self._settings, Run.from_json(text)
        if self._engine.probe(given.handle) is Life.ALIVE:
            return None  # it may just read what `prepare` would write anew
        run = replace(
            given,
            home=str(settings.home),
            environments=str(settings.environments),
            cache=str(Home(settings.home).cache) if settings.cache_bytes else None,
            cache_bytes=settings.cache_bytes,
            local_inputs=settings.local_inputs,
            walls=settings.walls,
            limits=settings.limits,
            shm_bytes=given.shm_bytes or settings.shm_bytes,
        )
        try:
            self._engine.start(self._engine.prepare(run))
        except (InternalFailure, OSError) as error:
            return str(error)
        return None

    def probe(self, handle: str) -> Life:
        """As the engine of a server's own machine has it, which the others below follow."""
        return self._engine.probe(handle)

    def stop(self, handle: str) -> None:
        """Ask the runner to stop."""
        self._engine.stop(handle)

    def remains(self, handle: str, log_from: int) -> Remains:
        """What a dead runner left behind."""
        return self._engine.remains(handle, log_from)

    def manifest(self, handle: str, start: int) -> bytes:
        """Read on in its upload manifest."""
        return self._engine.manifest(handle, start)

    def forget(self, handle: str) -> None:
        """Remove the run's folder."""
        self._engine.forget(handle)

    def sweep(self, keep: set[str]) -> None:
        """Remove the folders of all runs but those to be kept, the living, and the young."""
        youngest = time.time() - _YOUNG
        young = {
            f"{folder.parent.name}/{folder.name}"
            for folder in self._folder.glob("*/*")
            if _touched(folder) > youngest
        }
        self._engine.sweep(keep | young)
        (self._folder / _HEARD).touch()
        for other in self._folder.parent.iterdir():
            if other != self._folder and _heard(other) < time.time() - _GONE:
                LocalEngine(other, let_go).sweep(set())
                with contextlib.suppress(OSError):  # a runner lives in it
                    (other / _HEARD).unlink(missing_ok=True)
                    other.rmdir()

    def tidy(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Have inputs and environments go that this node keeps no longer, or tell which would."""
        command = ["nice", sys.executable, "-P", "-m", "penstock.retention.tidying", json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode:
            return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
        told: dict[str, Any] = json.loads(done.stdout)
        return told


def _heard(folder: Path) -> float:
    """When a server was here last, in seconds since the epoch."""
    return _touched(folder / _HEARD) or _touched(folder)


def _touched(path: Path) -> float:
    """When it was changed, in seconds since the epoch; 0 where it has gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def cards() -> list[int]:
    """The graphics cards of the task that this is."""
    return [int(one) for one in ray.get_gpu_ids()]
