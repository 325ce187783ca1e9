"""Make a plan that breaks a promise as small as can be: leave out faults and wishes that do not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from penstock.testing.simulation.plan import Plan
from penstock.testing.simulation.world import Outcome, run

_Entry = TypeVar("_Entry")
_MOST_RUNS = 400


def shrink(found: Outcome, again: Callable[[Plan], Outcome] = run) -> Outcome:
    """The smallest run that was found to violate the same invariant as `found`."""
    smallest = found
    left = [_MOST_RUNS]

    def still(plan: Plan) -> bool:
        nonlocal smallest
        left[0] -= 1
        outcome = again(plan)
        if left[0] < 0 or _invariant(outcome) != _invariant(found):
            return False
        smallest = outcome
        return True

    before = None
    while smallest.plan != before and left[0] > 0:
        before = plan = smallest.plan
        _drop(plan.faults, lambda faults: still(replace(smallest.plan, faults=tuple(faults))))
        _drop(plan.wishes, lambda wishes: still(replace(smallest.plan, wishes=tuple(wishes))))
    return smallest


def _drop(entries: Sequence[_Entry], still: Callable[[Sequence[_Entry]], bool]) -> None:
    """Leave out halves, then quarters, and so on down to single entries, as long as it still fails."""
    size = len(entries)
    while size > 0:
        start = 0
        while start < len(entries):
            fewer = [*entries[:start], *entries[start + size :]]
            if still(fewer):
                entries = fewer
            else:
                start += size
        size //= 2


def _invariant(outcome: Outcome) -> str | None:
    return None if outcome.violation is None else outcome.violation.partition(":")[0]
