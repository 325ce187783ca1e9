"""Sockets in other networks: a thread goes into one, and a door leads from one into another.

A socket belongs for good to the network in which its thread was when it was made, so one process can hold both ends.
"""

import contextlib
import ctypes
import os
import socket
import socketserver
import threading

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def space_of(pid):
    """The network that a process is in, as `inside` wants it."""
    return f"/proc/{pid}/ns/net"


@contextlib.contextmanager
def inside(space):
    """This thread, and all threads and processes that it starts, are in that network; None: where it is already."""
    if space is None:
        yield
        return
    with open("/proc/thread-self/ns/net") as here, open(space) as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(here)


def _enter(file):
    if _LIBC.setns(file.fileno(), _CLONE_NEWNET):  # os.setns is Python 3.12's
        error = ctypes.get_errno()
        raise OSError(error, f"can't enter the network {file.name}: {os.strerror(error)}")


class Door(socketserver.ThreadingTCPServer):
    """A port at `host`, in one network, behind which is the address `to` in another; as long as the block lasts."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host, to, *, of=None, into=None):
        """`of`, `into`: the networks of both ends; None: this process's own."""
        self._to = to
        self._into = into
        with inside(of):
            super().__init__((host, 0), None)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self):
        """Where to knock: host and port as one word."""
        host, port = self.server_address
        return f"{host}:{port}"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def finish_request(self, request, client_address):
        """In a thread of its own, which ends with the connection."""
        with (
            contextlib.suppress(OSError),
            inside(self._into),
            socket.create_connection(self._to, 10) as beyond,
        ):
            beyond.settimeout(None)
            back = threading.Thread(target=_pour, args=(beyond, request), daemon=True)
            back.start()
            _pour(request, beyond)
            back.join()


def _pour(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 18):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
