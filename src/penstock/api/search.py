"""Search, for what there is to be found: experiments, their trials, and trial components.

Where the database can answer all that is asked, it is asked for one page. Else the rest is judged here, record by
record, among what can fit: in the database's order as far as one request may go, or, where it has no such order, all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.api import permissions
from penstock.api.context import Context
from penstock.api.properties import Property, resolve
from penstock.api.search_expression import Expression, check_size, compiled, names, unknown
from penstock.api.search_narrow import narrow, order, visible
from penstock.api.search_records import PARTS, Record, records, unread
from penstock.api.translate import invalid, place, token
from penstock.job.experiments import Component, Experiment, Trial, key_of
from penstock.store.conditions import Condition, Test, Value
from penstock.store.finding import Order
from penstock.wire import model

if TYPE_CHECKING:
    from botocore.model import Shape

#: AWS does not document its default page; its other lists have 10.
_PAGE = 10
#: So many records are made and judged at once: the memory of more would be cleaned up again and again.
_AT_ONCE = 1000
#: So many are judged for a page, which is short then, or empty, and has a NextToken.
JUDGED = 200
#: And so many at once, until the page is full; of trials with their components, of which they may have many, these.
_STEP, _STEP_OF_TRIALS = 100, 10
#: What trials tell of their components.
_SUMMARIES = "TrialComponentSummaries"
#: So many components of trials are judged in the time of a record.
_COMPONENTS = 4

#: Resource -> its kind, and what the model and the member of SearchRecord call it.
_KINDS: Mapping[str, tuple[type[Any], str]] = {
    "Experiment": (Experiment, "Experiment"),
    "ExperimentTrial": (Trial, "Trial"),
    "ExperimentTrialComponent": (Component, "TrialComponent"),
}

#: Where a record stands in an order: its value (the first, of several; None without any), and its key.
_Place = list[Any]


@dataclass(frozen=True)
class _Candidates:
    """Those that fulfil tests, in the database's order, of which these members are needed to judge the rest."""

    kind: type[Any]
    tests: Sequence[Test]
    asked: Order
    members: AbstractSet[str]


