"""Inputs and environments that are kept in folders, as items of the policy; and how they are removed.

Whether one is in use is asked of the kernel, when it is listed and again, by a lock, when it is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.data import pruning
from penstock.environments import inventory
from penstock.retention.policy import Item, Rule, choose


@dataclass(frozen=True)
class Shelf:
    """One kind of things that are kept in a folder."""

    kind: str
    folder: Path
    items: Callable[[Path, bool], list[Item]]
    """All there are; with True by their files, which takes long, else by the sizes that are written down."""
    remove: Callable[[Path, Sequence[Item]], list[Item]]
    """Removes some and tells which: not those that are in use by now."""

    def going(self, rule: Rule, now: int) -> list[Item]:
        """What goes by `rule`; files are looked at only when sizes matter."""
        items = self.items(self.folder, False)
        if rule.most is not None and sum(sum(item.files.values()) for item in items) > rule.most:
            items = self.items(self.folder, True)
        return choose(items, rule, now)


def inputs(folder: Path) -> Shelf:
    """The node's cache of inputs in `folder`."""
    return Shelf("inputs", folder, _inputs, _remove_inputs)


def environments(folder: Path) -> Shelf:
    """The environments in `folder`."""
    return Shelf("environments", folder, _environments, _remove_environments)


def _inputs(folder: Path, exact: bool) -> list[Item]:
    return [
        Item(
            name=kept.digest,
            used_at=int(kept.used_at * 1000),
            in_use=kept.in_use,
            files=pruning.contents(folder, kept.digest) if exact else {kept.digest: kept.about.bytes},
            label=kept.about.uri,
        )
        for kept in pruning.listing(folder)
    ]


def _remove_inputs(folder: Path, items: Sequence[Item]) -> list[Item]:
    removed = pruning.discard(folder, [item.name for item in items])
    return [item for item in items if item.name in removed]


def _environments(folder: Path, exact: bool) -> list[Item]:
    return [
        Item(
            name=kept.environment.digest,
            used_at=int(kept.used_at * 1000),
            in_use=kept.in_use,
            files=inventory.files_of(folder / kept.environment.digest)
            if exact
            else {kept.environment.digest: kept.bytes},
            label=kept.environment.name,
        )
        for kept in inventory.listing(folder)
    ]


def _remove_environments(folder: Path, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if inventory.remove(folder, item.name)]
