"""The `penstock` command: its list of subcommands, and how errors are told."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from penstock._version import __version__
from penstock.cli import cache, envs, experiments, jobs, prune, running, serving, show
from penstock.client import local_server
from penstock.errors import PenstockError

app = typer.Typer(
    name="penstock",
    help="SageMaker Processing on your own machine: the same code, the same API, no cloud account.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)

# What follows the script's name belongs to the script.
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}

#: What AWS lists in full when one of many words is expected. What was meant follows it, and should be seen.
_LONG_LIST = re.compile(r"\[((?:[\w.-]+, ){20,}[\w.-]+)\]")
_NO_JOB = "Could not find requested job"

_SERVER = "The server"
_JOBS = "Jobs"
app.command(rich_help_panel=_JOBS, cls=running.RunCommand)(running.run)
app.command(rich_help_panel=_JOBS)(jobs.jobs)
app.command(rich_help_panel=_JOBS)(jobs.queue)
app.command(rich_help_panel=_JOBS)(jobs.nodes)
app.command(rich_help_panel=_JOBS)(jobs.describe)
app.command(rich_help_panel=_JOBS)(jobs.outputs)
app.command(rich_help_panel=_JOBS)(jobs.logs)
app.command(rich_help_panel=_JOBS)(jobs.stop)
app.command(rich_help_panel=_JOBS)(experiments.experiments)
app.command(rich_help_panel=_JOBS, context_settings=_PASSED_ON, cls=serving.PythonCommand)(serving.python)
app.command(rich_help_panel=_SERVER)(serving.up)
app.command(rich_help_panel=_SERVER)(serving.down)
app.command(rich_help_panel=_SERVER)(serving.status)
app.command(rich_help_panel=_SERVER)(serving.env)
app.command(rich_help_panel=_SERVER)(serving.serve)
app.command(rich_help_panel=_SERVER)(serving.doctor)
app.command(rich_help_panel=_SERVER)(prune.prune)
app.add_typer(envs.app, name="envs", rich_help_panel=_SERVER)
app.add_typer(cache.app, name="cache", rich_help_panel=_SERVER)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; known errors become one line, and the exit code 1."""
    try:
        app()
    except PenstockError as error:
        show.fail(_or_where_to_look(str(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        text = _in_words(error)
        if text is None:
            raise
        show.fail(_or_where_to_look(text))
        sys.exit(1)


def _or_where_to_look(text: str) -> str:
    """AWS's words for a job that is not there do not say how to find the one that was meant."""
    if text.startswith(_NO_JOB):
        return f"{text}. `penstock jobs --contains PART` lists those that are there."
    return text


def _shorter(values: re.Match[str]) -> str:
    names = values[1].split(", ")
    return f"[{', '.join(names[:3])} and {len(names) - 3} more]"


def _in_words(error: Exception) -> str | None:
    """The server's own words, when it has refused a call; or what the SDK has found: a wrong argument, no server."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _LONG_LIST.sub(_shorter, str(response["Error"].get("Message") or error))
    if isinstance(error, ImportError):
        lacking = local_server.missing_packages()
        return (
            f"{error}: it comes with the server. Install that: {local_server.INSTALL_SERVER}"
            if lacking
            else None
        )
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - 0.1 s, and only for an error

    return str(error) if isinstance(error, (ValueError, OSError, BotoCoreError)) else None


if __name__ == "__main__":
    main()
