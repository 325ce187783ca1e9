"""A crew of threads that works off tasks which are made one at a time, so that memory stays bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

#: Enough to keep a store on the same machine or in the same network busy; more gained nothing.
WIDTH = 16

Task = Callable[[], None]


def work(
    tasks: Iterable[Task],
    width: int = WIDTH,
    *,
    tick: Callable[[], None] = lambda: None,
    every: float = 10.0,
) -> None:
    """Run all tasks on `width` threads and return when the last has ended.

    The next task is taken from the iterable when a thread is free, by one thread at a time. The first error
    ends the taking; it is raised when the tasks under way have ended.

    Args:
        tasks: What to do; may be a generator.
        width: How many threads at most.
        tick: Called on the caller's thread every `every` seconds while the work goes on.
        every: Seconds between ticks.
    """
    crew = _Crew(iter(tasks), width)
    crew.grow()
    try:
        for (
            thread
        ) in crew.threads:  # grows while we go through it: each thread starts the next before its own work
            thread.join(every)
            while thread.is_alive():
                tick()
                thread.join(every)
    except BaseException as error:
        crew.errors.append(error)
        raise
    if crew.errors:
        raise crew.errors[0]


class _Crew:
    def __init__(self, tasks: Iterator[Task], width: int) -> None:
        self.tasks, self.width = tasks, width
        self.errors: list[BaseException] = []
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()

    def grow(self) -> None:
        """One thread more; it brings the next as soon as there is a task for it, so few tasks need few threads."""
        thread = threading.Thread(target=self._run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _run(self) -> None:
        try:
            task = self._next(first=True)
            while task is not None:
                task()
                task = self._next()
        except BaseException as error:  # noqa: BLE001 -- raised again by `work`, on the caller's thread
            self.errors.append(error)

    def _next(self, *, first: bool = False) -> Task | None:
        with self.lock:
            task = None if self.errors else next(self.tasks, None)
            if first and task is not None and len(self.threads) < self.width:
                self.grow()
            return task
