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
        width: How many threads at most; with 1 all is done by the caller's own thread.
        tick: Called on the caller's thread every `every` seconds while the work goes on.
        every: Seconds between ticks.
    """
    crew = _Crew(iter(tasks))
    if width <= 1:
        crew.run()
    else:
        threads = [threading.Thread(target=crew.run, daemon=True) for _ in range(width)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
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
    def __init__(self, tasks: Iterator[Task]) -> None:
        self.tasks = tasks
        self.errors: list[BaseException] = []
        self.lock = threading.Lock()

    def run(self) -> None:
        try:
            while (task := self._next()) is not None:
                task()
        except BaseException as error:  # noqa: BLE001 -- raised again by `work`, on the caller's thread
            self.errors.append(error)

    def _next(self) -> Task | None:
        with self.lock:
            return None if self.errors else next(self.tasks, None)
