"""A job, and the files of its inputs and outputs, as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from penstock import units
from penstock.client.html import WAITS, badge
from penstock.client.html import card as _card
from penstock.client.html import plain as _plain
from penstock.client.html import row as _row
from penstock.client.html import table as _table
from penstock.client.view import Data, View, facts, metrics

_PHASE_COLOURS = {
    "queued": "#8c959f",
    "preparing": "#a475f9",
    "downloading": "#218bff",
    "running": "#2da44e",
    "uploading": "#d4a72c",
    "stopping": "#e16f24",
}

#: How much of a log line is shown, in characters: a card is stored with its notebook.
_LONGEST = 1000


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
    ends = [("metric", text) for text in metrics(view.metrics)]
    ends += [("note", text) for text in (*view.notes, *view.deviations)]
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


def _head(view: View) -> str:
    word = view.status
    if not view.has_ended and view.phase.lower() != view.status.lower():
        word = f"{view.status}: {view.phase}"
    took = f"took {view.took}"
    if not view.has_ended:
        moment = datetime.fromtimestamp(view.at / 1000).astimezone()
        took = f"for {view.took}, as of {moment:%H:%M:%S}"
    shown = badge("" if view.phase == "queued" else view.status, word)
    return (
        f'<div class="head">{shown}'
        f'<span class="name">{escape(view.name)}</span><span class="soft">{took}</span></div>'
    )


def _phases(view: View) -> str:
    """A bar whose parts are as long as the phases took, and what each part is."""
    whole = sum(took for _, _, took in view.phases) or 1
    bars, keys = [], []
    for name, _, took in view.phases:
        colour = _PHASE_COLOURS.get(name, WAITS)
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
