"""prune: what has become old or too much goes at once, or is only shown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock import units
from penstock.amounts import read_seconds
from penstock.cli import show
from penstock.client import local_server, record
from penstock.clock import now
from penstock.config import Settings
from penstock.home import Home

if TYPE_CHECKING:
    from penstock.retention.files import Shelf
    from penstock.retention.policy import Rule

#: So many of each kind are shown; `--json` has all.
_SHOWN = 20
#: Kind -> what several are called.
_KINDS = {
    "jobs": "ended job(s)",
    "logs": "log(s)",
    "inputs": "cached input(s)",
    "environments": "environment(s)",
}


def prune(
    jobs: Annotated[bool, typer.Option("--jobs", help="Records of ended jobs, with their logs.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Logs of ended jobs.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Downloaded inputs.")] = False,
    environments: Annotated[bool, typer.Option("--environments", help="Environments.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="What ended or was used last before so long, such as 30d or 12h, in the place of what the "
            "settings say. Records of jobs go by it only with --jobs."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove what is kept no longer: ended jobs, logs, inputs, environments; all kinds, or those named.

    Nothing goes that a job needs which waits or runs. The server does the same by itself, now and then.
    """
    every = not (jobs or logs or cache or environments)
    age = None if older_than is None else read_seconds(older_than) * 1000
    gone: dict[str, list[dict[str, Any]]] = defaultdict(list)
    freed = 0
    if every or jobs or logs:
        asked = {"jobs": jobs or (every and age is None), "logs": every or logs, "older_than": age}
        for one in record.prune(local_server.ensure(), {**asked, "dry_run": dry_run}):
            gone[f"{one.pop('kind')}s"].append(one)
            freed += one["bytes"]
    for shelf, rule in _shelves(cache=every or cache, environments=every or environments):
        wanted = rule if age is None else replace(rule, age_ms=age, most=None)
        gone[shelf.kind], size = _prune(shelf, wanted, dry_run=dry_run)
        freed += size
    if json:
        show.as_json({"dry_run": dry_run, **{kind: gone[kind] for kind in _KINDS}, "bytes": freed})
    else:
        _show(gone, freed, dry_run=dry_run)


def _shelves(*, cache: bool, environments: bool) -> list[tuple[Shelf, Rule]]:
    from penstock.retention import files  # noqa: PLC0415 - not for --help
    from penstock.retention.policy import Policy  # noqa: PLC0415

    settings = Settings.read()
    policy = Policy.of(settings)
    found = []
    if cache:
        found.append((files.inputs(Home(settings.home).cache), policy.inputs))
    if environments:
        found.append((files.environments(settings.environments), policy.environments))
    return found


def _prune(shelf: Shelf, rule: Rule, *, dry_run: bool) -> tuple[list[dict[str, Any]], int]:
    """What went, or would, and the bytes that it has freed."""
    from penstock.retention.policy import choose, frees  # noqa: PLC0415 - as above

    items = shelf.items(shelf.folder, True)
    going = choose(items, rule, now())
    if not dry_run:
        going = shelf.remove(shelf.folder, going)
    told = [
        {"name": one.name, "of": one.label, "used_at": one.used_at, "bytes": sum(one.files.values())}
        for one in going
    ]
    return told, frees(going, items)


def _show(gone: dict[str, list[dict[str, Any]]], freed: int, *, dry_run: bool) -> None:
    rows = []
    for kind in _KINDS:
        for one in gone[kind][:_SHOWN]:
            at = one.get("ended_at") or one.get("used_at")
            name = " ".join(filter(None, (one["name"], one.get("of"))))
            rows.append((kind, show.lately(at) if at else "-", units.size(one["bytes"]), name))
    if rows and dry_run:
        show.table(("KIND", "LAST USED", "SIZE", "NAME"), rows)
    for kind, many in _KINDS.items():
        if dry_run and len(gone[kind]) > _SHOWN:
            show.note(f"{len(gone[kind]) - _SHOWN} more {many}; --json prints all.")
    counts = ", ".join(f"{len(gone[kind])} {many}" for kind, many in _KINDS.items() if gone[kind])
    if not counts:
        show.note("Nothing is old enough, or too much, to go.")
    elif dry_run:
        show.note(f"{counts} would go, and free {units.size(freed)}.")
    else:
        show.note(f"{counts} removed; {units.size(freed)} are free again.")
