"""experiments: what has been tried, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.cells import cell_len, set_cell_size

from penstock.cli import show
from penstock.client import experiment_view
from penstock.client.entity import pages
from penstock.client.experiment_view import OF_JOBS, OF_THE_JOB, Component
from penstock.client.html import plain
from penstock.client.names import run_group
from penstock.errors import PenstockError

#: How many a search gives at once.
_PAGE = 100
#: How much of a parameter a terminal shows in its column, and which part of its width names may take: programs and
#: wider terminals get all.
_LONGEST, _NAMES = 24, 0.4
#: Of the experiments' names, so many are looked through for what was meant, and so many told.
_KNOWN, _TOLD = 1000, 10


def experiments(
    name: Annotated[str | None, typer.Argument(help="An experiment, to list its runs.")] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Its runs by the last value of a metric, the largest first."),
    ] = None,
    ascending: Annotated[
        bool, typer.Option("--ascending", help="The smallest first; without --sort, the oldest.")
    ] = False,
    limit: Annotated[int, typer.Option(help="How many, newest first unless sorted.", min=1)] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with all that is known of each.")] = False,
) -> None:
    """List experiments, or the runs of one: jobs and other steps, with what they were given and measured."""
    from penstock.cli.session import HomeSession  # noqa: PLC0415 - loads boto3 in the end

    client = HomeSession().quick_client
    order = "Ascending" if ascending else "Descending"
    if name is not None:
        _runs(client, name, sort, order, limit, json=json)
    elif sort is not None:
        raise PenstockError(f"--sort {sort}: of which experiment? penstock experiments NAME --sort {sort}")
    else:
        _list(client, order, limit, json=json)


def _list(client: Any, order: str, limit: int, *, json: bool) -> None:
    found, total = _search(client, "Experiment", limit, sort_by="CreationTime", order=order)
    told = [{**one, **_contents(client, one)} for one in found]
    if json:
        show.as_json(told)
        return
    if not told:
        show.note(
            'There are no experiments. One comes with its first run: Run("prices", "depth-3") in Python.'
        )
        return
    rows = [
        (
            one["ExperimentName"],
            str(one["TrialCount"]),
            str(one["TrialComponentCount"]),
            _moment(one["LastChangeTime"]),
        )
        for one in told
    ]
    show.table(("NAME", "TRIALS", "RUNS", "CHANGED"), rows)
    _tell_more(total - len(found))


def _contents(client: Any, experiment: Mapping[str, Any]) -> dict[str, Any]:
    """How much there is in an experiment, and when anything of it was changed."""
    name = experiment["ExperimentName"]
    trials, count = _search(client, "ExperimentTrial", 1, ExperimentName=name)
    runs, total = _search(client, "ExperimentTrialComponent", 1, **{"Parents.ExperimentName": name})
    changes = [one["LastModifiedTime"] for one in (experiment, *trials, *runs)]
    return {"TrialCount": count, "TrialComponentCount": total, "LastChangeTime": max(changes)}


def _runs(client: Any, name: str, sort: str | None, order: str, limit: int, *, json: bool) -> None:
    try:
        name = client.describe_experiment(ExperimentName=name)["ExperimentName"]
    except client.exceptions.ResourceNotFound:
        _refuse(client, name)
    by = "CreationTime" if sort is None else f"Metrics.{sort}.Last"
    found, total = _search(
        client,
        "ExperimentTrialComponent",
        limit,
        sort_by=by,
        order=order,
        **{"Parents.ExperimentName": name},
    )
    views = [experiment_view.component(one) for one in found]
    # Those that have it come first in either order.
    if sort is not None and views and sort not in views[0].metrics:
        there = experiment_view.names([one.metrics for one in views])
        known = f"Its runs have {_some(there)}." if there else "Its runs have no metrics."
        raise PenstockError(
            f"--sort {sort}: no run of {name} has this metric.{_meant(sort, there) or f' {known}'}"
        )
    if json:
        show.as_json(found)
    elif not found:
        show.note(f"There are no runs in {name} yet.")
    else:
        _show_runs(name, found, views, sort)
        _tell_more(total - len(found))


def _show_runs(
    experiment: str, found: Sequence[Mapping[str, Any]], views: Sequence[Component], sort: str | None
) -> None:
    named = [_called(told, view, experiment) for told, view in zip(found, views, strict=True)]
    statuses = [view.status for view in views]
    when = [_moment(told["CreationTime"]) for told in found]
    shown = columns = _columns(experiment, views, sort)
    if show.out.file.isatty():
        named = [_cut_within(name, int(show.out.width * _NAMES)) for name in named]
        columns = [one.cut() for one in columns]
        taken = sum(
            _width(cells) + 2 for cells in (["NAME", *named], ["STATUS", *statuses], ["CREATED", *when])
        )
        shown = _fitting(columns, show.out.width + 2 - taken)
    # As on the card of an experiment.
    shown = sorted(shown, key=lambda one: ("metric", "parameter", "trial").index(one.kind))
    rows = zip(named, statuses, when, *(one.cells for one in shown), strict=True)
    show.table(("NAME", "STATUS", "CREATED", *(one.name for one in shown)), [*rows])
    if left := [one.name for one in columns if one not in shown]:
        show.note(f"no room for {_some(left)}; a wider terminal or --json shows more.")


@dataclass(frozen=True)
class _Column:
    """What is told of several runs."""

    name: str
    cells: tuple[str, ...]
    """One for each run; empty where a run has none."""
    kind: Literal["metric", "parameter", "trial"]

    @property
    def width(self) -> int:
        return _width([self.name, *self.cells])

    @property
    def dullness(self) -> tuple[bool, int, int]:
        """What differs tells most, then what most runs have, then what is short."""
        there = [cell for cell in self.cells if cell]
        return len(set(there)) == 1 < len(self.cells), -len(there), self.width

    def cut(self) -> _Column:
        """With long parameters cut."""
        if self.kind != "parameter":
            return self
        return replace(self, cells=tuple(_cut(" ".join(plain(cell).split())) for cell in self.cells))


def _columns(experiment: str, views: Sequence[Component], sort: str | None) -> list[_Column]:
    """What the runs measured and were given, by turns, and of what trials they are: what tells most first."""
    measured = [{name: f"{value:g}" for name, value in one.metrics.items()} for one in views]
    given = [{k: v for k, v in one.parameters.items() if not k.startswith(OF_THE_JOB)} for one in views]
    metrics, parameters = _of("metric", measured), _of("parameter", given)
    metrics.sort(key=lambda one: one.name != sort)
    found = [one for one in chain.from_iterable(zip_longest(metrics, parameters)) if one is not None]
    trials = tuple(", ".join(one for one in view.trials if not _is_made(one, experiment)) for view in views)
    return [*found[:2], _Column("TRIAL", trials, "trial"), *found[2:]] if any(trials) else found


def _of(kind: Literal["metric", "parameter"], told: Sequence[Mapping[str, str]]) -> list[_Column]:
    columns = [
        _Column(name, tuple(one.get(name, "") for one in told), kind) for name in experiment_view.names(told)
    ]
    return sorted(columns, key=lambda one: one.dullness)


def _fitting(columns: Sequence[_Column], room: int) -> list[_Column]:
    """Those for which there is room, two spaces between."""
    fitting = []
    for one in columns:
        if one.width + 2 <= room:
            fitting.append(one)
            room -= one.width + 2
    return fitting


def _is_made(trial: str, experiment: str) -> bool:
    """Whether a trial tells nothing: that of an experiment's runs, or one that was made for a job alone."""
    return trial == run_group(experiment) or trial.endswith("-aws-trial")


