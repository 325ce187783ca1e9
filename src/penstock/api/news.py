"""Waiting for news of a job: a request that is answered when there is some, so that nobody need ask again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

_Seen = TypeVar("_Seen")

#: How long to wait at most before looking again: another server on the same database tells us nothing.
_LOOK_AGAIN = 1.0


class News:
    """Wakes who waits for news of a job. `tell` and `end` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._ended = False

    def tell(self, job_uid: str) -> None:
        """The job has moved, or its log has grown."""
        with self._lock:
            woken = self._waiting.pop(job_uid, ())
        for future in woken:
            _wake(future)

    def end(self) -> None:
        """The server ends: nobody is to wait any longer."""
        with self._lock:
            self._ended = True
            woken = [future for waiting in self._waiting.values() for future in waiting]
            self._waiting.clear()
        for future in woken:
            _wake(future)

    async def wait(
        self, job_uid: str, look: Callable[[], _Seen], is_news: Callable[[_Seen], bool], seconds: float
    ) -> _Seen:
        """What `look` sees once `is_news` says yes of it, or after so many seconds. `look` runs in a thread."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            # Waited for before it is looked: what happens in between is not missed.
            future: asyncio.Future[None] = loop.create_future()
            with self._lock:
                self._waiting.setdefault(job_uid, []).append(future)
            try:
                seen = await asyncio.to_thread(look)
                left = until - loop.time()
                if is_news(seen) or left <= 0 or self._ended:
                    return seen
                await asyncio.wait([future], timeout=min(left, _LOOK_AGAIN))
            finally:
                future.cancel()
                self._forget(job_uid, future)

    def _forget(self, job_uid: str, future: asyncio.Future[None]) -> None:
        with self._lock:
            waiting = self._waiting.get(job_uid, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiting.pop(job_uid, None)


def _wake(future: asyncio.Future[None]) -> None:
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_finish, future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
