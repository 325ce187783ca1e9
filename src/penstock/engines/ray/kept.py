"""What the engine keeps on disk, since Ray must not be asked for it: which run is to be started, and on which node.

A folder for each job, with a file for each of its runs, of what its runner is to be told, and one for all seats.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from penstock.engines.ray.nodes import Seat
from penstock.job.life import from_key
from penstock.job.run import Run


class Kept:
    """In one folder; of jobs by their uids, of runs by their handles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def seats(self, job_uid: str) -> list[Seat]:
        """Where a job's instances are; none when it has no room."""
        try:
            return [Seat(**one) for one in json.loads((self._folder / job_uid / "seats").read_text())]
        except (FileNotFoundError, ValueError):
            return []

    def seat(self, handle: str) -> Seat | None:
        """Where the instance of a run is that is kept."""
        job_uid, _, host = handle.partition("/")
        seats = self.seats(job_uid)
        return seats[index(host)] if self.has(handle) and index(host) < len(seats) else None

    def keep_seats(self, job_uid: str, seats: Sequence[Seat]) -> None:
        """A job has got room."""
        self._write(self._folder / job_uid / "seats", json.dumps([asdict(seat) for seat in seats]))

    def keep(self, run: Run) -> None:
        """What a runner is to be told."""
        self._write(self._folder / run.handle, run.to_json())

    def run(self, handle: str) -> Run:
        """The same.

        Raises:
            FileNotFoundError: It is not kept.
        """
        return Run.from_json((self._folder / handle).read_text())

    def has(self, handle: str) -> bool:
        """Whether it is kept."""
        return (self._folder / handle).exists()

    def handles(self) -> set[str]:
        """All runs."""
        return {f"{path.parent.name}/{path.name}" for path in self._folder.glob("*/algo-*")}

    def jobs(self) -> set[str]:
        """All jobs that have room, or runs."""
        return {path.name for path in self._folder.glob("*")}

    def forget(self, handle: str) -> bool:
        """Remove a run; whether it was the job's last."""
        path = self._folder / handle
        path.unlink(missing_ok=True)
        return not any(path.parent.glob("algo-*"))

    def forget_job(self, job_uid: str) -> None:
        """Remove all of a job."""
        shutil.rmtree(self._folder / job_uid, ignore_errors=True)

    def _write(self, path: Path, text: str) -> None:
        """A file of our own, with a run's token perhaps; whole or not at all."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.parent / f".{path.name}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def index(key: str) -> int:
    """Which of a job's instances a run is for, from 0."""
    return int(from_key(key)[0].rpartition("-")[2]) - 1
