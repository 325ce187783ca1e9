"""The engine's end of a nursery: a process from which runners are forked (`penstock.runner.nursery`)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading


class Nursery:
    """Starts the process at once; until it has loaded, requests wait for it in the socket."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "penstock.runner.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                env=runner_environment(),
            )

    def fork(self, folder: str, lock: int) -> bool:
        """Ask for a runner; False when nobody is there to fork it.

        The lock travels with the request. Should the nursery die before it has forked, the kernel closes what is
        on its way, so the lock is free and the run is found dead, as with any runner that is killed at its start.
        """
        if self._process.poll() is not None:
            return False
        try:
            socket.send_fds(self._requests, [os.fsencode(folder)], [lock])
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the process. Runners go on."""
        self._requests.close()
        threading.Thread(target=self._process.wait, name="reap nursery", daemon=True).start()


def runner_environment() -> dict[str, str]:
    """What runners inherit.

    Without its cached bytecode one would spend longer on starting than a small job takes; and the database, with its
    password, is the server's alone, as is a Ray cluster's token the engine's.
    """
    return {
        k: v
        for k, v in os.environ.items()
        if k not in {"PYTHONDONTWRITEBYTECODE", "PENSTOCK_DATABASE_URL"} and not k.startswith("RAY_")
    }
