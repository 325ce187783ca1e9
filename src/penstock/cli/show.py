"""How the command line speaks: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from penstock.client import record, view
from penstock.client.html import plain
from penstock.clock import now
from penstock.units import count, duration, size

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


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, crop: bool = False) -> None:
    """Print a table on stdout: to a program one line per row; to people with colours for status words.

    What only terminals understand is left out: names and reasons are anybody's.
    Nothing is broken into pieces, so that names and URIs can be copied. The columns that a terminal has no room for
    stand in a line of their own beneath each row: so the last should be the longest. With `crop` that line is cut to
    the terminal's width.
    """
    lines = [[" ".join(plain(cell).split()) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    if not out.file.isatty():
        for line in lines:
            print("  ".join(_padded(line, widths)).rstrip())
        return
    beside = _fitting(widths, out.width)
    filled = [any(column) for column in zip(*lines[1:], strict=True)]
    for number, line in enumerate(lines):
        cells = _padded(line[:beside], widths)
        text = Text("  ").join(_styled(cell, heading=number == 0) for cell in cells)
        text.rstrip()
        out.print(text)
        beneath = "  ".join(
            cell for cell, there in zip(line[beside:], filled[beside:], strict=True) if cell and there
        )
        if beneath:
            text = Text(f"  {beneath}", style="bold" if number == 0 else "")
            if crop:
                text.truncate(out.width, overflow="ellipsis")
            out.print(text)


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and their values on stdout, without a heading."""
    width = max(len(name) for name, _ in rows)
    for name, value in ((name, plain(value)) for name, value in rows):
        if out.file.isatty():
            shown = value.replace("\n", "\n" + " " * (width + 2))
            out.print(Text.assemble(f"{name:<{width}}  ", _styled(shown)))
        else:
            print(f"{name:<{width}}  {' '.join(value.split())}")


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    # A line may be shorter than there are columns: the others stand beneath.
    return [cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=False)]


def _fitting(widths: Sequence[int], room: int) -> int:
    """How many columns stand beside each other, with two spaces between; at least one."""
    ends = accumulate(widths, lambda end, width: end + 2 + width)
    return max(1, sum(end <= room for end in ends))


def _styled(cell: str, *, heading: bool = False) -> Text:
    return Text(cell, style="bold" if heading else COLOURS.get(cell.strip(), ""))


def end(told: Mapping[str, Any]) -> None:
    """Tell how a job has ended: status, phases, outputs, metrics."""
    note("")
    note(f"{told['status']}: " + "  ".join(f"{phase} {took}" for phase, _, took in phases(told)[:-1]))
    for host in told["hosts"]:
        for output in host.get("outputs") or []:
            whose = f" of {host['name']}" if len(told["hosts"]) > 1 else ""
            note(
                f"{output['name']}{whose}: {count(output['files'], 'file')}, {size(output['bytes'])} in {output['uri']}"
            )
    for text in view.metrics([(one["name"], one["last"]) for one in told.get("metrics", ())]):
        note(f"metric: {text}")
    for text in record.untold_metrics(told):
        note(f"note: {text}")


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
    return [(phase, moment(began), duration(took)) for phase, began, took in record.phases(told, now())]


def moment(ms: int | None) -> str:
    """Milliseconds since the epoch as local time."""
    return "-" if ms is None else _local(ms).strftime("%Y-%m-%d %H:%M:%S")


def lately(ms: int) -> str:
    """The same in the rows of a list: on a terminal no longer than people need, `23:48:29`, `11-25 23:48`."""
    if not out.file.isatty():
        return moment(ms)
    then, today = _local(ms), _local(now())
    if then.date() == today.date():
        return then.strftime("%H:%M:%S")
    return then.strftime("%m-%d %H:%M" if then.year == today.year else "%Y-%m-%d")


def _local(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000).astimezone()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
