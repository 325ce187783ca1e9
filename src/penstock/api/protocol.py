"""HTTP as uvicorn speaks it, but for two things.

What may come before a body is bounded: uvicorn's fast parser has no bound. And an answer's head and body leave
together: uvicorn writes them apart, which costs a second packet, and the client a second awakening.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Far above the largest head of an S3 or AWS request (8 KiB of headers and a query).
LARGEST_HEAD = 128 * 1024


class _Joined:
    """A transport that sends at once what was written in one turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._transport.write(data)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers do not end within `LARGEST_HEAD` bytes."""

    _in_head = False
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Talk through a transport that joins what is written."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type] # all that is used of one

    def data_received(self, data: bytes) -> None:
        """Parse what came, then count it if the head is still open."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It has ended."""
        self._in_head = False
        super().on_headers_complete()
