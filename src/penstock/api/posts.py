"""A runner's report as an HTTP request: whose it is, what it posts, and the sealed answer.

Each short run makes one or two, so they go by no framework: to make a request, an answer and the hop to a thread of
Starlette's took longer than to put the report on record.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.types import Receive, Scope

from penstock import disk
from penstock.api import reports
from penstock.api.body import bounded_body
from penstock.api.context import Context
from penstock.job.events import Host
from penstock.job.seal import NONCE, SEAL, seal
from penstock.wire.claims import pairs_of
from penstock.wire.faults import Fault
from penstock.wire.reply import Reply

PATH = "/penstock/runs/"

#: What runners post besides log bytes.
_TAKES: Mapping[str, Callable[[Context, Host, bytes], Mapping[str, Any]]] = {
    "events": reports.take_events,
    "lease": reports.take_lease,
    "progress": reports.take_progress,
    "uploads": reports.take_uploads,
}
_NOTHING = 404, {"error": "there is nothing here"}
#: So many reports are taken at once at most; the others wait for their turn. A database of this process lets one write
#: at a time, and for one elsewhere its connections are as many.
_THREADS = 40

_JSON = json.JSONEncoder(separators=(",", ":"))
_SEAL, _NONCE = SEAL.encode(), NONCE.encode()

#: HTTP's status, and what is told as JSON.
_Answer = tuple[int, Mapping[str, Any]]


class Posts:
    """Takes reports. Lives on the event loop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._threads = ThreadPoolExecutor(_THREADS, "report")

    async def take(self, scope: Scope, receive: Receive) -> Reply:
        """One POST to ``/penstock/runs/<job uid>/<host>/(log|events|lease|progress|uploads)``."""
        uid, _, rest = scope["path"].removeprefix(PATH).partition("/")
        key, _, what = rest.partition("/")
        if scope["method"] != "POST" or what not in {"log", *_TAKES}:
            return _reply(_NOTHING)
        headers = dict(scope["headers"])
        token = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
        try:
            # Before its body is taken.
            if self._context.store.in_process:
                host = reports.known(self._context, uid, key, token)
            else:
                host = await self._in_thread(reports.known, self._context, uid, key, token)
        except reports.ReportRefused as refused:
            return _reply(_refusal(refused))
        answer = await self._take(scope, receive, host, what)
        return _reply(answer, host, headers.get(_NONCE, b"").decode("latin-1"))

    async def _take(self, scope: Scope, receive: Receive, host: Host, what: str) -> _Answer:
        try:
            body = await bounded_body(receive)
            if what == "log":
                offset = int(dict(pairs_of(scope["query_string"])).get("offset", ""))
                return 200, await self._in_thread(reports.take_log, self._context, host, offset, body)
            return 200, await self._in_thread(_TAKES[what], self._context, host, body)
        except reports.ReportRefused as refused:
            return _refusal(refused)
        except (ValueError, Fault) as error:
            return 400, {"error": str(error)}
        except Exception as error:
            if disk.is_full(error):  # the runner tries again until there is room
                return 507, {"error": "the disk is full"}
            raise

    async def _in_thread(self, what: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, what, *args)


def _refusal(refused: reports.ReportRefused) -> _Answer:
    return refused.status, {"error": str(refused)}


def _reply(answer: _Answer, host: Host | None = None, nonce: str = "") -> Reply:
    """The answer's bytes, sealed for whom we know."""
    status, told = answer
    body = _JSON.encode(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if host is not None:
        headers.append((_SEAL, seal(host.token_digest, nonce, status, body).encode()))
    return Reply(status, headers, body)
