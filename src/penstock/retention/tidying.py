"""``python -m penstock.retention.tidying ASKED``: has cached inputs and environments of this machine go.

By this machine's own settings. What is asked and told is JSON, also where one machine has it done on another:

    inputs, environments    whether they are meant (false)
    older_than              milliseconds since the last use, in the place of what the settings say
    dry_run                 only tell what would go (false)

What is told: `inputs` and `environments`, each with name, of, used_at and bytes; and `bytes`, what that frees.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from penstock.clock import now
from penstock.config import Settings
from penstock.home import Home
from penstock.retention import files
from penstock.retention.files import Shelf
from penstock.retention.policy import Policy, Rule, choose, frees


def tidy(settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Have go, or with `dry_run` tell, what is kept no longer. Nothing that a run uses."""
    told: dict[str, Any] = {"inputs": [], "environments": [], "bytes": 0}
    age = asked.get("older_than")
    for shelf, rule in _shelves(settings, asked):
        items = shelf.items(shelf.folder, True)
        # Who says an age means no size.
        going = choose(items, rule if age is None else replace(rule, age_ms=age, most=None), now())
        if not asked.get("dry_run"):
            going = shelf.remove(shelf.folder, going)
        told[shelf.kind] = [
            {"name": one.name, "of": one.label, "used_at": one.used_at, "bytes": sum(one.files.values())}
            for one in going
        ]
        told["bytes"] += frees(going, items)
    return told


def _shelves(settings: Settings, asked: Mapping[str, Any]) -> Iterator[tuple[Shelf, Rule]]:
    policy = Policy.of(settings)
    if asked.get("inputs"):
        yield files.inputs(Home(settings.home).cache), policy.inputs
    if asked.get("environments"):
        yield files.environments(settings.environments), policy.environments


if __name__ == "__main__":
    json.dump(tidy(Settings.read(), json.loads(sys.argv[1])), sys.stdout)
