"""What a process has handed to the kernel, and the kernel has not sent yet, is not to be sent any more."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

_AT_ONCE = struct.pack("ii", 1, 0)


def drop_unsent() -> None:
    """Have each TCP connection of this process end without what was not sent, when the process ends.

    A kernel goes on sending for a dead process, for minutes when nobody answers. So the last bytes of an upload would
    reach the store after a cut in the network has healed, when another attempt may have stored its own.
    """
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if str(entry.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as same:
                    if same.family in {socket.AF_INET, socket.AF_INET6} and same.type == socket.SOCK_STREAM:
                        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
