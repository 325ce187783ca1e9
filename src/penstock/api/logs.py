"""The CloudWatch Logs reads that clients make: one group, a stream per host. Times are milliseconds.

What SageMaker's SDKs rely on: DescribeLogStreams gives no token once the streams asked for are told (the SDK
asks again without it, for ever); GetLogEvents' startTime is inclusive, its order is stable, and a page without
events, with the same token as before, says that there is no more for now.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.job.events import Host
from penstock.store.logbook import PAGE_BYTES, PAGE_EVENTS, LogEvent
from penstock.wire.faults import Fault, log_not_found

GROUP = "/aws/sagemaker/ProcessingJobs"

#: The most streams that a page may be asked to hold, and the most that a job has (both by AWS's models).
_MOST_STREAMS = 50
_MOST_INSTANCES = 100


def describe_groups(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """The one log group, if its name fits."""
    prefix, pattern = params.get("logGroupNamePrefix"), params.get("logGroupNamePattern")
    if prefix is not None and pattern is not None:
        raise invalid("Give either logGroupNamePrefix or logGroupNamePattern.")
    fits = GROUP.startswith(prefix or "") and (pattern or "") in GROUP
    arn = f"arn:aws:logs:{context.region}:{context.account}:log-group:{GROUP}"
    group = {"logGroupName": GROUP, "arn": f"{arn}:*", "logGroupArn": arn, "metricFilterCount": 0}
    return {"logGroups": [group] if fits else []}


def describe_streams(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of streams by name, or by their last event. The page that holds the last stream carries no token."""
    check_group(params)
    prefix, limit = params.get("logStreamNamePrefix"), params.get("limit", _MOST_STREAMS)
    after = place(params.get("nextToken"))
    read = _by_name
    if params.get("orderBy") == "LastEventTime":
        if prefix is not None:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        read = _by_last_event
    elif after is None and limit == _MOST_STREAMS and re.fullmatch("[^/]+/", prefix or ""):
        # SageMaker's SDK asks so for the streams of a job, and when a token comes asks the same again, for ever.
        limit = _MOST_INSTANCES
    found = read(context, prefix or "", after, limit + 1, params.get("descending", False))
    return {
        "logStreams": [_stream(context, host) for host, _ in found[:limit]],
        "nextToken": token(found[limit - 1][1]) if len(found) > limit else None,
    }


def get_events(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of one stream's events, oldest first; from the head, from a token, or (by default) from the tail."""
    check_group(params)
    host = find_stream(context, params["logStreamName"])
    limit = params.get("limit", PAGE_EVENTS)
    start, end = params.get("startTime", 0), params.get("endTime")
    direction, position = _place_of(params.get("nextToken"))
    book = context.logbook
    if direction == "b" or (direction is None and not params.get("startFromHead", False)):
        last = book.size(host.job_uid, host.key) if position is None else position
        if end is not None:
            last = min(last, book.position_of_time(host.job_uid, host.key, end))
        events = [e for e in book.before(host.job_uid, host.key, last, limit) if e.at >= start]
        first = events[0].start if events else last
        last = events[-1].end if events else last
    else:
        first = book.position_of_time(host.job_uid, host.key, start) if position is None else position
        events = list(_page(book.forward(host.job_uid, host.key, first), limit, end))
        last = events[-1].end if events else first
    return {
        "events": [{"timestamp": e.at, "message": e.message, "ingestionTime": e.at} for e in events],
        "nextForwardToken": f"f/{last}",
        "nextBackwardToken": f"b/{first}",
    }


def _by_name(
    context: Context, prefix: str, after: Any, limit: int, descending: bool
) -> list[tuple[Host, Any]]:
    """Streams and their places, after the place `after`."""
    if after is not None and not isinstance(after, str):
        raise _bad_stream_token()
    found = context.store.hosts_by_stream_prefix(prefix, after, limit, descending=descending)
    return [(host, host.log_stream) for host in found]


def _by_last_event(
    context: Context, prefix: str, after: Any, limit: int, descending: bool
) -> list[tuple[Host, Any]]:
    """The same by the time of their last event, streams without any as the oldest; each log is looked at."""
    placed = [
        (host, [last.at if last else -1, host.log_stream])
        for host in context.store.hosts_by_stream_prefix(prefix, None, None)
        for last in [_last_event(context, host)]
    ]
    if after is not None:
        match after:
            case [int(), str()]:
                placed = [p for p in placed if (p[1] < after if descending else p[1] > after)]
            case _:
                raise _bad_stream_token()
    return sorted(placed, key=lambda p: p[1], reverse=descending)[:limit]


def _bad_stream_token() -> Fault:
    return invalid("The nextToken is not one that DescribeLogStreams returned.")


def _page(events: Iterator[LogEvent], limit: int, end: int | None) -> Iterator[LogEvent]:
    size = 0
    for event in itertools.islice(events, limit):
        size += event.end - event.start
        if (end is not None and event.at >= end) or (size > PAGE_BYTES and size > event.end - event.start):
            return
        yield event


def _place_of(text: str | None) -> tuple[str | None, int | None]:
    if text is None:
        return None, None
    direction, _, number = text.partition("/")
    if direction not in {"f", "b"} or not re.fullmatch("[0-9]{1,15}", number):
        raise invalid("The specified nextToken is invalid.")
    return direction, int(number)


def check_group(params: Mapping[str, Any]) -> None:
    """Refuse a call that asks for another group than the one there is, or not for one."""
    if ("logGroupName" in params) == ("logGroupIdentifier" in params):
        raise invalid("Give either logGroupName or logGroupIdentifier.")
    name = params.get("logGroupName") or (params.get("logGroupIdentifier") or "").split(":log-group:")[-1]
    if name.removesuffix(":*") != GROUP:
        raise log_not_found("The specified log group does not exist.")


def find_stream(context: Context, stream: str) -> Host:
    """The host whose log stream has that name.

    Raises:
        Fault: There is none.
    """
    host = context.store.host_of_stream(stream)
    if host is None:
        raise log_not_found("The specified log stream does not exist.")
    return host


def _stream(context: Context, host: Host) -> dict[str, Any]:
    first = next(context.logbook.forward(host.job_uid, host.key, 0), None)
    last = _last_event(context, host)
    return {
        "logStreamName": host.log_stream,
        "arn": f"arn:aws:logs:{context.region}:{context.account}:log-group:{GROUP}:log-stream:{host.log_stream}",
        "creationTime": int(host.log_stream.rpartition("-")[2]) * 1000,
        "firstEventTimestamp": None if first is None else first.at,
        "lastEventTimestamp": last.at if last else None,
        "lastIngestionTime": last.at if last else None,
        "storedBytes": 0,
        "uploadSequenceToken": None,
    }


def _last_event(context: Context, host: Host) -> LogEvent | None:
    book = context.logbook
    return next(iter(book.before(host.job_uid, host.key, book.size(host.job_uid, host.key), 1)), None)
