"""The CloudWatch Logs reads that clients make: one group, a stream per host. Times are milliseconds.

What SageMaker's SDKs rely on: DescribeLogStreams gives no token once the streams asked for are told (the SDK
asks again without it, for ever); GetLogEvents' startTime is inclusive, its order is stable, and a page without
events, with the same token as before, says that there is no more for now.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.job.events import Host
from penstock.store.logbook import PAGE_BYTES, PAGE_EVENTS, LogEvent
from penstock.wire.faults import log_not_found

GROUP = "/aws/sagemaker/ProcessingJobs"


def describe_groups(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """The one log group, if its name fits."""
    prefix, pattern = params.get("logGroupNamePrefix"), params.get("logGroupNamePattern")
    fits = GROUP.startswith(prefix or "") and (pattern or "") in GROUP
    arn = f"arn:aws:logs:{context.region}:{context.account}:log-group:{GROUP}"
    group = {"logGroupName": GROUP, "arn": f"{arn}:*", "logGroupArn": arn, "metricFilterCount": 0}
    return {"logGroups": [group] if fits else []}


def describe_streams(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of streams by name. A page that holds the last stream carries no token, also when it is full."""
    _check_group(params)
    limit = params.get("limit", 50)
    after = place(params.get("nextToken"))
    if after is not None and not isinstance(after, str):
        raise invalid("The nextToken is not one that DescribeLogStreams returned.")
    found = context.store.hosts_by_stream_prefix(params.get("logStreamNamePrefix") or "", after, limit + 1)
    return {
        "logStreams": [_stream(context, host) for host in found[:limit]],
        "nextToken": token(found[limit - 1].log_stream) if len(found) > limit else None,
    }


def get_events(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of one stream's events, oldest first; from the head, from a token, or (by default) from the tail."""
    _check_group(params)
    host = _host(context, params["logStreamName"])
    limit = params.get("limit", PAGE_EVENTS)
    start, end = params.get("startTime", 0), params.get("endTime")
    direction, position = _place_of(params.get("nextToken"))
    book = context.logbook
    if direction == "b" or (direction is None and not params.get("startFromHead", False)):
        last = book.size(host.job_uid, host.name) if position is None else position
        if end is not None:
            last = min(last, book.position_of_time(host.job_uid, host.name, end))
        tail = [e for e in book.before(host.job_uid, host.name, last, limit) if e.at >= start]
        events = [e for e in tail if last - e.start <= PAGE_BYTES] or tail[-1:]
        first = events[0].start if events else last
        last = events[-1].end if events else last
    else:
        first = book.position_of_time(host.job_uid, host.name, start) if position is None else position
        events = list(_page(book.forward(host.job_uid, host.name, first), limit, end))
        last = events[-1].end if events else first
    return {
        "events": [{"timestamp": e.at, "message": e.message, "ingestionTime": e.at} for e in events],
        "nextForwardToken": f"f/{last}",
        "nextBackwardToken": f"b/{first}",
    }


def filter_events(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Events of several streams, by time. `filterPattern`: all words (or "quoted phrases") must occur."""
    _check_group(params)
    hosts = _chosen(context, params)
    start, end = params.get("startTime", 0), params.get("endTime")
    limit = params.get("limit", PAGE_EVENTS)
    places = place(params.get("nextToken")) or {}
    if not isinstance(places, dict) or not all(type(p) is int and 0 <= p < 1 << 50 for p in places.values()):
        raise invalid("The nextToken is not one that FilterLogEvents returned.")
    words = _words(params.get("filterPattern") or "")
    book = context.logbook
    for host in hosts:
        if host.log_stream not in places:
            places[host.log_stream] = book.position_of_time(host.job_uid, host.name, start)

    def read(number: int, host: Host) -> Iterator[tuple[int, int, LogEvent]]:
        for event in book.forward(host.job_uid, host.name, places[host.log_stream]):
            yield event.at, number, event

    found: list[dict[str, Any]] = []
    size = 0
    more = False
    for at, number, event in heapq.merge(*(read(n, h) for n, h in enumerate(hosts)), key=lambda t: t[:2]):
        if end is not None and at >= end:
            break
        if len(found) >= limit or size >= PAGE_BYTES:
            more = True
            break
        stream = hosts[number].log_stream
        places[stream] = event.end
        if all(word in event.message for word in words):
            size += len(event.message)
            found.append(
                {
                    "logStreamName": stream,
                    "timestamp": at,
                    "message": event.message,
                    "ingestionTime": at,
                    "eventId": f"{at:020}{number:04}{event.start:020}",
                }
            )
    return {"events": found, "searchedLogStreams": [], "nextToken": token(places) if more else None}


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


def _chosen(context: Context, params: Mapping[str, Any]) -> list[Host]:
    names = params.get("logStreamNames")
    if names is not None:
        return [_host(context, name) for name in names]
    return context.store.hosts_by_stream_prefix(params.get("logStreamNamePrefix") or "", None, 1000)


def _words(pattern: str) -> list[str]:
    pieces = pattern.split('"')
    return [w for n, piece in enumerate(pieces) for w in ([piece] if n % 2 else piece.split()) if w]


def _check_group(params: Mapping[str, Any]) -> None:
    name = params.get("logGroupName") or (params.get("logGroupIdentifier") or "").split(":log-group:")[-1]
    if name.removesuffix(":*") != GROUP:
        raise log_not_found("The specified log group does not exist.")


def _host(context: Context, stream: str) -> Host:
    host = context.store.host_of_stream(stream)
    if host is None:
        raise log_not_found("The specified log stream does not exist.")
    return host


def _stream(context: Context, host: Host) -> dict[str, Any]:
    book = context.logbook
    size = book.size(host.job_uid, host.name)
    first = next(book.forward(host.job_uid, host.name, 0), None)
    last = book.before(host.job_uid, host.name, size, 1)
    return {
        "logStreamName": host.log_stream,
        "arn": f"arn:aws:logs:{context.region}:{context.account}:log-group:{GROUP}:log-stream:{host.log_stream}",
        "creationTime": int(host.log_stream.rpartition("-")[2]) * 1000,
        "firstEventTimestamp": None if first is None else first.at,
        "lastEventTimestamp": last[-1].at if last else None,
        "lastIngestionTime": last[-1].at if last else None,
        "storedBytes": 0,
        "uploadSequenceToken": None,
    }
