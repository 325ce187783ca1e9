"""A service of Podman's that ends some seconds after the process that started it.

Executed by its path (`python -I -S service.py LISTENER SOCKET`), with a listening socket as the descriptor LISTENER, a
process and session of its own. Its stdin comes to an end with whoever started it; reapers then still have work to do.
"""

# ruff: noqa: PTH106, PTH108, PTH120 - pathlib takes longer to import than this to run

from __future__ import annotations

import os
import signal
import sys
import time

#: Seconds that reapers have to remove their containers.
_LINGER = 10


def main() -> None:
    """Run the service until nobody needs it, then remove the socket and its folder."""
    listener, path = int(sys.argv[1]), sys.argv[2]
    service = os.fork()
    if not service:
        # As systemd hands sockets down. So nobody need wait until the service is up.
        os.dup2(listener, 3)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
        os.execvp("podman", ["podman", "system", "service", "--time=0"])  # noqa: S606
    os.close(listener)
    sys.stdin.buffer.read()
    time.sleep(_LINGER)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)  # a rootless Podman is two processes, and ours has a session of its own
    os.waitpid(service, 0)
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


if __name__ == "__main__":
    main()
