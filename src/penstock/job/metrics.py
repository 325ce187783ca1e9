"""Metrics that a job tells without a call: by a file among its outputs, and by lines of its log. Pure.

A runner finds them and tells them in notes of its journal, so that each counts once however often it is told; the
store puts them to the job's trial component. Processing has no member for any of this, so variables of the job's
Environment say what is looked for: with any client, for each job by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re2 import _Regexp as Pattern

#: Names the file that is read, as a path within each output; an empty text: none.
FILE = "PENSTOCK_METRICS_FILE"
#: As SageMaker's pipelines name the file of an evaluation step.
DEFAULT_FILE = "evaluation.json"
#: Variables that begin so have MetricDefinitions, as training jobs have them, in JSON. AWS bounds a variable's length,
#: so there may be several.
DEFINITIONS = "PENSTOCK_METRIC_DEFINITIONS"
#: The note by which a runner tells values.
NOTE = "metrics"

#: The service model: so many definitions, of such lengths, has a training job; no metric's name is longer.
MOST_DEFINITIONS, _LONGEST_REGEX, LONGEST_NAME = 40, 500, 255


@dataclass(frozen=True)
class Metric:
    """One value. `at` is milliseconds since the epoch."""

    name: str
    at: int
    step: int | None
    value: float


@dataclass(frozen=True)
class Definition:
    """By which lines of a log a metric is told: the first group of `pattern` is the number."""

    name: str
    pattern: Pattern


def evaluation_file(environment: Mapping[str, str]) -> PurePosixPath | None:
    """The path of the file within an output; None: none is to be read.

    Raises:
        ValueError: There can be no such file.
    """
    said = environment.get(FILE, DEFAULT_FILE)
    if not said:
        return None
    path = PurePosixPath(said)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in said:
        raise ValueError(f"{said[:64]!r} is no path of a file within an output, such as {DEFAULT_FILE}")
    return path


def definitions(environment: Mapping[str, str]) -> list[Definition]:
    """What is looked for in the log.

    Raises:
        ValueError: They are none; the message begins with the variable's name.
    """
    found: list[Definition] = []
    for variable in sorted(name for name in environment if name.startswith(DEFINITIONS)):
        try:
            found += _read(environment[variable])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{variable}: {error}.") from error
    if len(found) > MOST_DEFINITIONS:
        raise ValueError(
            f"{DEFINITIONS}: {len(found)} metrics are defined; there can be {MOST_DEFINITIONS} at most."
        )
    return found


def _read(text: str) -> Iterator[Definition]:
    # Its time grows with the line's length alone, whatever the expression, and its memory is bounded: a runner that
    # is caught in a match could not even be stopped.
    import re2  # noqa: PLC0415 - few jobs define metrics

    options = re2.Options()
    options.log_errors = False
    given = json.loads(text)
    if not isinstance(given, list):
        raise ValueError('not a list of {"Name": ..., "Regex": ...}')  # noqa: TRY004 - it is a value of the user's
    for one in given:
        if not (isinstance(one, dict) and one.keys() == {"Name", "Regex"}):
            raise ValueError('each element must be {"Name": ..., "Regex": ...}')
        name, regex = one["Name"], one["Regex"]
        if not is_name(name):
            raise ValueError(f"a Name is a text of 1 to {LONGEST_NAME} characters")
        if not (isinstance(regex, str) and 0 < len(regex) <= _LONGEST_REGEX):
            raise ValueError(f"the Regex of {name!r} must be a text of 1 to {_LONGEST_REGEX} characters")
        try:
            pattern = re2.compile(regex, options)
        except (re2.error, UnicodeEncodeError) as error:
            said = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
            raise ValueError(
                f"the Regex {regex!r} of {name!r} can't be used: {said} (syntax: RE2, without look-around)"
            ) from error
        if not pattern.groups:
            raise ValueError(f"the Regex {regex!r} of {name!r} has no group ( ), which is the number")
        yield Definition(name, pattern)


def broken_rules(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each of the variables that can't be meant so."""
    try:
        evaluation_file(environment)
    except ValueError as error:
        yield f"environment.{FILE}: {error}."
    try:
        definitions(environment)
    except ValueError as error:
        yield f"environment.{error}"


def untold(environment: Mapping[str, str], told: Collection[str]) -> list[Definition]:
    """What was looked for in the log and is not among the metrics `told`."""
    try:
        return [one for one in definitions(environment) if one.name not in told]
    except ValueError:  # a server that knew no such variables took the job: to tell of it must not fail
        return []


def is_name(name: Any) -> bool:
    """Whether it can be a metric's name, and be stored."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        return False
    return name.isprintable()


def number(text: str) -> float | None:
    """The number that is written so; None for what is none, or is not finite: BatchPutMetrics takes no other."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def to_note(metrics: Sequence[Metric]) -> list[list[Any]]:
    """The form in which a runner tells values."""
    return [[one.name, one.at, one.value] for one in metrics]


def from_note(told: Any) -> list[Metric]:
    """What `to_note` wrote. What is no value is passed over: to refuse it would have it told again for ever."""
    found = []
    for one in told if isinstance(told, list) else ():
        match one:
            case [str(name), int(at), int() | float() as value] if is_name(name) and abs(at) < 1 << 62:
                if math.isfinite(value):
                    found.append(Metric(name, at, None, float(value)))
    return found
