"""prune: what has become old or too much goes at once, or is only shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from penstock import units
from penstock.amounts import read_seconds
from penstock.cli import show
from penstock.client import local_server, record
from penstock.config import Settings
from penstock.home import Home

#: So many of each kind are shown; `--json` has all.
_SHOWN = 20
#: Kind -> what one is called.
_KINDS = {
    "jobs": "ended job",
    "logs": "log",
    "inputs": "cached input",
    "environments": "environment",
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

    Nothing goes that a job needs which waits or runs. The server does the same by itself, now and then. On the nodes of
    a cluster inputs and environments go with those of this machine, where its server runs.
    """
    every = not (jobs or logs or cache or environments)
    age = None if older_than is None else read_seconds(older_than) * 1000
    gone: dict[str, list[dict[str, Any]]] = defaultdict(list)
    nodes: dict[str, dict[str, Any]] = {}
    freed = 0
    if every or jobs or logs:
        asked = {"jobs": jobs or (every and age is None), "logs": every or logs, "older_than": age}
        for one in record.prune(local_server.ensure(), {**asked, "dry_run": dry_run}):
            gone[f"{one.pop('kind')}s"].append(one)
            freed += one["bytes"]
    if every or cache or environments:
        from penstock.retention.tidying import tidy  # noqa: PLC0415 - not for --help

        settings = Settings.read()
        wanted = {
            "inputs": every or cache,
            "environments": every or environments,
            "older_than": age,
            "dry_run": dry_run,
        }
        told = tidy(settings, wanted)
        gone.update(inputs=told["inputs"], environments=told["environments"])
        freed += told["bytes"]
        home = Home(settings.home)
        running = home.server()
        nodes = record.prune_nodes(local_server.address(home, running), wanted) if running else {}
    if json:
        kinds = {kind: gone[kind] for kind in _KINDS}
        show.as_json({"dry_run": dry_run, **kinds, "bytes": freed, "nodes": nodes})
    else:
        _show(gone, freed, dry_run=dry_run)
        for address, one in nodes.items():
            show.note(f"On {address}: {_told(one, dry_run=dry_run)}")


def _show(gone: dict[str, list[dict[str, Any]]], freed: int, *, dry_run: bool) -> None:
    rows = []
    for kind in _KINDS:
        for one in gone[kind][:_SHOWN]:
            at = one.get("ended_at") or one.get("used_at")
            name = " ".join(filter(None, (one["name"], one.get("of"))))
            rows.append((kind, show.lately(at) if at else "-", units.size(one["bytes"]), name))
    if rows and dry_run:
        show.table(("KIND", "LAST USED", "SIZE", "NAME"), rows)
    for kind, word in _KINDS.items():
        if dry_run and len(gone[kind]) > _SHOWN:
            show.note(f"{units.count(len(gone[kind]) - _SHOWN, f'more {word}')}; --json prints all.")
    show.note(_told({**gone, "bytes": freed}, dry_run=dry_run))


def _told(gone: Mapping[str, Any], *, dry_run: bool) -> str:
    """What goes on one machine, in a sentence."""
    if "failed" in gone:
        return f"nothing is known: {gone['failed']}"
    counts = ", ".join(units.count(len(gone[kind]), word) for kind, word in _KINDS.items() if gone.get(kind))
    if not counts:
        return "Nothing is old enough, or too much, to go."
    if dry_run:
        return f"{counts} would go, and free {units.size(gone['bytes'])}."
    return f"{counts} removed; {units.size(gone['bytes'])} are free again."
