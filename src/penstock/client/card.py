"""A job, and the files of its inputs and outputs, as HTML for notebooks.

It needs nothing from outside and no JavaScript. Text has the notebook's own colour, lines and grounds are made of it,
and what has a colour of its own stands on no ground but its own: so it is readable on light and dark alike.
Names, reasons and log lines are anybody's: all text passes through `escape`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from penstock import units
from penstock.client.view import Data, View, facts, metrics

#: White on these has a contrast of 4.5 or more.
_STATUS_COLOURS = {
    "Completed": "#1a7f37",
    "Failed": "#c8252d",
    "Stopped": "#8a5d00",
    "Stopping": "#8a5d00",
    "InProgress": "#0969da",
}
_WAITS = "#6e7781"
_PHASE_COLOURS = {
    "queued": "#8c959f",
    "preparing": "#a475f9",
    "downloading": "#218bff",
    "running": "#2da44e",
    "uploading": "#d4a72c",
    "stopping": "#e16f24",
}

_STYLE = """
.penstock{font:13px/1.5 system-ui,sans-serif;color:inherit;max-width:78em;margin:6px 0;padding:10px 14px;
overflow-x:auto;border-radius:6px;border:1px solid color-mix(in srgb,currentColor 20%,transparent)}
.penstock .head{display:flex;flex-wrap:wrap;gap:4px 10px;align-items:baseline}
.penstock .name{font-weight:600;overflow-wrap:anywhere}
.penstock .badge{color:#fff;border-radius:9px;padding:0 9px;font-size:12px;font-weight:600}
.penstock .soft{opacity:.7}
.penstock .bar{display:flex;height:8px;border-radius:4px;overflow:hidden;margin:9px 0 4px;gap:1px;
background:color-mix(in srgb,currentColor 12%,transparent)}
.penstock .bar span{display:block;min-width:3px}
.penstock .key{display:flex;flex-wrap:wrap;gap:0 14px;font-size:12px;margin-bottom:8px}
.penstock .key i{display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:5px}
.penstock .why{border-left:4px solid #c8252d;padding:2px 10px;margin:9px 0;overflow-wrap:anywhere}
.penstock table.rows{border-collapse:collapse;margin:2px 0;font-size:12px;border:none;width:auto}
.penstock table.rows tr,.penstock table.rows tr:nth-child(even){background:none}
.penstock table.rows th,.penstock table.rows td{text-align:left;vertical-align:top;padding:1px 14px 1px 0;border:none;
font-weight:400;color:inherit;max-width:none;white-space:normal}
.penstock table.rows th{opacity:.7;white-space:nowrap;min-width:7.5em}
.penstock table.rows td.uri{font-family:ui-monospace,monospace;overflow-wrap:anywhere;min-width:12em}
.penstock table.rows td.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.penstock summary{cursor:pointer;font-size:12px}
.penstock details{margin-top:6px}
.penstock pre{font:12px/1.45 ui-monospace,monospace;color:inherit;margin:0;padding:8px 10px;white-space:pre-wrap;
overflow-wrap:anywhere;background:none;border:none}
.penstock .log{display:flex;flex-direction:column-reverse;max-height:24em;overflow:auto;margin-top:4px;
border-radius:4px;background:color-mix(in srgb,currentColor 6%,transparent)}
""".replace("\n", "")

#: How much of a log line is shown, in characters: a card is stored with its notebook.
_LONGEST = 1000

#: What terminals do with colours and cursors, and other characters that nobody sees.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def job(view: View, *, shows_log: bool = False) -> str:
    """The card of a job; `shows_log`: its log lines are not folded away."""
    parts = [_head(view)]
    if view.phases:
        parts.append(_phases(view))
    if view.status == "Failed":
        parts.append(_failure(view))
    # Tables of their own: the widths of one's columns are no business of the others.
    parts.append(_table(_row(name, text) for name, text in facts(view) if text))
    data = [("input", one) for one in view.inputs] + [("output", one) for one in view.outputs]
    parts.append(_table(_data(kind, one) for kind, one in data))
    ends = [("metric", text) for text in metrics(view)]
    ends += [("note", text) for text in view.deviations]
    parts.append(_table(_row(name, text) for name, text in ends))
    if view.lines:
        parts.append(_log(view.lines, opened=shows_log or view.status == "Failed"))
    return _card(parts)


def files(title: str, uri: str, found: Sequence[tuple[str, int]], total: int) -> str:
    """A table of files with their sizes in bytes; of `total` bytes together.

    Args:
        title: What they are.
        uri: Where they lie.
        found: Name and size of each that is shown.
        total: How many there are, which may be more.
    """
    rows = (
        f'<tr><td class="uri">{escape(name)}</td><td class="number">{units.size(size)}</td></tr>'
        for name, size in found
    )
    head = f'<div class="head"><span class="name">{escape(title)}</span><span class="soft">{escape(uri)}</span></div>'
    parts = [head, _table(rows)]
    if total > len(found):
        parts.append(f'<div class="soft">and {total - len(found):,} more</div>')
    return _card(parts)


def message(title: str, text: str) -> str:
    """A card with a name and what is to be said in the place of all else."""
    head = f'<div class="head"><span class="name">{escape(title)}</span></div>'
    return _card([head, f'<div class="why">{escape(_plain(text))}</div>'])


def _card(parts: Iterable[str]) -> str:
    return f'<div class="penstock"><style>{_STYLE}</style>{"".join(parts)}</div>'


def _head(view: View) -> str:
    colour = _WAITS if view.phase == "queued" else _STATUS_COLOURS.get(view.status, _WAITS)
    word = view.status
    if not view.has_ended and view.phase.lower() != view.status.lower():
        word = f"{view.status}: {view.phase}"
    took = f"took {view.took}"
    if not view.has_ended:
        moment = datetime.fromtimestamp(view.at / 1000).astimezone()
        took = f"for {view.took}, as of {moment:%H:%M:%S}"
    return (
        f'<div class="head"><span class="badge" style="background:{colour}">{escape(word)}</span>'
        f'<span class="name">{escape(view.name)}</span><span class="soft">{took}</span></div>'
    )


def _phases(view: View) -> str:
    """A bar whose parts are as long as the phases took, and what each part is."""
    whole = sum(took for _, _, took in view.phases) or 1
    bars, keys = [], []
    for name, _, took in view.phases:
        colour = _PHASE_COLOURS.get(name, _WAITS)
        text = f"{escape(name)} {units.duration(took)}"
        bars.append(
            f'<span style="width:{100 * took / whole:.2f}%;background:{colour}" title="{text}"></span>'
        )
        keys.append(f'<span><i style="background:{colour}"></i>{text}</span>')
    return f'<div class="bar">{"".join(bars)}</div><div class="key">{"".join(keys)}</div>'


def _failure(view: View) -> str:
    said = f"<div>{escape(_plain(view.reason or '(No reason provided)'))}</div>"
    if view.remedy:
        said += f"<div><b>What to do:</b> {escape(view.remedy)}</div>"
    return f'<div class="why">{said}</div>'


def _table(rows: Iterable[str]) -> str:
    inner = "".join(rows)
    return f'<table class="rows"><tbody>{inner}</tbody></table>' if inner else ""


def _row(name: str, text: str) -> str:
    return f"<tr><th>{escape(name)}</th><td>{escape(_plain(text))}</td></tr>"


def _data(kind: str, one: Data) -> str:
    return (
        f'<tr><th>{kind}</th><td>{escape(one.name)}</td><td class="number">{escape(one.amount)}</td>'
        f'<td class="uri">{escape(one.uri)}</td></tr>'
    )


def _log(lines: Sequence[str], *, opened: bool) -> str:
    count = "the last log line" if len(lines) == 1 else f"the last {len(lines)} log lines"
    text = escape("\n".join(_cut(_plain(line)) for line in lines))
    log = (
        f'<div class="log"><pre>{text}</pre></div>'  # reversed, so that its end is in sight without scrolling
    )
    return f"<details{' open' if opened else ''}><summary>{count}</summary>{log}</details>"


def _cut(line: str) -> str:
    more = len(line) - _LONGEST
    return f"{line[:_LONGEST]} ... and {more:,} characters more" if more > 0 else line


def _plain(text: str) -> str:
    return _CONTROL.sub("", text)
