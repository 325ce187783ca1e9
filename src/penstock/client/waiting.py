"""Waiting for a job and following its log."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from penstock.client import record
from penstock.client.connection import Connection
from penstock.errors import PenstockError, ServerUnavailable
from penstock.exceptions import CapacityError, UnexpectedStatusException
from penstock.progress import Progress

logger = logging.getLogger("penstock")

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"

#: How often a server that is not AWS is asked, in seconds: at once after something happened, then ever less often.
QUICKEST, SLOWEST, BACKOFF = 0.02, 0.2, 1.15

#: How long the lines of a log that grows and grows are gathered before they are fetched, in seconds.
GATHER = 0.005

#: How many of the last log lines an error shows.
SHOWN_LINES = 20

#: A server that is started anew answers again within seconds; jobs go on meanwhile.
PATIENCE = 60.0

_ENDED = ("Completed", "Failed", "Stopped")
_STATUS_CHARACTERS = {"Completed": "!", "InProgress": ".", "Failed": "*", "Stopped": "s", "Stopping": "_"}
_COLOURS = (34, 35, 32, 36, 33)
_GUIDE = "https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-python-sdk-troubleshooting.html"


def wait(connection: Connection, job: str, poll: float) -> dict[str, Any]:
    """Wait until `job` has ended, printing one character for its status every `poll` seconds.

    Returns:
        The last description.

    Raises:
        UnexpectedStatusException: The job failed.
    """
    with _told_when_interrupted(job), _pace(connection, job, poll, log=False) as pace:
        transfer = _TransferLine(connection, job)
        shown = time.monotonic()
        status = pace.status()
        while status not in _ENDED:
            transfer.update()
            if time.monotonic() - shown >= poll and not transfer.is_shown:
                print(_STATUS_CHARACTERS.get(status, "?"), end="", flush=True)  # noqa: T201 - its purpose
                shown = time.monotonic()
            status = pace.rest()
        transfer.clear()
        print(_STATUS_CHARACTERS.get(status, "?"), end="", flush=True)  # noqa: T201 - its purpose
        description = _describe(connection, job)
    _check(connection, job, description, None)
    return description


def follow(connection: Connection, job: str, *, wait: bool, poll: float) -> None:
    """Print the log of `job` as it comes: all there is, or with `wait` until the job has ended.

    Raises:
        UnexpectedStatusException: The job failed (with `wait` only).
    """
    with _told_when_interrupted(job), _pace(connection, job, poll, log=True) as pace:
        description = _describe(connection, job)
        log = _Log(connection, job, _instances(description), poll)
        status = description["ProcessingJobStatus"]
        while wait and status not in _ENDED:
            news = log.print_news()
            if not news:
                log.transfer.update()
            status = pace.rest(again=news)
        if wait and connection.is_aws:
            time.sleep(poll)  # CloudWatch shows lines some seconds after they were written
        log.print_news()
        log.end()
        if not log.last and connection.is_local:
            _tell_no_log(connection, job)
        if wait and status != "Completed":
            _check(connection, job, _describe(connection, job), list(log.last))


def _tell_no_log(connection: Connection, job: str) -> None:
    """Say so where a log is empty because it was removed."""
    try:
        gone = record.no_log(record.fetch(connection.address, job))
    except PenstockError:
        return  # that there are no lines is true in any case
    if gone is not None:
        logger.warning(gone)


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
        self._seconds = min(poll, _TransferLine.EVERY) if _looked_on() else poll
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
        told = _patiently(self._source.next, {"seconds": seconds, "log": self._known})
        self._known = None if self._known is None else told["log"]
        return str(told["status"])


@contextmanager
def _pace(connection: Connection, job: str, poll: float, *, log: bool) -> Iterator[_Polls | _News]:
    if not connection.is_local:
        yield _Polls(connection, job, poll)
        return
    with record.News(connection.address, job) as source:
        yield _News(source, poll, log=log)


class _Log:
    """The log streams of a job, one per instance, and how far each has been printed."""

    def __init__(self, connection: Connection, job: str, instances: int, poll: float) -> None:
        self._client = connection.logs
        self._job = job
        self._instances = instances
        self.transfer = _TransferLine(connection, job)
        self._poll = poll
        self._streams: list[str] = []
        self._tokens: dict[str, str] = {}
        self._dotted_at = time.monotonic()
        self._in_dots = False
        self._colours = _looked_on() and not os.environ.get("NO_COLOR")
        self.last: deque[str] = deque(maxlen=SHOWN_LINES)

    def print_news(self) -> bool:
        """Print what is new in all streams, in the order of time. Returns whether anything was."""
        if len(self._streams) < self._instances:
            self._streams = stream_names(self._client, self._job)
        news = [
            (event["timestamp"], index, event["message"])
            for index, stream in enumerate(self._streams)
            for event in self._read(stream)
        ]
        for _, index, message in sorted(news, key=lambda item: item[0]):
            self._print(index, message)
        if not self._streams:
            self._dot()
        return bool(news)

    def end(self) -> None:
        """Close a row of dots that no line has followed, and take the transfer's line away."""
        self.transfer.clear()
        if self._in_dots:
            print()  # noqa: T201 - its purpose

    def _read(self, stream: str) -> Iterator[dict[str, Any]]:
        while True:
            token = self._tokens.get(stream)
            request = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
            page = _patiently(self._client.get_log_events, request | ({"nextToken": token} if token else {}))
            yield from page["events"]
            self._tokens[stream] = page["nextForwardToken"]
            if not page["events"] or page["nextForwardToken"] == token:
                return

    def _print(self, index: int, message: str) -> None:
        self.end()
        self._in_dots = False
        self.last.append(message)
        if self._colours:
            message = f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{message}\x1b[0m"
        elif self._instances > 1:
            message = f"{_host(self._streams[index])} | {message}"
        print(message, flush=True)  # noqa: T201 - its purpose

    def _dot(self) -> None:
        """A sign of life while there is no stream yet, at the pace that users of SageMaker know."""
        now = time.monotonic()
        if now - self._dotted_at >= self._poll:
            print(".", end="", flush=True)  # noqa: T201 - its purpose
            self._dotted_at, self._in_dots = now, True


class _TransferLine:
    """How far a job's inputs or outputs are, on one line that is written over; none where nobody looks on."""

    EVERY = 1.0

    def __init__(self, connection: Connection, job: str) -> None:
        self._connection, self._job = connection, job
        self._looked_on = connection.is_local and _looked_on()
        self._next = time.monotonic() + self.EVERY
        self._width = 0

    @property
    def is_shown(self) -> bool:
        """Whether the cursor stands behind the line."""
        return self._width > 0

    def update(self) -> None:
        """Show the present state, if it is time."""
        if not self._looked_on or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.EVERY
        try:
            told = record.fetch(self._connection.address, self._job)
        except PenstockError:
            return  # the server is away for a moment; the wait itself deals with that
        text = str(Progress.from_json(told["progress"])) if told["progress"] else record.place(told)
        if not text:
            self.clear()
            return
        print(f"\r{text:<{self._width}}", end="", flush=True)  # noqa: T201 - its purpose
        self._width = len(text)

    def clear(self) -> None:
        """Leave the line empty, for what follows."""
        if self._width:
            print("\r" + " " * self._width, end="\r", flush=True)  # noqa: T201 - its purpose
            self._width = 0


def _looked_on() -> bool:
    """Whether a person sees what is printed as it comes."""
    return sys.stdout.isatty() or bool(os.environ.get("JPY_PARENT_PID"))


def _host(stream: str) -> str:
    """`algo-1` of the stream `<job>/algo-1`; AWS's streams end in a time, too."""
    name = stream.rpartition("/")[2]
    found = re.match(r"algo-\d+", name)
    return found[0] if found else name


def stream_names(client: Any, job: str) -> list[str]:
    """The names of a job's log streams, sorted; none as long as no instance has begun."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

    request = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": f"{job}/", "orderBy": "LogStreamName"}
    names: list[str] = []
    while True:
        try:
            page = _patiently(client.describe_log_streams, request)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                return []  # the first job of an account: the group comes with its first line
            raise
        names += [stream["logStreamName"] for stream in page["logStreams"]]
        token = page.get("nextToken")
        if not token:
            return names
        request["nextToken"] = token


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
    lines = _tail(connection, job) if lines is None else lines
    if lines:
        message += "\nThe last lines of its log:\n" + "\n".join(f"  {line}" for line in lines)
    kind = CapacityError if "CapacityError" in reason else UnexpectedStatusException
    raise kind(message, allowed_statuses=["Completed", "Stopped"], actual_status=status)


def _tail(connection: Connection, job: str) -> list[str]:
    """The last log lines; none when they can't be read, for the job's failure is the news."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

    events: list[dict[str, Any]] = []
    try:
        for stream in stream_names(connection.logs, job):
            page = connection.logs.get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=False, limit=SHOWN_LINES
            )
            events += page["events"]
    except (BotoCoreError, ClientError) as error:
        logger.warning("The log of %s can't be read: %s", job, error)
    return [event["message"] for event in sorted(events, key=lambda event: event["timestamp"])][-SHOWN_LINES:]


def _instances(description: dict[str, Any]) -> int:
    cluster = description["ProcessingResources"]["ClusterConfig"]
    return int(cluster.get("InstanceCount") or cluster.get("SelectedInstanceCount") or 1)


def _describe(connection: Connection, job: str) -> dict[str, Any]:
    call = connection.sagemaker.describe_processing_job
    description: dict[str, Any] = _patiently(call, {"ProcessingJobName": job})
    return description


def _patiently(call: Callable[..., Any], request: dict[str, Any]) -> Any:
    """What `call` answers to `request`, asked again and again for `PATIENCE` seconds while no server answers."""
    # Both come with boto3; neither is the other's base.
    from botocore.exceptions import ConnectionError as NoConnection  # noqa: PLC0415
    from botocore.exceptions import HTTPClientError  # noqa: PLC0415

    begun = time.monotonic()
    told = False
    while True:
        try:
            return call(**request)
        except (HTTPClientError, NoConnection, ServerUnavailable) as error:
            if time.monotonic() - begun >= PATIENCE:
                raise
            if not told:
                logger.warning("The server does not answer (%s); waiting for it up to %d s.", error, PATIENCE)
                told = True
            time.sleep(SLOWEST)


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
