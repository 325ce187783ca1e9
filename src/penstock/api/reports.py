"""Where runners post events, log bytes and the upload manifest. Idempotent: what was taken before is passed over."""

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


def known(context: Context, uid: str, name: str, token: str) -> Host:
    """The host of a run, if the token is its own.

    Raises:
        ReportRefused: There is no such run, or the token is another.
    """
    host = context.store.host(uid, name)
    if host is None:
        raise ReportRefused(404, "there is no such run")
    if not hmac.compare_digest(digest_of(token), host.token_digest):
        raise ReportRefused(403, "the token is not this run's")
    return host


def take_events(context: Context, uid: str, name: str, token: str, body: bytes) -> dict[str, Any]:
    """Apply a runner's events and answer the last that was taken."""
    host = known(context, uid, name, token)
    try:
        events = [HostEvent.from_json(e) for e in json.loads(body)["events"]]
        if any(event.kind == "ended" for event in events):
            context.logbook.sync(uid, name)
        applied = context.store.apply_events(uid, name, events)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReportRefused(400, f"not a report: {error}") from error
    context.transfers.pop((uid, name), None)  # told of a phase that is over
    context.wake(soon=any(event.kind == "ended" for event in events))
    # A host that has ended takes no more, but its runner may let go of all that it has said.
    last = max((e.sequence for e in events), default=0)
    return {"sequence": max(last, (applied or host).sequence)}


def take_lease(context: Context, uid: str, name: str, token: str, _: bytes) -> dict[str, Any]:
    """Let a runner go on, and tell whether it is to stop: who carries its job may be unable to reach it.

    Raises:
        ReportRefused: Its host has ended: it was given up, or it has told its end.
    """
    known(context, uid, name, token)
    left = context.store.servers.renew_runner(uid, name, context.runner_ms)
    job = context.store.job_of_uid(uid)
    if left is None or job is None:
        raise ReportRefused(410, "the run has ended")
    stopping = {host.name for host in to_stop(job, context.store.hosts(uid))}
    return {"milliseconds": left, "stop": name in stopping}


def take_log(context: Context, uid: str, name: str, token: str, offset: int, data: bytes) -> dict[str, Any]:
    """Take log bytes from position `offset` on and answer how many are held."""
    known(context, uid, name, token)
    size = context.logbook.append(uid, name, offset, data)
    context.news.tell(uid)
    return {"size": size}


def take_progress(context: Context, uid: str, name: str, token: str, body: bytes) -> dict[str, Any]:
    """Keep how far a runner's transfer is until the next report."""
    if known(context, uid, name, token).ended:
        return {}
    try:
        context.transfers[uid, name] = Progress.from_json(json.loads(body))
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ReportRefused(400, f"not a report: {error}") from error
    return {}


def take_uploads(context: Context, uid: str, name: str, token: str, body: bytes) -> dict[str, Any]:
    """Take lines of the upload manifest and answer how many."""
    known(context, uid, name, token)
    uploads = read_lines(body)
    context.store.uploads.add(uid, name, uploads)
    return {"taken": len(uploads)}