def _cut(text: str) -> str:
    return text if cell_len(text) <= _LONGEST else set_cell_size(text, _LONGEST - 1).rstrip() + "…"


def _cut_within(name: str, most: int) -> str:
    """A name without its middle: where many begin alike, their ends differ."""
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{name[: most - 1 - end]}…{name[-end:]}"


def _called(told: Mapping[str, Any], view: Component, experiment: str) -> str:
    """By what name people know a component: a job's, and a run's without its experiment's."""
    if view.trials == (run_group(experiment),) and "Source" not in told:
        return view.name.removeprefix(f"{experiment}-")
    return view.name.removesuffix(OF_JOBS)


def _search(
    client: Any, resource: str, limit: int, sort_by: str | None = None, order: str | None = None, **equal: str
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """The first records of a kind whose properties are `equal`, by default the last changed, and how many there are."""
    totals: list[int] = []

    def page(**request: Any) -> Any:
        answer = client.search(**request)
        totals.append(answer["TotalHits"]["Value"])
        return answer

    filters = [{"Name": name, "Operator": "Equals", "Value": value} for name, value in equal.items()]
    found = pages(
        page,
        "Results",
        Resource=resource,
        SearchExpression={"Filters": filters} if filters else None,
        SortBy=sort_by,
        SortOrder=order,
        MaxResults=min(limit, _PAGE),
    )
    return [record for one in islice(found, limit) for record in one.values()], totals[0]


def _refuse(client: Any, name: str) -> NoReturn:
    listed = pages(client.list_experiments, "ExperimentSummaries", MaxResults=_PAGE)
    there = [one["ExperimentName"] for one in islice(listed, _KNOWN)]
    known = f" There are {_some(there)}." if there else " There are none at all."
    raise PenstockError(f"There is no experiment {name}.{_meant(name, there) or known}")


def _meant(name: str, known: Iterable[str]) -> str:
    """Which of those that there are may be meant, as a sentence; empty when none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for an error

    by_letters = {one.lower(): one for one in known}
    close = get_close_matches(name.lower(), by_letters, n=3)
    # A part of a long name is not close to it by its letters.
    close = close or [one for one in by_letters if name.lower() in one][:3]
    return f" Did you mean {' or '.join(by_letters[one] for one in close)}?" if close else ""


def _some(names: Sequence[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")


def _tell_more(more: int) -> None:
    if more > 0:
        show.note(f"{more:,} more {'is' if more == 1 else 'are'} there; --limit shows them.")


def _moment(at: Any) -> str:
    return show.lately(int(at.timestamp() * 1000))


def _width(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells))
