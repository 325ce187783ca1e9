"""Waiting for a job and following its log."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from penstock.client import live, record
from penstock.client.connection import Connection
from penstock.client.job_log import JobLog, tail
from penstock.client.patience import patiently
from penstock.client.screen import EVERY, LogScreen, Screen, StatusScreen, looked_on
from penstock.errors import PenstockError
from penstock.exceptions import CapacityError, UnexpectedStatusException

logger = logging.getLogger("penstock")

#: How often a server that is not AWS is asked, in seconds: at once after something happened, then ever less often.
QUICKEST, SLOWEST, BACKOFF = 0.02, 0.2, 1.15

#: How long the lines of a log that grows and grows are gathered before they are fetched, in seconds.
GATHER = 0.005

#: How many of the last log lines an error shows.
SHOWN_LINES = 20

_ENDED = ("Completed", "Failed", "Stopped")
_GUIDE = "https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-python-sdk-troubleshooting.html"


def wait(connection: Connection, job: str, poll: float) -> dict[str, Any]:
    """Wait until `job` has ended, printing one character for its status every `poll` seconds.

    In a notebook a card shows how far it is, in the place of the characters.

    Returns:
        The last description.

    Raises:
        UnexpectedStatusException: The job failed.
    """
    with _told_when_interrupted(job), _pace(connection, job, poll, log=False) as pace:
        screen: Screen = live.card(connection, job) or StatusScreen(connection, job, poll)
        status = pace.status()
        while status not in _ENDED:
            screen.idle(status)
            status = pace.rest()
        screen.end(status)
        description = _describe(connection, job)
    _check(connection, job, description, None)
    return description


def follow(connection: Connection, job: str, *, wait: bool, poll: float) -> None:
    """Print the log of `job` as it comes: all there is, or with `wait` until the job has ended.

    In a notebook, with `wait`, a card shows how far it is and the last lines.

    Raises:
        UnexpectedStatusException: The job failed (with `wait` only).
    """
    with _told_when_interrupted(job), _pace(connection, job, poll, log=True) as pace:
        description = _describe(connection, job)
        log = JobLog(connection.logs, job, _instances(description))
        card = live.card(connection, job, log) if wait else None
        screen: Screen = card or LogScreen(connection, job, poll, log.instances)
        last: deque[str] = deque(maxlen=SHOWN_LINES)

        def show_news() -> bool:
            news = log.news()
            last.extend(line.text for line in news)
            screen.show(news)
            return bool(news)

        status = description["ProcessingJobStatus"]
        while wait and status not in _ENDED:
            news = show_news()
            if not news:
                screen.idle(status, begun=log.has_begun)
            status = pace.rest(again=news)
        if wait and connection.is_aws:
            time.sleep(poll)  # CloudWatch shows lines some seconds after they were written
        while show_news() and wait:
            pass  # only where nothing is new it is looked for streams of another attempt
        screen.end(status)
        if not last and connection.is_local:
            _tell_no_log(connection, job)
        if wait and status != "Completed":
            _check(connection, job, _describe(connection, job), list(last))


def _tell_no_log(connection: Connection, job: str) -> None:
    """Say why where a log is empty: it was removed, or the job waits."""
    try:
        told = record.fetch(connection.address, job)
    except PenstockError:
        return  # that there are no lines is true in any case
    if gone := record.no_log(told):
        logger.warning(gone)
    elif place := record.place(told):
        logger.warning("%s has no log yet. It is %s.", job, place)


class _Polls:
    """Asks for the status again and again: on AWS every `poll` seconds, else as quick as `QUICKEST` says."""

    def __init__(self, connection: Connection, job: str, poll: float) -> None:
        self._connection, self._job = connection, job
        self._first, self._most = (
            (poll, poll) if connection.is_aws else (min(QUICKEST, poll), min(SLOWEST, poll))
        )
        self._next = self._first

    def status(self) -> str:
        """The status at this moment."""
        return str(_describe(self._connection, self._job)["ProcessingJobStatus"])

    def rest(self, *, again: bool = False) -> str:
        """Sleep, then ask; `again` says that something has just happened, and more may."""
        self._next = self._first if again else self._next
        time.sleep(self._next)
        self._next = min(self._next * BACKOFF, self._most)
        return self.status()


class _News:
    """Is told of news by the local server, which answers when there is some."""

    def __init__(self, source: record.News, poll: float, *, log: bool) -> None:
        self._source = source
        self._seconds = min(poll, EVERY) if looked_on() or live.in_kernel() else poll
        self._known = 0 if log else None

    def status(self) -> str:
        """The status at this moment."""
        return self._ask(0)

    def rest(self, *, again: bool = False) -> str:
        """Wait for the end, or for more of the log where that is printed."""
        if again:
            time.sleep(GATHER)
        return self._ask(self._seconds)

    def _ask(self, seconds: float) -> str:
        told = patiently(self._source.next, {"seconds": seconds, "log": self._known})
        self._known = None if self._known is None else told["log"]
        return str(told["status"])


@contextmanager
def _pace(connection: Connection, job: str, poll: float, *, log: bool) -> Iterator[_Polls | _News]:
    if not connection.is_local:
        yield _Polls(connection, job, poll)
        return
    with record.News(connection.address, job) as source:
        yield _News(source, poll, log=log)


def _check(connection: Connection, job: str, description: dict[str, Any], lines: list[str] | None) -> None:
    """Warn of a stopped job and raise for a failed one, with the last `lines` (read now when None)."""
    status = description["ProcessingJobStatus"]
    if status == "Stopped":
        logger.warning(
            "Job ended with status 'Stopped' rather than 'Completed'. It was stopped, or reached its time limit; "
            "check whether it did what you expect."
        )
    if status != "Failed":
        return
    reason = description.get("FailureReason", "(No reason provided)")
    message = (
        f"Error for Processing job {job}: {status}. Reason: {reason}. "
        f"Check troubleshooting guide for common errors: {_GUIDE}"
    )
    lines = tail(connection, job, SHOWN_LINES) if lines is None else lines
    if lines:
        message += "\nThe last lines of its log:\n" + "\n".join(f"  {line}" for line in lines)
    kind = CapacityError if "CapacityError" in reason else UnexpectedStatusException
    raise kind(message, allowed_statuses=["Completed", "Stopped"], actual_status=status)


def _instances(description: dict[str, Any]) -> int:
    cluster = description["ProcessingResources"]["ClusterConfig"]
    return int(cluster.get("InstanceCount") or cluster.get("SelectedInstanceCount") or 1)


def _describe(connection: Connection, job: str) -> dict[str, Any]:
    call = connection.sagemaker.describe_processing_job
    description: dict[str, Any] = patiently(call, {"ProcessingJobName": job})
    return description


@contextmanager
def _told_when_interrupted(job: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print(  # noqa: T201 - for the person at the keyboard
            f"\nThe job {job} goes on. To stop it: penstock stop {job}\n"
            f"To see it again: penstock logs -f {job}",
            file=sys.stderr,
        )
        raise
