"""What of uvicorn's HTTP is ours."""

import asyncio

import uvicorn
from uvicorn.server import ServerState

from penstock.api.protocol import BoundedProtocol


class Recorder(asyncio.Transport):
    """A transport that keeps each write apart."""

    def __init__(self, answered):
        super().__init__()
        self.writes, self._answered = [], answered

    def write(self, data):
        self.writes.append(bytes(data))
        self._answered.set()

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self):
        return False

    def close(self):
        pass


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_an_answers_head_and_body_leave_in_one_write():
    async def answer():
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        answered = asyncio.Event()
        transport = Recorder(answered)
        protocol = BoundedProtocol(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.connection_made(transport)
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await answered.wait()
        await asyncio.sleep(0)  # another write would follow in the same turn
        protocol.connection_lost(None)
        return transport.writes

    [written] = asyncio.run(answer())
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nhello")
