"""FilterLogEvents: events of several streams as one, by time."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from penstock.api.context import Context
from penstock.api.logs import check_group, find_stream
from penstock.api.translate import invalid, place, token
from penstock.job.events import Host
from penstock.store.logbook import PAGE_BYTES, PAGE_EVENTS, Logbook, LogEvent

#: How many bytes of logs one call looks through; then it answers what it has found and a token.
_SCANNED = 32 << 20

#: Where reading goes on: after the event of this time that ends at this byte position of this stream.
_Place = tuple[int, str, int]


def filter_events(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the events that fit, by time, then by stream, then as they were written; both times inclusive."""
    check_group(params)
    hosts = _chosen(context, params)
    end = params.get("endTime")
    limit = params.get("limit", PAGE_EVENTS)
    fits = matcher(params.get("filterPattern") or "")
    after = _place_of(params.get("nextToken"))
    found: list[dict[str, Any]] = []
    size = scanned = 0
    for event, stream in _merged(context.logbook, hosts, params.get("startTime", 0), after):
        if end is not None and event.at > end:
            break
        if len(found) >= limit or size >= PAGE_BYTES or scanned >= _SCANNED:
            return _answer(found, token(after))
        after = (event.at, stream, event.end)
        scanned += event.end - event.start
        if fits(event.message):
            size += event.end - event.start
            found.append(_shown(event, stream))
    return _answer(found, None)


def matcher(pattern: str) -> Callable[[str], bool]:
    """What tells whether a message fits CloudWatch's pattern for plain text.

    All words and "quoted phrases" must occur, of those behind a question mark any one (they count only where
    there are no others), of those behind a minus none.

    Raises:
        Fault: The pattern is one for JSON, for columns, or a regular expression: these are not supported.
    """
    if pattern.strip()[:1] in {"{", "[", "%"}:
        raise invalid(
            "The filterPattern asks for JSON, columns or a regular expression, which are not supported. Use words."
        )
    terms = list(_terms(pattern))
    needed, some, none = ([term for mark, term in terms if mark == kind] for kind in ("", "?", "-"))

    def fits(message: str) -> bool:
        if any(term in message for term in none):
            return False
        if needed:
            return all(term in message for term in needed)
        return not some or any(term in message for term in some)

    return fits


def _terms(pattern: str) -> Iterator[tuple[str, str]]:
    """Each term of a pattern, with the mark before it: nothing, `?` or `-`."""
    mark = ""
    for number, piece in enumerate(pattern.split('"')):
        if number % 2:
            terms = [mark + piece]
            mark = ""
        else:
            terms = piece.split()
            if piece[-1:] in {"?", "-"} and terms:  # it belongs to the phrase that follows
                mark, terms[-1] = piece[-1], terms[-1][:-1]
        for term in terms:
            kind = term[:1] if term[:1] in {"?", "-"} else ""
            if term[len(kind) :]:
                yield kind, term[len(kind) :]


def _merged(
    book: Logbook, hosts: Sequence[Host], start: int, after: _Place | None
) -> Iterator[tuple[LogEvent, str]]:
    def read(host: Host) -> Iterator[tuple[int, str, int, LogEvent]]:
        where = host.job_uid, host.key
        if after is None:
            position = book.position_of_time(*where, start)
        elif host.log_stream == after[1]:
            position = after[2]
        else:
            position = book.position_of_time(*where, after[0] + (host.log_stream < after[1]))
        for event in book.forward(*where, position):
            yield event.at, host.log_stream, event.start, event

    for _, stream, _, event in heapq.merge(*map(read, hosts)):
        yield event, stream


def _place_of(text: str | None) -> _Place | None:
    after = place(text)
    if after is None:
        return None
    match after:
        case [int(at), str(stream), int(position)] if 0 <= at < 1 << 50 and 0 <= position < 1 << 50:
            return at, stream, position
    raise invalid("The nextToken is not one that FilterLogEvents returned.")


def _chosen(context: Context, params: Mapping[str, Any]) -> list[Host]:
    names, prefix = params.get("logStreamNames"), params.get("logStreamNamePrefix")
    if names is None:
        return context.store.hosts_by_stream_prefix(prefix or "", None, None)
    if prefix is not None:
        raise invalid("Give either logStreamNames or logStreamNamePrefix.")
    return [find_stream(context, name) for name in sorted(set(names))]


def _shown(event: LogEvent, stream: str) -> dict[str, Any]:
    return {
        "logStreamName": stream,
        "timestamp": event.at,
        "message": event.message,
        "ingestionTime": event.at,
        "eventId": f"{event.at:014}{zlib.crc32(stream.encode()):010}{event.start:015}",
    }


def _answer(found: list[dict[str, Any]], following: str | None) -> dict[str, Any]:
    return {"events": found, "searchedLogStreams": [], "nextToken": following}
