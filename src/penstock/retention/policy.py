"""The rules: how long things are kept once nobody uses them, and how much. No I/O but `Policy.of`'s one look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from penstock import disk
from penstock.config import Settings

DAY_MS = 86_400_000

#: The floor where none is set: so many bytes, or this part of a disk where that is less.
_FLOOR, _PART = 1 << 30, 100


@dataclass(frozen=True)
class Rule:
    """How long and how much of one kind is kept."""

    age_ms: int | None
    """Since the end of a job, or the last use; None: for ever."""
    most: int | None = None
    """Bytes; None: however many."""

    def before(self, now: int) -> int | None:
        """What was used last before this time goes; None: nothing, for its age."""
        return None if self.age_ms is None else now - self.age_ms


@dataclass(frozen=True)
class Policy:
    """All rules of one server."""

    jobs: Rule
    logs: Rule
    inputs: Rule
    environments: Rule
    floor: int
    """Bytes that the home's disk is to have left; new jobs are refused below it."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say; the floor may depend on the size of the disk."""
        floor = settings.disk_floor
        return cls(
            jobs=Rule(settings.keep_jobs),
            logs=Rule(settings.keep_logs, settings.logs_bytes),
            inputs=Rule(settings.keep_inputs, settings.cache_bytes),
            environments=Rule(settings.keep_environments, settings.environments_bytes),
            floor=min(_FLOOR, disk.size(settings.home) // _PART) if floor is None else floor,
        )


@dataclass(frozen=True)
class Item:
    """One thing that may go."""

    name: str
    used_at: int
    """Milliseconds since the epoch."""
    in_use: bool
    files: Mapping[Hashable, int]
    """What it consists of -> bytes. Several may share a file, which is there as long as one of them is."""
    label: str = ""
    """What people know it by."""


def choose(items: Iterable[Item], rule: Rule, now: int) -> list[Item]:
    """What goes, the one used longest ago first: what is too old, then as much as is more than there may be.

    Never what is in use.
    """
    items = sorted(items, key=lambda item: item.used_at)
    before = rule.before(now)
    holders = Counter(file for item in items for file in item.files)
    left = bytes_of(items)
    going = []
    for item in items:
        old = before is not None and item.used_at < before
        much = rule.most is not None and left > rule.most
        if item.in_use or not (old or much):
            continue
        holders.subtract(item.files.keys())
        left -= sum(size for file, size in item.files.items() if holders[file] == 0)
        going.append(item)
    return going


def frees(going: Sequence[Item], items: Sequence[Item]) -> int:
    """How many bytes are free when those of `items` are gone that are `going`."""
    gone = {item.name for item in going}
    return bytes_of(items) - bytes_of([item for item in items if item.name not in gone])


def bytes_of(items: Iterable[Item]) -> int:
    """How many bytes all of them take."""
    return sum({file: size for item in items for file, size in item.files.items()}.values())
