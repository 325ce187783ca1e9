"""Finds metrics in the program's log and in its outputs, and tells them in the journal.

The program may print and leave anything: what can't be a metric is a line of the log, and never fails a job.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from penstock import units
from penstock.data.folder import IsLinkError, open_file_below
from penstock.data.outputs import read_outputs
from penstock.job.evaluation import metrics_of
from penstock.job.metrics import NOTE, Definition, Metric, definitions, evaluation_file, number, to_note
from penstock.job.run import Run
from penstock.runner.journal import Journal

#: Of each line so many bytes are looked at.
_LOOKED_AT = 4096
#: So many values of a run's log are kept, shared evenly among its metrics.
_MOST_VALUES = 10_000
#: A note has so many: well below what a journal takes as one.
_AT_ONCE = 300
_LARGEST_FILE = 1 << 20
_MOST_OF_A_FILE = 200
#: The note that tells which files were read, so that another runner of the run does not read them again.
_READ = "evaluated"

Note = Callable[[str], None]


class LogMetrics:
    """Takes the values of a job's metrics out of lines as they come."""

    def __init__(
        self, found: Sequence[Definition], journal: Journal, clock: Callable[[], int], note: Note
    ) -> None:
        self._definitions = found
        self._left = {one.name: _MOST_VALUES // len(found) for one in found}
        self._journal = journal
        self._clock = clock
        self._note = note
        self._unfit: set[str] = set()

    def look(self, lines: Sequence[bytes]) -> None:
        """Tell what lines of the program's log say. Raises nothing: the log must be followed to its end."""
        found = [metric for line in lines for metric in self._values(line)]
        try:
            for start in range(0, len(found), _AT_ONCE):
                self._journal.note(**{NOTE: to_note(found[start : start + _AT_ONCE])})
        except OSError as error:
            self._definitions = ()
            self._note(f"The log is no longer searched for metrics: {error}.")

    def _values(self, line: bytes) -> Iterator[Metric]:
        # What a progress bar has written over is lines, too.
        for part in line[:_LOOKED_AT].split(b"\r"):
            text = part.decode("utf-8", "replace")
            for one in self._definitions:
                if self._left[one.name] >= 0 and (match := one.pattern.search(text)):
                    yield from self._value(one.name, match[1])

    def _value(self, name: str, text: str | None) -> Iterator[Metric]:
        value = None if text is None else number(text)
        if value is None:
            if name not in self._unfit:
                self._unfit.add(name)
                self._note(f"Metric {name!r}: {text!r} is no finite number; such values are left out.")
            return
        self._left[name] -= 1
        if self._left[name] < 0:
            most = _MOST_VALUES // len(self._left)
            self._note(f"Metric {name!r}: its first {most:,} values are kept, the others are left out.")
            return
        yield Metric(name, self._clock(), None, value)


def of_log(run: Run, journal: Journal, clock: Callable[[], int], note: Note) -> LogMetrics | None:
    """What looks for a job's metrics in its log; None where it has defined none."""
    try:
        found = definitions(_environment(run))
    except ValueError as error:  # the server has checked it, perhaps one of another version
        note(f"The log is not searched for metrics: {error}")
        return None
    return LogMetrics(found, journal, clock, note) if found else None


def read_outputs_of(run: Run, root: Path, journal: Journal, clock: Callable[[], int], note: Note) -> None:
    """Tell what the job's evaluation says, in each output that has one.

    Args:
        run: The run.
        root: The folder that the program saw as /opt/ml.
        journal: Where it is told.
        clock: Milliseconds since the epoch.
        note: Is given lines for the log.
    """
    if any(_READ in event.data for event in journal.after(0)):
        return
    try:
        path = evaluation_file(_environment(run))
    except ValueError as error:
        note(f"No metrics are read from outputs: {error}.")
        return
    config = run.request.get("ProcessingOutputConfig") or {}
    for output in read_outputs(config.get("Outputs") or (), root) if path else ():
        assert path is not None
        where = f"Output {output.name!r}: {path}"
        try:
            text = _content(root, output.folder.relative_to(root) / path)
            if text is None:
                continue
            told = metrics_of(text)
        except (OSError, ValueError) as error:
            note(f"{where} gives no metrics: {_reason(error)}.")
            continue
        at = clock()
        kept = [Metric(name, at, None, value) for name, value in list(told.items())[:_MOST_OF_A_FILE]]
        journal.note(**{NOTE: to_note(kept), _READ: f"{output.name}/{path}"})
        note(f"{where} gives {len(kept)} {'metric' if len(kept) == 1 else 'metrics'}." + _rest(len(told)))


def _environment(run: Run) -> Mapping[str, str]:
    return run.request.get("Environment") or {}


def _content(root: Path, relative: Path) -> bytes | None:
    """The bytes of a file; None where there is none.

    Raises:
        OSError: It can't be read.
        ValueError: It is no file, or too large.
    """
    try:
        descriptor = open_file_below(root, relative)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsLinkError:
        raise ValueError("a symbolic link leads to it, and those are not followed") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file")
        text = file.read(_LARGEST_FILE + 1) if found.st_size <= _LARGEST_FILE else None
    if text is None or len(text) > _LARGEST_FILE:
        raise ValueError(f"it has more than {units.size(_LARGEST_FILE)}")
    return text


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _rest(count: int) -> str:
    more = count - _MOST_OF_A_FILE
    return f" {more:,} more are left out." if more > 0 else ""
