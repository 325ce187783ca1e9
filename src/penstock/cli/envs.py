"""envs ls, show, build, rm, prune: the environments that stand in for images."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock import units
from penstock.amounts import read_bytes, read_seconds
from penstock.cli import show
from penstock.clock import now
from penstock.config import Settings
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.environments import Environment
    from penstock.environments.inventory import Kept

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Digest = Annotated[str, typer.Argument(help="The environment's ID, or how it begins.")]

app = typer.Typer(help="Environments: list, show, build ahead, remove.", no_args_is_help=True)


@app.command("ls")
def ls(json: Json = False) -> None:
    """List the environments that are kept, the one used last first."""
    from penstock.environments.inventory import listing  # noqa: PLC0415 - not for --help

    folder = Settings.read().environments
    kept = listing(folder)
    if json:
        show.as_json({"environments": [_told(one) for one in kept], "folder": str(folder)})
        return
    rows = [
        (
            one.environment.digest,
            one.environment.name or "-",
            one.environment.python,
            str(len(one.environment.packages)),
            units.size(one.bytes),
            show.lately(int(one.used_at * 1000)),
            _notes(one),
        )
        for one in kept
    ]
    if rows:
        show.table(("ID", "IMAGE", "PYTHON", "PACKAGES", "SIZE", "LAST USED", "NOTES"), rows)
    else:
        show.note(f"There are no environments in {folder}. Build one: penstock envs build sklearn==1.2-1")


@app.command("show")
def details(
    digest: Digest,
    lock: Annotated[
        bool,
        typer.Option("--lock", help="Print its lock: exact versions with hashes, as a requirements file."),
    ] = False,
    json: Json = False,
) -> None:
    """Show what an environment consists of, and how it differs from its image."""
    from penstock.environments.inventory import find  # noqa: PLC0415 - not for --help

    kept = find(Settings.read().environments, digest)
    if lock:
        print(kept.environment.lock_text, end="")
    elif json:
        show.as_json(_told(kept))
    else:
        _show(kept.environment)


@app.command("build")
def build(
    image: Annotated[
        str | None, typer.Argument(help="A framework with its version, as sklearn==1.2-1, or an image's URI.")
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option("--requirements", "-r", help="A requirements file to install on top.")
    ] = None,
    lock: Annotated[
        Path | None, typer.Option("--lock", help="A lock, in the place of all else: made again as it says.")
    ] = None,
    json: Json = False,
) -> None:
    """Build an environment ahead of the jobs that will need it."""
    from penstock.environments import Uses, add_requirements, prepare, prepare_exact  # noqa: PLC0415
    from penstock.job.lock import EnvironmentLock, decoded  # noqa: PLC0415

    if (lock is None) == (image is None) or (lock and requirements):
        raise PenstockError("Give a framework or an image, with or without --requirements; or --lock alone.")
    for given in (requirements, lock):
        if given is not None and not given.is_file():
            raise PenstockError(f"The file {given} does not exist.")
    settings = Settings.read()
    folder = settings.environments
    common: dict[str, Any] = {"progress": show.note, "who": "penstock envs build"}
    with Uses() as uses:
        if lock is not None:
            wanted = EnvironmentLock.read(decoded(lock.read_bytes()))
            environment = prepare_exact(wanted, folder, strict=settings.strict_versions, uses=uses, **common)
        else:
            uri = _uri(str(image))
            environment = prepare(uri, folder, strict=settings.strict_versions, uses=uses, **common)
        if requirements is not None:
            environment = add_requirements(environment, requirements, folder, uses=uses, **common)
    if json:
        show.as_json(environment.record())
    else:
        _show(environment)


@app.command("rm")
def rm(
    digests: Annotated[list[str], typer.Argument(help="IDs, or how they begin.", metavar="ID...")],
    json: Json = False,
) -> None:
    """Remove environments. One that a running job uses stays, and the exit code is 1."""
    from penstock.environments.inventory import find, remove  # noqa: PLC0415 - not for --help

    folder = Settings.read().environments
    found = [find(folder, one).environment for one in digests]
    kept = [one for one in found if not remove(folder, one.digest)]
    for one in kept:
        show.fail(f"{one.digest} ({one.name or 'no name'}) is in use by a running job.")
    if json:
        show.as_json({"removed": [one.digest for one in found if one not in kept]})
    else:
        show.note(f"{units.count(len(found) - len(kept), 'environment')} removed.")
    if kept:
        raise typer.Exit(1)


@app.command("prune")
def prune(
    unused_for: Annotated[
        str | None, typer.Option(help="Only what no job has used for so long, such as 30d or 12h.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Only until so many bytes are left, such as 500M or 20G.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove environments that no running job uses: all of them, or by age and size, the one used longest ago first."""
    from penstock.environments import inventory  # noqa: PLC0415 - not for --help

    since = None if unused_for is None else now() / 1000 - read_seconds(unused_for)
    most = None if to is None else read_bytes(to)
    folder = Settings.read().environments
    removed, left = inventory.prune(folder, unused_since=since, most=most)
    if json:
        show.as_json({"removed": [one.environment.digest for one in removed], "bytes": left})
        return
    for one in removed:
        show.note(f"removed {one.environment.digest} {one.environment.name}")
    show.note(f"{len(removed)} removed; {units.size(left)} are left in {folder}.")


def _notes(kept: Kept) -> str:
    """What there is to say of one in a list; `envs show` has the rest."""
    environment = kept.environment
    notes = {
        "in use": kept.in_use,
        "with requirements": bool(environment.requirements),
        f"{units.count(len(environment.deviations), 'deviation')} from its image": bool(
            environment.deviations
        ),
    }
    return ", ".join(note for note, said in notes.items() if said)


def _told(kept: Kept) -> dict[str, Any]:
    return {
        **kept.environment.record(),
        "bytes": kept.bytes,
        "used_at": datetime.fromtimestamp(kept.used_at, UTC),
        "in_use": kept.in_use,
    }


def _show(environment: Environment) -> None:
    about = asdict(environment)
    names = {"digest": "ID", "name": "image"}  # as `envs ls` calls them
    shown = (*names, "python", "interpreter", "prefix", "requirements")
    show.facts([(names.get(name, name), str(about[name])) for name in shown if about[name]])
    for text in (*environment.deviations, *environment.notes):
        show.out.print(f"  note: {text}", markup=False)
    show.out.print()
    show.table(("PACKAGE", "VERSION"), list(environment.packages.items()))


def _uri(text: str) -> str:
    """`sklearn==1.2-1` or an image's URI -> the URI."""
    from penstock.images.uris import parse_framework  # noqa: PLC0415

    return text if "==" not in text and (":" in text or "/" in text) else parse_framework(text)
