"""Waiting for news of a job: a request that is answered when there is some, so that nobody need ask again and again."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from penstock.wire import faults

_Seen = TypeVar("_Seen")

#: How many wait at once at most: at this server, and for news of one job, whose program may ask as well.
MOST, MOST_OF_ONE = 1000, 100

#: How many look at once at most: operations need the other threads.
_LOOKS = 4

#: How long to wait at most before looking again, in seconds, though nobody has told of anything.
_LOOK_AGAIN = 5.0
#: The same where other servers work on the same database: they tell us nothing.
_LOOK_FOR_OTHERS = 1.0


class News:
    """Wakes who waits for news of a job. `tell` and `end` may be called from any thread."""

    def __init__(self, *, others: bool = False) -> None:
        """`others`: whether other servers move jobs, too."""
        self._look_again = _LOOK_FOR_OTHERS if others else _LOOK_AGAIN
        self._lock = threading.Lock()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._places: Counter[str] = Counter()
        self._looks = asyncio.Semaphore(_LOOKS)
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
        self,
        job_uid: str,
        look: Callable[[], _Seen],
        is_news: Callable[[_Seen], bool],
        seconds: float,
        leaves: Callable[[], Awaitable[Any]],
    ) -> _Seen:
        """What `look` sees once `is_news` says yes of it, or after so many seconds.

        Args:
            job_uid: The job.
            look: Looks what there is; it runs in a thread, and nothing does while there is nothing to look for.
            is_news: Whether that is worth to be told.
            seconds: How long to wait at most.
            leaves: Returns when the one who waits has gone away.

        Raises:
            Fault: Too many wait.
            ClientDisconnect: Nobody is left to be told.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        with self._place(job_uid):
            left: asyncio.Future[Any] = asyncio.ensure_future(leaves())
            try:
                while True:
                    # Waited for before it is looked: what happens in between is not missed.
                    future: asyncio.Future[None] = loop.create_future()
                    with self._lock:
                        self._waiting.setdefault(job_uid, []).append(future)
                    try:
                        async with self._looks:
                            seen = await run_in_threadpool(look)
                        rest = until - loop.time()
                        if is_news(seen) or rest <= 0 or self._ended:
                            return seen
                        some = min(rest, self._look_again)
                        await asyncio.wait([future, left], timeout=some, return_when=asyncio.FIRST_COMPLETED)
                        if left.done():
                            raise ClientDisconnect
                    finally:
                        future.cancel()
                        self._forget(job_uid, future)
            finally:
                left.cancel()

    @contextmanager
    def _place(self, job_uid: str) -> Iterator[None]:
        """Room for one more who waits, until the end."""
        if self._places[job_uid] >= MOST_OF_ONE or self._places.total() >= MOST:
            raise faults.unavailable(
                f"Too many wait for news: {MOST} may at once, and {MOST_OF_ONE} for news of one job. Ask again later."
            )
        self._places[job_uid] += 1
        try:
            yield
        finally:
            self._places[job_uid] -= 1
            if not self._places[job_uid]:
                del self._places[job_uid]

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
