"""New jobs on their way into the store: those that come while others are being written are written together.

Of the price of a durable job nearly all is the disk's, and the hop to the thread that waits for it. Both are paid
once for a batch, so that eight clients are served at several times the rate of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from penstock.errors import Conflict, Missing
from penstock.job.life import Job

#: A job and its tags.
New = tuple[Job, Mapping[str, str]]


class Admission:
    """The one way of a new job into the store. Lives on the event loop."""

    def __init__(self, add_jobs: Callable[[Sequence[New]], Sequence[Conflict | Missing | None]]) -> None:
        self._add_jobs = add_jobs
        self._waiting: list[tuple[New, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def add(self, job: Job, tags: Mapping[str, str]) -> None:
        """Put a job on record. It is on disk when this returns.

        Raises:
            Conflict: A job of that name is there.
            InUse, Missing: As `Store.add_job`.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(((job, tags), written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await written

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            fates: Sequence[Exception | None]
            try:
                fates = await loop.run_in_executor(None, self._add_jobs, [new for new, _ in batch])
            except Exception as error:  # noqa: BLE001 - the disk is full, say: all of them must hear of it
                fates = [error] * len(batch)
            for (_, written), fate in zip(batch, fates, strict=True):
                if written.done():
                    continue  # its client has left
                if fate is None:
                    written.set_result(None)
                else:
                    written.set_exception(fate)
