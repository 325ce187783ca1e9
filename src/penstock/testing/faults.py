"""A proxy between an S3 client and a real store that does to the traffic what networks, proxies and stores do.

It speaks just enough HTTP/1.1 to know where a request and its answer begin and end; all else passes as it is, the
signed Host header too. Which fault meets a request is decided by a seeded generator. Threads decide in which order
requests meet the faults, so a seed gives the same mix, not the same run.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_BLOCK = 1 << 16
_STALL = 0.05
#: Bytes: in a body of fewer the same bit could be turned in two readings by chance, and a reader who compares two would
#: take it for what is stored.
_FLIPPED_FROM = 64

#: What can happen to a request or to its answer.
FAULTS = (
    "delay",
    "slow_down",  # 503 SlowDown, the store is not asked
    "server_error",  # 500 InternalError, the store is not asked
    "cut_before",  # the connection ends before the store is asked
    "cut_request",  # ... in the middle of the request's body
    "cut_answer",  # ... when the store has done its work, and nobody learns of it
    "truncate_answer",  # ... in the middle of the answer's body
    "flip_request",  # one bit of the request's body is another one
    "flip_answer",  # one bit of the answer's body is another one
)


@dataclass(frozen=True)
class Message:
    """The head of a request or an answer, and how many bytes of body follow it."""

    start: str
    """The first line."""
    head: bytes
    length: int

    @property
    def method(self) -> str:
        """GET, PUT ...; of a request."""
        return self.start.partition(" ")[0]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ")[1])


Choose = Callable[[Message], str | None]
#: Host and port, or how to learn them: a store that is started anew may be elsewhere.
Endpoint = tuple[str, int] | Callable[[], tuple[str, int]]


def at_random(seed: int, rates: Mapping[str, float]) -> Choose:
    """Each fault with its probability per request, in the order in which requests come."""
    dice, lock = random.Random(seed), threading.Lock()  # noqa: S311 - repeatable is the point

    def choose(_: Message) -> str | None:
        with lock:
            return dice.choices([None, *rates], [1 - sum(rates.values()), *rates.values()])[0]

    return choose


def in_turn(faults: Iterator[str | None], matching: Callable[[Message], bool] = lambda _: True) -> Choose:
    """The faults one after the other for the requests that match, then none."""
    lock = threading.Lock()

    def choose(request: Message) -> str | None:
        with lock:
            return next(faults, None) if matching(request) else None

    return choose


@contextlib.contextmanager
def between(
    endpoint: Endpoint, choose: Choose, seed: int = 0, answered: Callable[[Message], None] = lambda _: None
) -> Iterator[FaultProxy]:
    """A proxy in front of `endpoint` as long as the block lasts; see `FaultProxy`."""
    proxy = FaultProxy(endpoint, choose, seed, answered)
    try:
        yield proxy
    finally:
        proxy.close()


class FaultProxy:
    """Listens on a loopback port of its own and passes requests on, each with the fault that is chosen for it."""

    def __init__(
        self,
        endpoint: Endpoint,
        choose: Choose,
        seed: int = 0,
        answered: Callable[[Message], None] = lambda _: None,
    ) -> None:
        """`choose` is called with a request before the store, `answered` when the store has done it.

        While either does not return, the request is held just there.
        """
        self._endpoint, self._choose, self._answered = endpoint, choose, answered
        self._dice = random.Random(seed)  # noqa: S311 - repeatable is the point
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.done: Counter[str] = Counter()
        """How often each fault was done."""
        self.requests: list[str] = []
        """The first lines of all requests."""
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="faults", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection of a client, with one to the store."""
        store: socket.socket | None = None
        try:
            store = socket.create_connection(self._endpoint() if callable(self._endpoint) else self._endpoint)
            with self._lock:
                self._open |= {client, store}
            asking, answering = _Side(client), _Side(store)
            while self._exchange(asking, answering):
                pass
        except (OSError, EOFError):
            pass  # one side has gone: so does the other
        finally:
            with self._lock:
                self._open -= {client} | ({store} if store else set())
            client.close()
            if store:
                store.close()

    def _exchange(self, client: _Side, store: _Side) -> bool:
        """One request and its answer; False when the connection is to end."""
        request = client.message()
        fault = self._choose(request)
        self.requests.append(request.start)
        if fault in {"slow_down", "server_error"}:
            self._did(fault)
            client.skip(request.length)
            client.send(_refusal(fault))
            return True
        if fault == "cut_before":
            self._did(fault)
            return False
        if fault == "delay":
            self._did(fault)
            time.sleep(_STALL)
        if fault == "cut_request" and request.length:
            self._did(fault)
            store.send(request.head)
            client.pass_on(request.length // 2, store)
            return False
        if b"expect: 100-continue" in request.head.lower():
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            request = Message(
                request.start,
                request.head.replace(b"Expect: 100-continue\r\n", b""),
                request.length,
            )
        store.send(request.head)
        client.pass_on(request.length, store, self._bit(fault, "flip_request", request.length))
        answer = store.message(bodiless=request.method == "HEAD")
        self._answered(request)
        if fault == "cut_answer":
            self._did(fault)
            return False
        client.send(answer.head)
        if fault == "truncate_answer" and answer.length:
            self._did(fault)
            store.pass_on(answer.length // 2, client)
            return False
        store.pass_on(answer.length, client, self._bit(fault, "flip_answer", answer.length))
        return b"connection: close" not in answer.head.lower()

    def _bit(self, fault: str | None, flip: str, length: int) -> tuple[int, int] | None:
        """The bit to turn in a body of that length, if `fault` is to turn one there."""
        if fault != flip or length < _FLIPPED_FROM:
            return None
        self._did(flip)
        with self._lock:
            return self._dice.randrange(length), 1 << self._dice.randrange(8)

    def _did(self, fault: str) -> None:
        with self._lock:
            self.done[fault] += 1


class _Side:
    """One side's connection, with what has been read and not yet used."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.held = connection, b""

    def message(self, *, bodiless: bool = False) -> Message:
        """The next head.

        Raises:
            EOFError: The connection has ended.
        """
        while b"\r\n\r\n" not in self.held:
            self._more()
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(":", 1) for line in lines[1:])
        if "chunked" in headers.get("transfer-encoding", ""):
            raise NotImplementedError(f"a chunked body: {lines[0]}")
        status = lines[0].split(" ")[1]
        none = bodiless or status in {"204", "304", "100"}
        return Message(lines[0], head + b"\r\n\r\n", 0 if none else int(headers.get("content-length", 0)))

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def skip(self, length: int) -> None:
        """Read a body and forget it."""
        while length:
            length -= len(self._some(length))

    def pass_on(self, length: int, other: _Side, bit: tuple[int, int] | None = None) -> None:
        """Give `length` bytes to the other side, with the one bit (position, mask) turned."""
        passed = 0
        while passed < length:
            data = self._some(length - passed)
            if bit and passed <= bit[0] < passed + len(data):
                turned = bytearray(data)
                turned[bit[0] - passed] ^= bit[1]
                data = bytes(turned)
            other.send(data)
            passed += len(data)

    def _some(self, most: int) -> bytes:
        if not self.held:
            self._more()
        data, self.held = self.held[:most], self.held[most:]
        return data

    def _more(self) -> None:
        data = self.connection.recv(_BLOCK)
        if not data:
            raise EOFError
        self.held += data


def _refusal(fault: str) -> bytes:
    status, code = (
        ("503 Slow Down", "SlowDown")
        if fault == "slow_down"
        else ("500 Internal Server Error", "InternalError")
    )
    body = f"<Error><Code>{code}</Code><Message>Please try again.</Message></Error>".encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
