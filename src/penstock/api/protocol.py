"""HTTP as uvicorn speaks it, with a bound on what may come before a body: its fast parser has none."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Far above the largest head of an S3 or AWS request (8 KiB of headers and a query).
LARGEST_HEAD = 128 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers do not end within `LARGEST_HEAD` bytes."""

    _in_head = False
    _head = 0

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
