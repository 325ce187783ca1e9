"""What runners post: events, log bytes, the upload manifest. Idempotent: what was taken before is passed over.

Each is taken for a host that `known` has found.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from penstock.api.context import Context
from penstock.job.events import Host, HostEvent, to_stop
from penstock.job.seal import digest_of
from penstock.job.uploads import read_lines
from penstock.progress import Progress


class ReportRefused(Exception):
    """The report comes from nobody we know; the status is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def known(context: Context, uid: str, key: str, token: str) -> Host:
    """The host of a run, if the token is its own.

    Raises:
        ReportRefused: There is no such run, or the token is another.
    """
    host = context.store.host(uid, key)
    if host is None:
        raise ReportRefused(404, "there is no such run")
    if not hmac.compare_digest(digest_of(token), host.token_digest):
        raise ReportRefused(403, "the token is not this run's")
    return host


def _check_attempt(context: Context, host: Host) -> None:
    """See that no later attempt has followed that of the host: what an earlier one says counts no more.

    Raises:
        ReportRefused: One has.
    """
    if not host.ended:
        return  # none does before all of its hosts have ended
    job = context.store.job_of_uid(host.job_uid)
    if job is None or job.attempt != host.attempt:
        raise ReportRefused(410, "another attempt has followed")


def _by_now(context: Context, host: Host) -> Host:
    """The host as it is on record now: since it was found, while a body was on its way, much may have happened.

    What is written for it alone asks for that by itself, in its transaction.

    Raises:
        ReportRefused: It is there no more, or another attempt has followed.
    """
    current = context.store.host(host.job_uid, host.key)
    if current is None:
        raise ReportRefused(404, "there is no such run")
    _check_attempt(context, current)
    return current


def take_events(context: Context, host: Host, body: bytes) -> dict[str, Any]:
    """Apply a runner's events and answer the last that was taken."""
    _check_attempt(context, host)
    try:
        events = [HostEvent.from_json(e) for e in json.loads(body)["events"]]
        ending = any(event.kind == "ended" for event in events)
        if ending:
            context.logbook.sync(host.job_uid, host.key)
        applied = context.store.apply_events(host.job_uid, host.key, events)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReportRefused(400, f"not a report: {error}") from error
    context.transfers.pop((host.job_uid, host.key), None)  # told of a phase that is over
    context.wake(soon=ending)
    # A host that has ended takes no more, but its runner may let go of all that it has said.
    last = max((e.sequence for e in events), default=0)
    return {"sequence": max(last, (applied or host).sequence)}


def take_lease(context: Context, host: Host, _: bytes) -> dict[str, Any]:
    """Let a runner go on, and tell whether it is to stop: who carries its job may be unable to reach it.

    Raises:
        ReportRefused: Its host has ended: it was given up, or it has told its end.
    """
    _check_attempt(context, host)
    left = context.store.servers.renew_runner(host.job_uid, host.key, context.runner_ms)
    job = context.store.job_of_uid(host.job_uid)
    if left is None or job is None:
        raise ReportRefused(410, "the run has ended")
    stopping = {other.key for other in to_stop(job, context.store.hosts(host.job_uid, job.attempt))}
    return {"milliseconds": left, "stop": host.key in stopping}


def take_log(context: Context, host: Host, offset: int, data: bytes) -> dict[str, Any]:
    """Take log bytes from position `offset` on and answer how many are held."""
    _by_now(context, host)
    size = context.logbook.append(host.job_uid, host.key, offset, data)
    context.news.tell(host.job_uid)
    return {"size": size}


def take_progress(context: Context, host: Host, body: bytes) -> dict[str, Any]:
    """Keep how far a runner's transfer is until the next report."""
    if _by_now(context, host).ended:
        return {}
    try:
        context.transfers[host.job_uid, host.key] = Progress.from_json(json.loads(body))
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ReportRefused(400, f"not a report: {error}") from error
    return {}


def take_uploads(context: Context, host: Host, body: bytes) -> dict[str, Any]:
    """Take lines of the upload manifest and answer how many."""
    _by_now(context, host)
    uploads = read_lines(body)
    context.store.uploads.add(host.job_uid, host.name, uploads)
    return {"taken": len(uploads)}
