"""cache ls, prune, verify: the inputs that were downloaded and are kept for later jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from penstock import units
from penstock.amounts import read_bytes
from penstock.cli import show
from penstock.config import Settings
from penstock.home import Home

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(help="Inputs that are kept for later jobs: list, remove, verify.", no_args_is_help=True)


@app.command("ls")
def ls(json: Json = False) -> None:
    """List the inputs that are kept, the one used last first."""
    from penstock.data import pruning  # noqa: PLC0415 - what it loads comes with the server

    settings = Settings.read()
    folder = Home(settings.home).cache
    kept, used = pruning.listing(folder), pruning.room(folder)
    if json:
        inputs = [
            {
                "uri": one.about.uri,
                "objects": one.about.objects,
                "bytes": one.about.bytes,
                "used_at": datetime.fromtimestamp(one.used_at, UTC),
                "in_use": one.in_use,
            }
            for one in kept
        ]
        show.as_json({"inputs": inputs, "bytes": used, "limit": settings.cache_bytes})
        return
    rows = [
        (
            str(one.about.objects),
            units.size(one.about.bytes),
            show.lately(int(one.used_at * 1000)),
            "yes" if one.in_use else "",
            one.about.uri,
        )
        for one in kept
    ]
    if rows:
        show.table(("OBJECTS", "SIZE", "LAST USED", "IN USE", "INPUT"), rows)
    show.note(f"{units.size(used)} of {units.size(settings.cache_bytes)} (PENSTOCK_CACHE_BYTES) in {folder}")


@app.command("prune")
def prune(
    to: Annotated[str, typer.Option("--to", help="Bytes that may be left, such as 500M or 2G.")] = "0",
    json: Json = False,
) -> None:
    """Remove what was used least recently; what running jobs use stays."""
    from penstock.data import pruning  # noqa: PLC0415 - what it loads comes with the server

    folder = Home(Settings.read().home).cache
    left = pruning.prune(folder, read_bytes(to))
    if json:
        show.as_json({"bytes": left})
    else:
        show.note(f"{units.size(left)} are left in {folder}.")


@app.command("verify")
def verify(json: Json = False) -> None:
    """Read all that is kept, and remove what is not as it was downloaded; the exit code is 1 if there was any."""
    from penstock.data import pruning  # noqa: PLC0415 - what it loads comes with the server

    verdict = pruning.verify(Home(Settings.read().home).cache)
    if json:
        show.as_json(vars(verdict))
    else:
        show.note(
            f"{units.count(verdict.objects, 'object')} verified, {len(verdict.damaged)} damaged and removed."
        )
        if verdict.trees_in_use:
            damaged = units.count(verdict.trees_in_use, "damaged input")
            show.note(f"In use by running jobs: {damaged}. Run those jobs again.")
    if verdict.damaged or verdict.trees_removed or verdict.trees_in_use:
        raise typer.Exit(1)
