"""A job's log as the SDK reads it: one stream per instance."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from penstock.client.connection import Connection
from penstock.client.patience import patiently

logger = logging.getLogger("penstock")

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"


class Line(NamedTuple):
    """A line of the log."""

    at: int
    """Milliseconds since the epoch."""
    stream: int
    """Which of the instances it comes from, whatever the attempt, from 0."""
    host: str
    """The instance's name, `algo-1`."""
    text: str


class JobLog:
    """The log streams of a job and how far each has been read.

    Attributes:
        instances: How many streams there will be.
    """

    def __init__(self, client: Any, job: str, instances: int) -> None:
        self._client, self._job = client, job
        self.instances = instances
        self._streams: list[str] = []
        self._tokens: dict[str, str] = {}

    @property
    def has_begun(self) -> bool:
        """Whether there is a stream yet."""
        return bool(self._streams)

    def news(self) -> list[Line]:
        """What is new in all streams, in the order of time."""
        if len(self._streams) < self.instances:
            self._streams = stream_names(self._client, self._job)
        found = self._read_all()
        if not found and self._streams:
            # Of a job whose attempt was lost the next one has streams of its own.
            before, self._streams = self._streams, stream_names(self._client, self._job)
            if self._streams != before:
                found = self._read_all()
        return sorted(found, key=lambda line: line.at)

    def _read_all(self) -> list[Line]:
        hosts = {host: place for place, host in enumerate(dict.fromkeys(map(_host, self._streams)))}
        return [
            Line(event["timestamp"], hosts[_host(stream)], _host(stream), event["message"])
            for stream in self._streams
            for event in self._read(stream)
        ]

    def _read(self, stream: str) -> Iterator[dict[str, Any]]:
        while True:
            token = self._tokens.get(stream)
            request = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
            page = patiently(self._client.get_log_events, request | ({"nextToken": token} if token else {}))
            yield from page["events"]
            self._tokens[stream] = page["nextForwardToken"]
            if not page["events"] or page["nextForwardToken"] == token:
                return


def tail(connection: Connection, job: str, count: int) -> list[str]:
    """The last `count` log lines; none when they can't be read, for whoever shows them has other news, too."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

    events: list[dict[str, Any]] = []
    try:
        for stream in stream_names(connection.logs, job):
            page = connection.logs.get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=False, limit=count
            )
            events += page["events"]
    except (BotoCoreError, ClientError) as error:
        logger.warning("The log of %s can't be read: %s", job, error)
    return [event["message"] for event in sorted(events, key=lambda event: event["timestamp"])][-count:]


def stream_names(client: Any, job: str) -> list[str]:
    """The names of a job's log streams, sorted; none as long as no instance has begun."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

    request = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": f"{job}/", "orderBy": "LogStreamName"}
    names: list[str] = []
    while True:
        try:
            page = patiently(client.describe_log_streams, request)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                return []  # the first job of an account: the group comes with its first line
            raise
        names += [stream["logStreamName"] for stream in page["logStreams"]]
        token = page.get("nextToken")
        if not token:
            return names
        request["nextToken"] = token


def _host(stream: str) -> str:
    """`algo-1` of the stream `<job>/algo-1`; AWS's streams end in a time, too."""
    name = stream.rpartition("/")[2]
    found = re.match(r"algo-\d+", name)
    return found[0] if found else name
