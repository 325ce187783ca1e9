"""The thread of the server that has things go when their time has come, and makes room when the disk is nearly full.

It works in small batches and rests after each, three times as long as it took: requests keep the processor and the
database. By the rules all kinds go when they are old, or too much. Below the floor of the disk, what can be had again
goes before its time: cached inputs, and environments that have not been used for a day; what is kept for ever stays.
Records and logs, which can't be had again, go by their age alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from penstock import disk, units
from penstock.retention import files
from penstock.retention.policy import DAY_MS, Item, Policy, Rule
from penstock.retention.records import Limits, Place, Records

_log = logging.getLogger(__name__)

#: How often the disk is looked at.
LOOK_SECONDS = 5.0
#: How often the rules are applied, at least; more often where something is kept for less than ten times as long.
PASS_SECONDS = 3600.0
#: How many items of a folder are removed before a rest.
BATCH = 4
_REST, _LONGEST_REST = 3, 2.0
#: Room is made until a quarter more than the floor is there, so that the next job does not find it below again.
_AMPLE = 4
#: For so long it holds that there is room: what is written in it is far less than the floor, and a flood of new jobs
#: need not ask the kernel for each, which is a switch to another thread.
_AMPLE_SECONDS = 0.02


class Keeper:
    """Applies a policy to a home."""

    def __init__(
        self,
        policy: Policy,
        records: Records,
        home: Path,
        shelves: tuple[files.Shelf, files.Shelf],
        clock: Callable[[], int],
        free: Callable[[Path], int] = disk.free,
        elsewhere: Callable[[], object] = lambda: None,
    ) -> None:
        """Look after one home.

        Args:
            policy: The rules.
            records: Ended jobs and their logs.
            home: The home's folder.
            shelves: The inputs and the environments.
            clock: The time, in milliseconds since the epoch.
            free: How many bytes the disk of a folder has left.
            elsewhere: Has other machines apply rules of their own.
        """
        self._policy = policy
        self._records = records
        self._home = home
        inputs, environments = shelves
        self._shelves = ((inputs, policy.inputs, 0), (environments, policy.environments, DAY_MS))
        self._clock = clock
        self._free = free
        self._elsewhere = elsewhere
        self._told = False
        self._next_pass = 0.0
        self._ample_until = 0.0
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if not self._ending.is_set():
            self._thread.start()

    def close(self) -> None:
        """End after the batch under way."""
        self._ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def lacking(self) -> str | None:
        """Why no new job is taken: the disk is below its floor, and what to do. None: there is room."""
        left = self._short()
        if left is None:
            return None
        return (
            f"The disk that Penstock's home lies on is full: {units.size(left)} are left at {self._home}, and new "
            f"jobs are taken from {units.size(self._policy.floor)} on (PENSTOCK_DISK_FLOOR). Free some space on it; "
            "`penstock prune --older-than 7d --dry-run` shows what could go."
        )

    def hindrance(self) -> str | None:
        """Why no job that waits is begun meanwhile, as a sentence without its subject and its full stop."""
        left = self._short()
        if left is None:
            return None
        floor = units.size(self._policy.floor)
        return f"needs {floor} of free disk (PENSTOCK_DISK_FLOOR), and {units.size(left)} are left at {self._home}"

    def _short(self) -> int | None:
        """How many bytes are left of a disk that is below its floor."""
        now = time.monotonic()
        if now < self._ample_until:
            return None
        left = self._free(self._home)
        if left >= self._policy.floor:
            self._ample_until = now + _AMPLE_SECONDS
            return None
        if not self._told:  # else room is being made, and the disk is looked at every few seconds
            self._wake.set()
        return left

    def _loop(self) -> None:
        for _ in self._guarded("Logs of which nobody knows", self._records.remove_strays):
            pass
        while not self._ending.is_set():
            self._wake.clear()
            if self._free(self._home) < self._policy.floor:
                self.relieve()
            elif self._told:
                self._told = False
                _log.info("The disk of %s has room again: jobs are taken and begun", self._home)
            if time.monotonic() >= self._next_pass:
                self.apply()
                self._next_pass = time.monotonic() + _interval(self._policy)
            self._wake.wait(min(LOOK_SECONDS, max(0.0, self._next_pass - time.monotonic())))

    def apply(self) -> None:
        """Have go what the rules say."""
        for _ in self._guarded("Ended jobs and logs", self._apply_to_records):
            pass
        for shelf, rule, _ in self._shelves:
            for _ in self._guarded(f"The {shelf.kind}", partial(self._apply_to, shelf, rule)):
                pass
        for _ in self._guarded("What other machines keep", self._apply_elsewhere):
            pass

    def relieve(self) -> None:
        """Make room on the home's disk, by what can be had again."""
        enough = self._policy.floor + self._policy.floor // _AMPLE
        if not self._told:
            self._told = True
            left = units.size(self._free(self._home))
            _log.warning("The disk of %s has %s left: no job is taken or begun", self._home, left)
            self._next_pass = 0.0  # what is due by its age is due now
        for shelf, rule, fresh in self._shelves:
            if rule.age_ms is None or not disk.same(shelf.folder, self._home):
                continue
            going = Rule(fresh)
            for _ in self._guarded(f"The {shelf.kind}", partial(self._apply_to, shelf, going, enough)):
                pass

    def _apply_elsewhere(self) -> Iterator[None]:
        self._elsewhere()
        yield

    def _apply_to_records(self) -> Iterator[None]:
        now = self._clock()
        logs = self._policy.logs
        limits = Limits(self._policy.jobs.before(now), logs.before(now), logs.most)
        place: Place | None = None
        while True:
            gone, place = self._records.step(limits, place, now)
            if gone:
                self._records.give_back()
                jobs = sum(one.kind == "job" for one in gone)
                _log.info("Removed %d ended job(s), and the logs of %d other(s)", jobs, len(gone) - jobs)
            if place is None:
                break
            yield
        self._records.tidy(now)

    def _apply_to(self, shelf: files.Shelf, rule: Rule, until: int | None = None) -> Iterator[None]:
        """Remove what goes; with `until` only as long as the home's disk has less than so many bytes left."""
        going = shelf.going(rule, self._clock())
        batch = BATCH if until is None else 1
        for first in range(0, len(going), batch):
            if until is not None and self._free(self._home) >= until:
                return
            for one in shelf.remove(shelf.folder, going[first : first + batch]):
                _log.info("Removed from the %s: %s", shelf.kind, _named(one))
            yield

    def _guarded(self, what: str, work: Callable[[], Iterator[None]]) -> Iterator[None]:
        """Do `work` batch by batch with rests, until the server ends; its trouble is told and harms nothing else."""
        batches = work()
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                next(batches)
            except StopIteration:
                return
            except Exception:  # noqa: BLE001 - the thread must outlive whatever one kind meets
                _log.exception("%s can't be cleared up; it is tried again", what)
                return
            yield
            self._ending.wait(min(_REST * (time.monotonic() - began), _LONGEST_REST))


def _named(item: Item) -> str:
    return f"{item.name} ({item.label})" if item.label else item.name


def _interval(policy: Policy) -> float:
    """Seconds between two passes."""
    rules = (policy.jobs, policy.logs, policy.inputs, policy.environments)
    ages = [rule.age_ms / 1000 for rule in rules if rule.age_ms is not None]
    return max(1.0, min([PASS_SECONDS, *(age / 10 for age in ages)]))
