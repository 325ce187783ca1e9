"""The reaper of one container: removes it when its runner lets go of it, however the runner ends.

Executed by its path (`python -I -S reaper.py SOCKET`), a process and session of its own. On its stdin comes
the container's id, then nothing until the end of file, which the kernel brings about when the runner has died.
Of the standard library only what starts fast.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Wait for the end of file, then remove."""
    name = sys.stdin.readline().strip()
    sys.stdin.read()
    if name:
        remove(sys.argv[1], name)


def remove(path: str, name: str) -> None:
    """End and remove a container with its anonymous volumes, and wait until it is gone."""
    request = (
        f"DELETE /containers/{name}?force=1&v=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
            end.connect(path)
            end.sendall(request.encode())
            while end.recv(4096):
                pass
    except OSError as error:
        sys.exit(f"penstock: the container {name} could not be removed: {error}")


if __name__ == "__main__":
    main()