def search(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the records that fit, in the order asked for. Other resources have no records."""
    expression = params.get("SearchExpression")
    if expression is not None:
        check_size(expression)
    seen = visible(params.get("VisibilityConditions") or [])
    after = _place_of(params.get("NextToken"))
    elsewhere = params.get("CrossAccountFilterOption") == "CrossAccount"
    if params["Resource"] not in _KINDS or elsewhere:
        return _answer("TrialComponent", [], None, 0)
    kind, member = _KINDS[params["Resource"]]
    shape = model.service("sagemaker").shape_for(member)
    by = params.get("SortBy", "LastModifiedTime")
    if expression is not None:
        compiled(expression, shape)  # refuses what can't be asked
    sort_by = _sortable(resolve(shape, by), by)
    tests, rest = narrow(kind, expression)
    tests = [*tests, *seen, *_own(context, kind)]
    size, descending = params.get("MaxResults", _PAGE), params.get("SortOrder", "Descending") == "Descending"
    value = order(kind, by)
    asked = None if value is None else Order(value, descending)
    if asked is not None and after is not None and not _is_of(after[0], sort_by):
        raise _foreign()
    stored, exact = context.store.experiments, True
    if rest is None and asked is not None:
        found, following = stored.find(kind, tests, asked, size, after)
        whole = after is None and following is None
        total = len(found) if whole else stored.count(kind, tests)
        return _answer(member, records(context, found), following, total)
    if rest is not None and asked is not None and _are_many(context, kind, tests, rest):
        candidates = _Candidates(kind, tests, asked, _members(rest))
        keys, following = _walked(context, candidates, compiled(rest, shape), size, after)
        total, exact = len(keys), after is None and following is None
    else:
        placed = _judged(context, kind, tests, rest, shape, by, sort_by)
        chosen, following = _page(placed, after, size, descending=descending)
        keys, total = [key for _, key in chosen], len(placed)
    there = stored.named(kind, keys)
    page = [there[key] for key in keys if key in there]
    return _answer(member, records(context, page), following, total, exact=exact)


def _members(rest: Expression | None, *more: str) -> set[str]:
    """The members of records in which these properties and those of an expression are."""
    asked = (*more, *(names(rest) if rest is not None else ()))
    return {name.partition(".")[0].lower() for name in asked}


def _are_many(context: Context, kind: type[Any], tests: Sequence[Test], rest: Expression) -> bool:
    """Whether more may fit than are judged for a page."""
    most = min(JUDGED, _STEP_OF_TRIALS) if _SUMMARIES.lower() in _members(rest) else JUDGED
    return context.store.experiments.count(kind, tests, most + 1) > most


def _walked(
    context: Context, of: _Candidates, fits: Callable[[Record], bool], size: int, after: _Place | None
) -> tuple[list[str], _Place | None]:
    """The keys of the first that fit after a place, and the place to go on from. Some `JUDGED` are looked at."""
    stored, step = context.store.experiments, _STEP_OF_TRIALS if _SUMMARIES.lower() in of.members else _STEP
    places, more = stored.places(of.kind, of.tests, of.asked, JUDGED, after)
    found: list[str] = []
    judged = 0
    for first in range(0, len(places), step):
        keys = [key for _, key in places[first : first + step]]
        there = stored.named(of.kind, keys, unread(of.kind, of.members))
        made = records(context, list(there.values()), PARTS & of.members)
        fitting = {key for key, record in zip(there, made, strict=True) if fits(record)}
        for number, key in enumerate(keys, first + 1):
            if key in fitting:
                found.append(key)
                if len(found) == size:
                    return found, places[number - 1] if more or number < len(places) else None
        judged += len(keys) + sum(len(one.get(_SUMMARIES, ())) for one in made) // _COMPONENTS
        if judged >= JUDGED and first + step < len(places):
            return found, places[first + step - 1]
    return found, places[-1] if more else None


def _judged(
    context: Context,
    kind: type[Any],
    tests: Sequence[Test],
    rest: Expression | None,
    shape: Shape,
    by: str,
    sort_by: Property,
) -> list[_Place]:
    """The places of the records that fulfil the tests and fit the rest."""
    fits = compiled(rest, shape) if rest is not None else lambda _: True
    members = _members(rest, by)
    candidates = context.store.experiments.every(kind, tests, unread(kind, members))
    return [
        [_value(sort_by, record), key_of(one.name)]
        for first in range(0, len(candidates), _AT_ONCE)
        for some in (candidates[first : first + _AT_ONCE],)
        for one, record in zip(some, records(context, some, PARTS & members), strict=True)
        if fits(record)
    ]


def _own(context: Context, kind: type[Any]) -> list[Test]:
    """A job's program finds what its job is part of and nothing else: records of other jobs hold their variables."""
    if context.caller is None:
        return []
    return [Condition(Value("key"), "in", sorted(permissions.own_names(context.caller, kind)))]


def _sortable(found: Property | None, name: str) -> Property:
    if found is None:
        raise unknown(name)
    if found.kind == "whole":
        raise invalid(f"The property {name!r} has parts: sort by one of them.")
    return found


def _value(sort_by: Property, record: Record) -> Any:
    value = next(iter(sort_by.values(record)), None)
    return value.lower() if isinstance(value, str) and not sort_by.cased else value


def _page(
    placed: list[_Place], after: _Place | None, size: int, *, descending: bool
) -> tuple[list[_Place], _Place | None]:
    """A page of places in order, and the place after it. Those that have no value come last, in either direction."""
    placed.sort(key=_rank, reverse=descending)
    placed.sort(key=lambda place: place[0] is None)
    first = 0 if after is None else _beyond(placed, after, descending=descending)
    end = first + size
    return placed[first:end], placed[end - 1] if end < len(placed) else None


def _rank(place: _Place) -> tuple[bool, Any, str]:
    value, key = place
    return isinstance(value, str), 0 if value is None else value, key  # a parameter is a number or a text


def _beyond(placed: Sequence[_Place], after: _Place, *, descending: bool) -> int:
    """The index of the first record after a place. By place and not by number: records come and go meanwhile."""

    def beyond(place: _Place) -> bool:
        if (place[0] is None) != (after[0] is None):
            return place[0] is None
        return _rank(place) < _rank(after) if descending else _rank(place) > _rank(after)

    return next((number for number, place in enumerate(placed) if beyond(place)), len(placed))


def _place_of(text: str | None) -> _Place | None:
    after = place(text)
    match after:
        case None if text is None:
            return None
        case [None | int() | float() | str() as value, str(key)]:
            return [value, key]
    raise _foreign()


def _is_of(value: Any, sort_by: Property) -> bool:
    """Whether the database can compare a place's value with those that it has."""
    if value is None:
        return True
    if isinstance(value, str):
        return sort_by.kind in {"text", "either"}
    return sort_by.kind != "text" and (isinstance(value, float) or -(1 << 63) <= value < 1 << 63)


def _foreign() -> Exception:
    return invalid("The NextToken is not one that Search returned.")


def _answer(
    member: str, found: list[Record], following: _Place | None, total: int, *, exact: bool = True
) -> dict[str, Any]:
    return {
        "Results": [{member: record} for record in found],
        "NextToken": None if following is None else token(following),
        "TotalHits": {"Value": total, "Relation": "EqualTo" if exact else "GreaterThanOrEqualTo"},
    }
