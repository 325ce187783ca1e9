"""How the command line speaks: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.clock import now
from penstock.units import duration, size

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

#: A word for every status, so that nothing is told by colour alone.
COLOURS = {
    "Completed": "green",
    "Failed": "red",
    "Stopped": "yellow",
    "Stopping": "yellow",
    "InProgress": "cyan",
}


def as_json(data: Any) -> None:
    """Print `data` as JSON on stdout; times become ISO texts."""
    print(json.dumps(data, indent=2, default=_plain))


def as_json_line(data: Any) -> None:
    """Print `data` as one line of JSON on stdout: for what may be long."""
    print(json.dumps(data))


def note(text: str) -> None:
    """Tell the user something that is not data."""
    err.print(Text(text))


def fail(message: str) -> None:
    """Tell the user what failed and what to do."""
    err.print(Text.assemble(("error: ", "bold red"), message))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout: with colours for status words, or to a program one line per row."""
    if not sys.stdout.isatty():
        lines = [columns, *([" ".join(cell.split()) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    out.print(grid)


def end(told: Mapping[str, Any]) -> None:
    """Tell how a job has ended: status, phases, outputs."""
    note("")
    note(f"{told['status']}: " + "  ".join(f"{phase} {took}" for phase, _, took in phases(told)[:-1]))
    for host in told["hosts"]:
        for output in host.get("outputs") or []:
            whose = f" of {host['name']}" if len(told["hosts"]) > 1 else ""
            note(
                f"{output['name']}{whose}: {output['files']} file(s), {size(output['bytes'])} in {output['uri']}"
            )


def failed(told: Mapping[str, Any], log: str, hint: str | None = None) -> None:
    """Tell why a job has failed; `log` holds the last lines of its log."""
    fail(f"The job {told['name']} failed: {told['failure_reason']}")
    if told["exit_message"]:
        note(f"exit message: {told['exit_message']}")
    if "ModuleNotFoundError" in log:
        hint = "the environment comes from --framework; --source-dir with a requirements.txt adds packages"
    if hint:
        err.print(Text.assemble(("hint: ", "bold"), hint))


def phases(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each phase of a job, when it began and how long it took."""
    reached = sorted(told["phases"].items(), key=lambda item: item[1])
    ends = [at for _, at in reached[1:]] + [None]
    last = told["ended_at"] or now()
    return [
        (phase, moment(at), duration((until or last) - at))
        for (phase, at), until in zip(reached, ends, strict=True)
    ]


def moment(ms: int | None) -> str:
    """Milliseconds since the epoch as local time."""
    return "-" if ms is None else datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
