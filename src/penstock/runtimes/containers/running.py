"""A started container: its output, its signals and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from docker.utils.socket import frames_iter

from penstock.errors import InternalFailure
from penstock.runtimes.base import Resource
from penstock.runtimes.containers.connection import cut
from penstock.runtimes.containers.counts import Counts
from penstock.runtimes.containers.engine import Engine, brief

#: Seconds between looks at a container whose stream has ended: at first short, since that is its end as a rule.
_SHORTEST, _LONGEST = 0.002, 0.1
#: Seconds for which process 1 may take to be ready for signals.
_READY = 10.0
#: Seconds for which an engine that does not answer is asked again, as when it is updated.
_PATIENCE = 60.0
_SIGTERM = 1 << signal.SIGTERM - 1


class Contained:
    """See `Running`. Its methods may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        client: docker.APIClient,
        identity: str,
        stream: Any,
        output: int,
        reaper: subprocess.Popen[bytes],
        settle: Callable[[], None],
        done: Callable[[], None],
        notes: Sequence[str],
    ) -> None:
        """Take over a container just started, its attached `stream`, and `output`, a descriptor of our own.

        `settle` is called once it has ended, before anybody is told so, and `done` when it is removed.
        """
        self.notes = notes
        self._engine = engine
        self._client = client
        self._lock = threading.Lock()
        self._id = identity
        self._reaper = reaper
        self._settle = settle
        self._done = done
        self._ended = threading.Event()
        self._code: int | None = None
        self._failure: InternalFailure | None = None
        self._exceeded: frozenset[Resource] = frozenset()
        # Daemon: a runner that ends before its program leaves the rest to the reaper.
        threading.Thread(target=self._follow, args=(stream, output), name="container", daemon=True).start()

    def wait(self, timeout: float | None = None) -> int | None:
        """See `Running.wait`.

        Raises:
            InternalFailure: The engine tells nothing of the container any more.
        """
        self._ended.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return self._code

    def terminate(self) -> None:
        """See `Running.terminate`."""
        deadline = time.monotonic() + _READY
        while not self._ended.is_set():
            if self._listens() or time.monotonic() > deadline:
                self._signal("SIGTERM")
                return
            self._ended.wait(0.005)

    def kill(self) -> None:
        """See `Running.kill`. The kernel ends all others of the container with process 1."""
        if not self._ended.is_set():
            self._signal("SIGKILL")

    def exceeded(self) -> frozenset[Resource]:
        """See `Running.exceeded`."""
        return self._exceeded

    def _follow(self, stream: Any, output: int) -> None:
        """In a thread of its own: all of the output, then the end."""
        counts = Counts(self._pid())
        try:
            try:
                for _, data in frames_iter(stream, tty=False):
                    _write(output, data)
            except OSError:
                pass  # the engine has gone away; what becomes of the container is asked below
            self._exceeded = counts.exceeded()
            self._conclude()
        finally:
            os.close(output)
            self._ended.set()
            cut(stream)
            assert self._reaper.stdin is not None
            with suppress(BrokenPipeError):
                self._reaper.stdin.close()  # it removes the container, which nobody need wait for
            if self._reaper.wait() == 0:
                self._done()
            self._client.close()

    def _conclude(self) -> None:
        try:
            state = self._last_state()
            if state.get("OOMKilled"):
                self._exceeded |= {"memory"}
            self._settle()
        except (DockerException, OSError, KeyError) as error:
            self._failure = InternalFailure(
                f"{self._engine.name} told nothing of the end of the container: {brief(error)}."
            )
        except InternalFailure as failure:
            self._failure = failure
        else:
            self._code = int(state["ExitCode"])

    def _last_state(self) -> dict[str, Any]:
        """Asked for rather than waited for: Podman's `wait` looks four times a second."""
        pause = _SHORTEST
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                state = self._state()
            except (DockerException, OSError):
                if time.monotonic() > deadline:
                    raise
            else:
                if state.get("Running"):
                    deadline = time.monotonic() + _PATIENCE
                elif time.monotonic() > deadline:
                    raise KeyError(f"it is {state.get('Status')}")
                if not state.get("Running") and state.get("Status") in {"exited", "stopped", "dead"}:
                    return state
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _state(self) -> dict[str, Any]:
        with self._lock:
            return dict(self._client.inspect_container(self._id)["State"])

    def _pid(self) -> int:
        """Process 1 as the machine counts; 0 where that is not known."""
        try:
            return int(self._state().get("Pid") or 0)
        except (DockerException, OSError):
            return 0

    def _signal(self, name: str) -> None:
        """Until the engine has passed it on: one that is away just now would leave a program beyond its time limit."""
        deadline = time.monotonic() + _PATIENCE
        while not self._ended.is_set() and time.monotonic() < deadline:
            # Refused once it has ended, which shows soon.
            with suppress(DockerException, OSError), self._lock:
                self._client.kill(self._id, name)
                return
            self._ended.wait(_LONGEST)

    def _listens(self) -> bool:
        """Whether process 1 takes SIGTERM by now. One that comes before is lost: the kernel spares processes 1."""
        try:
            text = Path(f"/proc/{self._pid()}/status").read_bytes()
        except OSError:
            return True  # it has ended, or lives where we can't look
        fields = dict(line.split(b":", 1) for line in text.split(b"\n") if b":" in line)
        masks = (int(fields[name], 16) for name in (b"SigBlk", b"SigCgt"))
        return any(mask & _SIGTERM for mask in masks)


def _write(output: int, data: bytes) -> None:
    """All of it; nothing when nobody reads any more, since the program is not to be held up."""
    with suppress(BrokenPipeError):
        while data:
            data = data[os.write(output, data) :]
