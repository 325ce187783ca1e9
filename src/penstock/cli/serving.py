"""serve, up, down, status, env, doctor, python: the server and what surrounds it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from penstock import units
from penstock.cli import show
from penstock.client import alias, local_server
from penstock.config import Settings, home_folder
from penstock.errors import PenstockError
from penstock.home import Home, ServerRecord

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_SHOWN = ("endpoint", "s3_endpoint", "store", "bucket", "buckets elsewhere", "active_jobs")

#: The exit code of `status` when no server runs, as init systems have it.
NOT_RUNNING = 3
_END_SECONDS = 30.0


def serve(
    engine: Annotated[
        str | None,
        typer.Option(help="Where jobs run: `local`, `ray` or `local,ray` (PENSTOCK_ENGINE).", metavar="NAME"),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster's (PENSTOCK_RAY_ADDRESS).", metavar="ADDRESS")
    ] = None,
) -> None:
    """Run the server in the foreground; Ctrl-C ends it."""
    for name, value in (("PENSTOCK_ENGINE", engine), ("PENSTOCK_RAY_ADDRESS", ray_address)):
        if value is not None:
            os.environ[name] = value
    from penstock import server  # noqa: PLC0415 - the server's imports are for the server

    server.main()


def up(json: Json = False) -> None:
    """Start the server in the background, if it does not run already."""
    began = time.monotonic()
    settings = Settings.read()
    home = Home(settings.home)
    record = home.server()
    found = record is not None
    address = local_server.ensure()
    record = record or home.server()
    if json:
        show.as_json(_status(record))
        return
    took = f"{time.monotonic() - began:.1f} s"
    show.note(f"Penstock {'runs already' if found else f'is up after {took}'}.")
    show.out.print(f"API  {address.endpoint}")
    where = (record and record.s3_endpoint) or "AWS"
    show.out.print(f"S3   {where}  (default bucket s3://{address.bucket})")
    show.note('Next: eval "$(penstock env)" for AWS clients, `penstock run --help`, `penstock status`')


def down() -> None:
    """Stop the server. Jobs under way go on and report when it is up again."""
    home = Home(home_folder())
    record = home.server()
    if record is None:
        show.note(f"No server runs for {home.path}.")
        return
    _, status = local_server.get(record, "/penstock/status", timeout=5)
    # The lock is held, so the process of that number is the server and no other.
    os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_SECONDS
    while home.held():
        if time.monotonic() > deadline:
            show.fail(f"The server (process {record.pid}) has not ended within {_END_SECONDS:.0f} s.")
            raise typer.Exit(1)
        time.sleep(0.02)
    show.note("Penstock is down.")
    if isinstance(active := status.get("active_jobs"), int) and active:
        show.note(f"Going on without it, to report when it is up again: {units.count(active, 'job')}.")


def status(json: Json = False) -> None:
    """Tell whether the server runs, and where."""
    home = home_folder()
    record = Home(home).server()
    if json:
        show.as_json(_status(record) if record else {"running": False, "home": str(home)})
    elif record is None:
        show.note(f"No server runs for {home}. Start one with `penstock up`.")
    else:
        told = _status(record)
        told["buckets elsewhere"] = ", ".join(
            f"{bucket} ({endpoint or 'AWS'})" for bucket, endpoint in record.s3_buckets.items()
        )
        told["s3_endpoint"] = record.s3_endpoint or "AWS"
        rows = [(k, str(told[k])) for k in _SHOWN if told[k] != ""]
        rows += [("pid", str(record.pid)), ("version", record.version), ("home", record.home)]
        show.facts([("server", "running"), *rows])
    if record is None:
        raise typer.Exit(NOT_RUNNING)


def env(
    hook: Annotated[
        bool,
        typer.Option(help="Put the start-up hook that SageMaker's own SDK needs on PYTHONPATH."),
    ] = True,
) -> None:
    """Print `export NAME=value` lines for AWS clients; starts the server when none runs."""
    address = local_server.ensure()
    home = home_folder()
    values = alias.variables(address)
    if hook:
        values["PYTHONPATH"] = alias.hooked_path()
    values["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(_sagemaker_config(home, address.bucket))
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")
    if sys.stdout.isatty():
        show.note('These lines are for the shell: eval "$(penstock env)"')


def doctor(json: Json = False) -> None:
    """Check whether this machine is fit to run jobs; name what is missing and the command that mends it."""
    from penstock.cli.checks import examine  # noqa: PLC0415 - looks at much that other commands need not load

    findings = examine(Settings.read())
    if json:
        show.as_json([f.__dict__ for f in findings])
    else:
        marks = {"ok": ("ok", "green"), "weak": ("weak", "yellow"), "missing": ("missing", "bold red")}
        for finding in findings:
            word, colour = marks[finding.state]
            show.out.print(f"[{colour}]{word:8}[/] [bold]{finding.what}[/]: ", end="")
            show.out.print(finding.text, markup=False)
            if finding.remedy:
                show.out.print(f"         mend it with: {finding.remedy}", markup=False)
    if any(f.state == "missing" for f in findings):
        raise typer.Exit(1)


class PythonCommand(TyperCommand):
    """A command where, as with Python itself, all that follows `-m MODULE` belongs to the module."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of every command."""
        for place, word in enumerate(args):
            if word == "-m" and place + 1 < len(args):
                args = [*args[: place + 2], "--", *args[place + 2 :]]
                break
            if word == "--" or not word.startswith("-"):
                break
        return super().parse_args(ctx, args)


def python(
    context: typer.Context,
    script: Annotated[str | None, typer.Argument(help="The script to run.")] = None,
    module: Annotated[
        str | None,
        typer.Option("-m", metavar="MODULE", help="Run a module or package in the place of SCRIPT."),
    ] = None,
    own_sdk: Annotated[
        bool,
        typer.Option("--own-sdk", help="Use Penstock's SDK also where SageMaker's is installed."),
    ] = False,
) -> None:
    """Run a script that says `from sagemaker...` on Penstock's SDK, unless the official one is installed.

    What follows SCRIPT or -m MODULE are its own arguments.
    """
    if module is not None:
        # The word that would have been the script is the module's first argument.
        words = [*([] if script is None else [script]), *context.args]
        alias.run_module(module, words, own_sdk=own_sdk)
        return
    if script is None:
        raise typer.BadParameter("Give a SCRIPT, or -m MODULE.")
    if not Path(script).is_file():
        raise PenstockError(f"The script {script} does not exist.")
    alias.run_script(script, context.args, own_sdk=own_sdk)


def _status(record: ServerRecord | None) -> dict[str, object]:
    if record is None:
        return {"running": False}
    _, told = local_server.get(record, "/penstock/status", timeout=10)
    return {"running": True, **record.__dict__, **told}


def _sagemaker_config(home: Path, bucket: str) -> Path:
    """The official SDK's own configuration file: its default bucket, and no telemetry."""
    path = home / "sagemaker-config.yaml"
    path.write_text(
        "# Written by `penstock env` for the official SageMaker SDK.\n"
        "SchemaVersion: '1.0'\n"
        "SageMaker:\n"
        "  PythonSDK:\n"
        "    Modules:\n"
        "      TelemetryOptOut: true\n"
        "      Session:\n"
        f"        DefaultS3Bucket: {bucket}\n"
    )
    return path
