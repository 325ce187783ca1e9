"""An experiment, a trial and a trial component as HTML for notebooks."""

from __future__ import annotations

from datetime import datetime
from html import escape

from penstock import units
from penstock.client.experiment_view import OF_JOBS, OF_THE_JOB, VARIABLES, Component, Group, names
from penstock.client.html import badge, card, grid, plain, row, table

#: So many parameters and so many metrics get columns.
_COLUMNS = 6
#: How much of a parameter is shown in a column, in characters.
_LONGEST = 24
#: So many parameters and so many metrics of a component are shown, and so much of each: a card is stored with its
#: notebook, and there may be 300 of 2,500 characters, and metrics without end.
_ROWS, _TEXT = 60, 300


def group(view: Group) -> str:
    """The card of an experiment or a trial: a row for each component, to compare what they measured."""
    counts = [units.count(view.trials, "trial")] if view.kind == "Experiment" else []
    counts += [units.count(view.total, "component"), f"made {_moment(view.created)}"]
    parts = [_head(f'<span class="soft">{view.kind}</span>', view.name, ", ".join(counts))]
    shown = view.display_name if view.display_name != view.name else ""
    facts = [("shown as", shown), ("about", view.description), ("experiment", view.experiment)]
    parts.append(table(row(name, text) for name, text in facts if text))
    if view.components:
        parts.append(_components(view))
    if more := view.total - len(view.components):
        parts.append(f'<div class="soft">and {more:,} more</div>')
    if view.empty:
        parts.append(table([row("without components", ", ".join(view.empty))]))
    return card(parts)


def component(view: Component) -> str:
    """The card of a trial component."""
    took = f"took {view.took}" if view.took else ""
    if not took and view.started is not None:
        took = f"since {_moment(view.started)}"
    shown = badge(view.status) if view.status else '<span class="soft">Trial component</span>'
    parts = [_head(shown, view.name, took)]
    if view.message:
        parts.append(
            f'<div class="why">{escape(plain(view.message))}</div>'
            if view.status == "Failed"
            else table([row("status", view.message)])
        )
    # Secrets may be among a job's variables, and a card is stored with its notebook.
    parameters = {name: text for name, text in view.parameters.items() if not name.startswith(VARIABLES)}
    metrics = {name: f"{value:g}" for name, value in view.metrics.items()}
    for kind, told in (("parameter", parameters), ("metric", metrics)):
        parts.append(table(row(kind, _cut(f"{name} = {told[name]}")) for name in sorted(told)[:_ROWS]))
        if (more := len(told) - _ROWS) > 0:
            parts.append(f'<div class="soft">and {more:,} more {kind}s</div>')
    for kind, places in (("input", view.inputs), ("output", view.outputs)):
        parts.append(table(_artifact(kind, name, places[name]) for name in sorted(places)))
    return card(parts)


def _head(before: str, name: str, after: str) -> str:
    named = f'<span class="name">{escape(plain(name))}</span>'
    return f'<div class="head">{before}{named}<span class="soft">{escape(after)}</span></div>'


def _components(view: Group) -> str:
    of_experiment = view.kind == "Experiment"
    given = [
        {k: v for k, v in one.parameters.items() if not k.startswith(OF_THE_JOB)} for one in view.components
    ]
    parameters, metrics = names(given), names([one.metrics for one in view.components])
    left = len(parameters[_COLUMNS:]) + len(metrics[_COLUMNS:])
    parameters, metrics = parameters[:_COLUMNS], metrics[:_COLUMNS]
    heads = [
        *(["trial"] if of_experiment else []),
        "component",
        "status",
        "begun",
        "took",
        *metrics,
        *parameters,
    ]
    rows, before = [], ""
    for one, own in zip(view.components, given, strict=True):
        trials = ", ".join(one.trials)
        first = [trials if trials != before else ""] if of_experiment else []
        before = trials
        begun = f"{one.started.astimezone():%m-%d %H:%M:%S}" if one.started else ""
        # What all jobs' names end in would push what was measured out of sight.
        cells = [_cell(text) for text in (*first, one.name.removesuffix(OF_JOBS))]
        cells.append(f'<td class="first">{badge(one.status) if one.status else ""}</td>')
        cells += [_cell(begun), _number(one.took)]
        cells += [_number(f"{one.metrics[name]:g}" if name in one.metrics else "") for name in metrics]
        cells += [_cell(own.get(name, ""), _LONGEST) for name in parameters]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    shown = grid(heads, rows)
    if left:
        shown += (
            f'<div class="soft">and {left} more parameters and metrics: experiment.dataframe() has all</div>'
        )
    return shown


def _cut(text: str, longest: int = _TEXT) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _cell(text: str, longest: int = 120) -> str:
    text = plain(text)
    short = _cut(text, longest)
    title = f' title="{escape(_cut(text))}"' if short != text else ""
    return f'<td class="first"{title}>{escape(short)}</td>'


def _number(text: str) -> str:
    return f'<td class="first number">{escape(text)}</td>'


def _artifact(kind: str, name: str, place: str) -> str:
    return (
        f'<tr><th>{kind}</th><td>{escape(plain(name))}</td><td class="uri">{escape(plain(place))}</td></tr>'
    )


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
