"""Search. There is one kind of thing to be found: the trial components of jobs that have an ExperimentConfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.api import components
from penstock.api.context import Context
from penstock.api.properties import Property, resolve
from penstock.api.search_expression import check_size, compiled, names, unknown, visible
from penstock.api.translate import invalid, place, token
from penstock.job.life import Job
from penstock.store.metrics import Metric
from penstock.wire import model

#: AWS does not document its default page; its other lists have 10.
_PAGE = 10

Record = dict[str, Any]


def search(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the records that fit, in the order asked for. Other resources have no records."""
    expression = params.get("SearchExpression")
    if expression is not None:
        check_size(expression)
    may_be_seen = visible(params.get("VisibilityConditions") or [])
    after = _place_of(params.get("NextToken"))
    elsewhere = params.get("CrossAccountFilterOption") == "CrossAccount"
    if params["Resource"] != "ExperimentTrialComponent" or elsewhere:
        return _answer([], None, 0)
    shape = model.service("sagemaker").shape_for("TrialComponent")
    by = params.get("SortBy", "LastModifiedTime")
    fits = compiled(expression, shape) if expression is not None else lambda _: True
    sort_by = _sortable(resolve(shape, by), by)
    asked = [by, *(names(expression) if expression is not None else ())]
    with_metrics = any(name.lower().startswith("metrics") for name in asked)
    found = [
        (job, record)
        for job, record in _records(context, with_metrics=with_metrics)
        if fits(record) and may_be_seen(record)
    ]
    descending = params.get("SortOrder", "Descending") == "Descending"
    placed = _ordered(found, sort_by, descending=descending)
    first = 0 if after is None else _beyond(placed, after, descending=descending)
    end = first + params.get("MaxResults", _PAGE)
    page = [one for _, one in placed[first:end]]
    if not with_metrics:
        _add_metrics(page, context.store.metrics.of_all([record["TrialComponentName"] for _, record in page]))
    following = token(placed[end - 1][0]) if end < len(placed) else None
    return _answer([record for _, record in page], following, len(found))


def _records(context: Context, *, with_metrics: bool) -> list[tuple[Job, Record]]:
    jobs = context.store.jobs_with_components()
    records = [(job, components.record(context, job, tags)) for job, tags in jobs]
    if with_metrics:
        _add_metrics(records, context.store.metrics.of_all())
    return records


def _add_metrics(records: Sequence[tuple[Job, Record]], metrics: Mapping[str, Sequence[Metric]]) -> None:
    for job, record in records:
        record["Metrics"] = components.summaries(job, metrics.get(record["TrialComponentName"], []))


def _sortable(found: Property | None, name: str) -> Property:
    if found is None:
        raise unknown(name)
    if found.kind == "whole":
        raise invalid(f"The property {name!r} has parts: sort by one of them.")
    return found


#: Where a record stands in an order: its value (the first, of several; None without any), and its job.
_Place = list[Any]


def _ordered(
    found: Sequence[tuple[Job, Record]], sort_by: Property, *, descending: bool
) -> list[tuple[_Place, tuple[Job, Record]]]:
    """Records with their places. Those that have no value come last, in either direction."""
    placed = [([next(iter(sort_by.values(one[1])), None), one[0].uid], one) for one in found]
    placed.sort(key=lambda p: _rank(p[0]), reverse=descending)
    placed.sort(key=lambda p: p[0][0] is None)
    return placed


def _rank(place: _Place) -> tuple[bool, Any, str]:
    value, uid = place
    return isinstance(value, str), 0 if value is None else value, uid  # a parameter is a number or a text


def _beyond(placed: Sequence[tuple[_Place, Any]], after: _Place, *, descending: bool) -> int:
    """The index of the first record after a place. By place and not by number: records come and go meanwhile."""

    def beyond(place: _Place) -> bool:
        if (place[0] is None) != (after[0] is None):
            return place[0] is None
        return _rank(place) < _rank(after) if descending else _rank(place) > _rank(after)

    return next((number for number, (place, _) in enumerate(placed) if beyond(place)), len(placed))


def _place_of(text: str | None) -> _Place | None:
    after = place(text)
    match after:
        case None if text is None:
            return None
        case [None | int() | float() | str() as value, str(uid)]:
            return [value, uid]
    raise invalid("The NextToken is not one that Search returned.")


def _answer(records: list[Record], following: str | None, total: int) -> dict[str, Any]:
    return {
        "Results": [{"TrialComponent": record} for record in records],
        "NextToken": following,
        "TotalHits": {"Value": total, "Relation": "EqualTo"},
    }
