"""What all that is shown in notebooks is made of: a frame with its style, tables, badges.

It needs nothing from outside and no JavaScript. Text has the notebook's own colour, lines and grounds are made of it,
and what has a colour of its own stands on no ground but its own: so it is readable on light and dark alike.
Names, reasons and log lines are anybody's: all text passes through `escape`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

#: White on these has a contrast of 4.5 or more.
_STATUS_COLOURS = {
    "Completed": "#1a7f37",
    "Failed": "#c8252d",
    "Stopped": "#8a5d00",
    "Stopping": "#8a5d00",
    "InProgress": "#0969da",
}
WAITS = "#6e7781"

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
.penstock table.grid td,.penstock table.grid th{white-space:nowrap;min-width:0}
.penstock table.grid{margin-top:8px}
.penstock table.grid thead th{border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent)}
.penstock table.grid td.first{padding-top:5px}
.penstock summary{cursor:pointer;font-size:12px}
.penstock details{margin-top:6px}
.penstock pre{font:12px/1.45 ui-monospace,monospace;color:inherit;margin:0;padding:8px 10px;white-space:pre-wrap;
overflow-wrap:anywhere;background:none;border:none}
.penstock .log{display:flex;flex-direction:column-reverse;max-height:24em;overflow:auto;margin-top:4px;
border-radius:4px;background:color-mix(in srgb,currentColor 6%,transparent)}
""".replace("\n", "")

#: What terminals do with colours and cursors, and other characters that nobody sees.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def card(parts: Iterable[str]) -> str:
    """Parts in a frame."""
    return f'<div class="penstock"><style>{_STYLE}</style>{"".join(parts)}</div>'


def badge(status: str, word: str = "") -> str:
    """A status of AWS's in its colour, or another word for it."""
    colour = _STATUS_COLOURS.get(status, WAITS)
    return f'<span class="badge" style="background:{colour}">{escape(word or status)}</span>'


def table(rows: Iterable[str]) -> str:
    """A table of rows; nothing when there are none."""
    inner = "".join(rows)
    return f'<table class="rows"><tbody>{inner}</tbody></table>' if inner else ""


def row(name: str, text: str) -> str:
    """A fact with its name."""
    return f"<tr><th>{escape(name)}</th><td>{escape(plain(text))}</td></tr>"


def grid(heads: Sequence[str], rows: Iterable[str]) -> str:
    """A table whose columns have names."""
    names = "".join(f"<th>{escape(plain(head))}</th>" for head in heads)
    return f'<table class="rows grid"><thead><tr>{names}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def plain(text: str) -> str:
    """`text` without what only terminals understand."""
    return _CONTROL.sub("", text)
