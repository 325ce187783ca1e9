"""Taking a request's body."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from penstock.wire import faults

#: Far above any request that AWS's model allows.
LARGEST_BODY = 4 << 20


async def bounded_body(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        Fault: It is larger than any operation needs.
        ClientDisconnect: The client left before it had sent all.
    """
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        size += len(piece)
        if size > LARGEST_BODY:
            raise faults.too_large(f"The request body is larger than {LARGEST_BODY} bytes.")
        pieces.append(piece)
        more = message.get("more_body", False)
    return b"".join(pieces)
