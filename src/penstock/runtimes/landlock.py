"""Landlock (Linux 6.12 and later): keep what this thread starts from the machine's abstract Unix sockets.

An abstract socket has no file, so no mount hides it, and it belongs to the network, which programs may share with the
machine. Within a *scope* a process reaches only those sockets and signals only those processes that were made in it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache

# The numbers are the same on all architectures.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2
_HAS_SCOPES = 6
_PR_SET_NO_NEW_PRIVS = 38

_LIBC = ctypes.CDLL(None, use_errno=True)


@cache
def version() -> int:
    """Of the kernel's Landlock; 0 when it has none or it is switched off."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)))


def has_scopes() -> bool:
    """Whether the kernel can keep programs from abstract sockets."""
    return version() >= _HAS_SCOPES


def scope_this_thread() -> None:
    """Put this thread, and all that it will ever start, into a scope of its own. There is no way back.

    No access to files is handled by it, so it forbids no mounts. It takes microseconds.

    Raises:
        OSError: The kernel refuses, though it `has_scopes`.
    """
    # handled_access_fs, handled_access_net, scoped
    wanted = struct.pack("=3Q", 0, 0, _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL)
    rules = int(_LIBC.syscall(_CREATE_RULESET, wanted, ctypes.c_size_t(len(wanted)), 0))
    if rules < 0:
        raise _error("make a Landlock ruleset")
    try:
        if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _LIBC.syscall(_RESTRICT_SELF, rules, 0):
            raise _error("restrict this thread by Landlock")
    finally:
        os.close(rules)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"can't {what}: {os.strerror(number)}")
