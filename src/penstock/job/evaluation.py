"""What of an evaluation's JSON is a metric: the numbers of three shapes.

- SageMaker's model quality reports, also as their tutorials write them: ``{"regression_metrics": {"mse": {"value": 4.9,
  "standard_deviation": 2.1}}}``; so ``binary_classification_metrics``, and every other group whose name ends so. The
  groups give no part of a name: ``mse``, and ``mse:standard_deviation`` beside it. Where there is one, nothing else
  counts (such a report has a version, and tells how many rows there were).
- Else, numbers by their names: ``{"accuracy": 0.9}``.
- And of groups of them: ``{"test": {"accuracy": 0.9}}`` is ``test:accuracy``.

Confusion matrices and curves are no scalars. Nor is what is not finite: model quality reports have the text "NaN".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from penstock.job.metrics import is_name

_GROUP = "_metrics"


def metrics_of(text: bytes) -> dict[str, float]:
    """The metrics of a JSON document, by their names, in its order.

    Raises:
        ValueError: It is no JSON, or no object.
    """
    try:
        told = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(told, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - it is a file of the user's
    groups = {name: one for name, one in told.items() if name.endswith(_GROUP) and isinstance(one, dict)}
    found = chain.from_iterable(map(_entries, groups.values())) if groups else _entries(told, inner=True)
    return {name: value for name, value in found if is_name(name)}


def _entries(given: Mapping[str, Any], *, inner: bool = False) -> Iterator[tuple[str, float]]:
    """The metrics of an object; `inner`: with those of objects in it that are groups themselves."""
    for name, one in given.items():
        if not isinstance(one, dict):
            yield from _scalar(name, one)
        elif "value" in one:
            yield from _scalar(name, one["value"])
            yield from _scalar(f"{name}:standard_deviation", one.get("standard_deviation"))
        elif inner:
            for member, value in _entries(one):
                yield f"{name}:{member}", value


def _scalar(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    try:
        number = float(value)
    except OverflowError:
        return
    if math.isfinite(number):
        yield name, number
