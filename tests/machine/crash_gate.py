"""What holds a job at one exact moment of its life, without a sleep: a gate for programs, a proxy for transfers."""

import contextlib
import socket
import threading
import time

from penstock.testing.faults import between

PATIENCE = 60.0


def until(condition, what):
    """Wait until `condition()` is true, and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for: {what}"
        time.sleep(0.005)
    return found


class Gate:
    """Where the jobs' programs report that they have been started, and wait for leave to go on.

    A program's connection ends with it, however it ends: the kernel closes it. So two programs of one instance that
    live at the same time are seen, and one that comes back.
    """

    def __init__(self, held):
        """`held`: the instances (``job/host``) whose programs wait; all others are let go at once."""
        self._held = set(held)
        self._lock = threading.Lock()
        self._open = {}
        self._said = {}
        self.starts = {}
        """Instance -> how often its program was started."""
        self.twice = []
        """Instances of which two programs lived at the same time."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="gate")
        self._thread.start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open.values():
            connection.close()

    def let_go(self, who):
        with self._lock:
            self._held.discard(who)
            self._go(who)

    def let_all_go(self):
        with self._lock:
            for who in list(self._held):
                self._held.discard(who)
                self._go(who)

    def said(self, who):
        """What the program has said since it came."""
        with self._lock:
            connection = self._open.get(who)
            if connection is not None:
                with contextlib.suppress(OSError):
                    self._said[who] += connection.recv(4096, socket.MSG_DONTWAIT)
            return self._said.get(who, b"")

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                who = connection.makefile("rb", buffering=0).readline().decode().strip()
                self._came(who, connection)

    def _came(self, who, connection):
        with self._lock:
            before = self._open.get(who)
            if before is not None and _lives(before):
                self.twice.append(who)
            self.starts[who] = self.starts.get(who, 0) + 1
            self._open[who], self._said[who] = connection, b""
            if who not in self._held:
                self._go(who)

    def _go(self, who):
        with contextlib.suppress(OSError, KeyError):
            self._open[who].sendall(b"!")


def _lives(connection):
    """Whether the other end is still open, once what it has said is read."""
    try:
        while connection.recv(4096, socket.MSG_DONTWAIT):
            pass
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Holds:
    """Requests that are held at a proxy, before the store does them or after."""

    def __init__(self, before, after):
        """Beginnings of requests' first lines, as ``PUT /bucket/key``."""
        self._before = {text: threading.Event() for text in before}
        self._after = {text: threading.Event() for text in after}
        self._free = threading.Event()

    def behind(self, endpoint):
        return between(endpoint, self._choose, answered=lambda request: self._hold(self._after, request))

    def reached(self, text):
        """Whether such a request is there."""
        return (self._before | self._after)[text].is_set()

    def free(self):
        """Let all go on, now and later."""
        self._free.set()

    def _choose(self, request):
        self._hold(self._before, request)

    def _hold(self, held, request):
        for text, there in held.items():
            if request.start.startswith(text):
                there.set()
                self._free.wait()
