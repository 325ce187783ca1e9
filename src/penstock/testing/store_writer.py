"""A writer that is there to be killed: ``python -m penstock.testing.store_writer HOW``, the address on its stdin.

It tells each job on stdout when it is on record, that is, when a client would have been answered.
"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
from collections.abc import Iterator, Mapping

from penstock.job.life import Phase
from penstock.testing.stores import new_job, open_store


class _Pausing(Mapping[str, str]):
    """Tags amid which the writer waits for its end: the job before them is written, and nothing is on record."""

    def __getitem__(self, key: str) -> str:
        return "v"

    def __iter__(self) -> Iterator[str]:
        yield "first"
        print("within", flush=True)  # noqa: T201 - what it is for
        signal.pause()

    def __len__(self) -> int:
        return 2


def main(how: str, address: str) -> None:
    """Write until killed: `many` jobs from several threads, or one and pause `within` its transaction."""
    store = open_store(address)
    if how == "within":
        store.add_jobs([(new_job("before"), {"first": "v"}), (new_job("within"), _Pausing())])

    def write(number: int) -> None:
        for n in itertools.count():
            names = [f"w{number}-{n}-{i}" for i in range(3)]
            store.add_jobs(
                [(new_job(name, phase=Phase.COMPLETED), {"first": name, "second": name}) for name in names]
            )
            sys.stdout.write("".join(f"{name}\n" for name in names))
            sys.stdout.flush()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.readline().strip())
