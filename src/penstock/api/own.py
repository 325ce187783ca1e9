"""What is asked of Penstock alone, in JSON, signed as for SageMaker: records of jobs, their news, the queue, locks.

GET  /penstock/jobs/<name>                        the record
GET  /penstock/jobs/<name>/outputs?after=...      a page of what it has stored
GET  /penstock/jobs/<name>/news?log=...&wait=...  its status and how long its log is, when there is news
GET  /penstock/queue                              what runs, what waits, and why
     /penstock/locks...                           see `locks.py`
POST /penstock/prune                              see `prune.py`
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool

from penstock.api import locks, metrics, permissions, processing, prune, translate
from penstock.api.context import Context
from penstock.job.life import Job, Phase
from penstock.wire import faults

PATH = "/penstock/"
_JOBS = "/penstock/jobs/"
_UPLOADS = 1000  # in one answer
_LONGEST_WAIT = 60.0


async def serve(
    context: Context,
    method: str,
    path: str,
    query: bytes,
    body: bytes,
    leaves: Callable[[], Awaitable[Any]],
) -> Mapping[str, Any] | None:
    """The answer to a request; None for a path that is not of our own.

    Args:
        context: What every operation is given.
        method: In capitals.
        path: Without the query.
        query: As it came, without the question mark.
        body: All of it.
        leaves: Returns when the client has left.

    Raises:
        Fault: There is nothing at that path, or it is not for whoever asks.
        ClientDisconnect: The client has left while it waited.
    """
    asked = dict(parse_qsl(query.decode("latin-1")))
    if path.startswith(locks.PATH):
        return await run_in_threadpool(locks.serve, context, method, path, body)
    if path == prune.PATH:
        return await run_in_threadpool(prune.serve, context, method, body)
    if path == "/penstock/queue":
        return await run_in_threadpool(_queue, context)
    if not path.startswith(_JOBS):
        return None
    name, _, part = path.removeprefix(_JOBS).partition("/")
    if context.caller is not None:
        wanted = {"ProcessingJobName": name}
        permissions.check(context, context.caller, "sagemaker", "DescribeProcessingJob", wanted)
    if part == "news":
        return await _news(context, name, asked, leaves)
    if part == "outputs":
        return await run_in_threadpool(_outputs, context, name, asked)
    if part:
        raise faults.validation(f"There is nothing at {path}.")
    return await run_in_threadpool(_record, context, name)


async def _news(
    context: Context, name: str, asked: Mapping[str, str], leaves: Callable[[], Awaitable[Any]]
) -> Mapping[str, Any]:
    """Status and length of the log, once the job has ended or its log is longer than `log`, or `wait` seconds are over.

    Without `log` its end alone is news. A client that has seen this log so far asks with its length.
    """
    try:
        wait = float(asked.get("wait", "0"))
        known = int(asked["log"]) if "log" in asked else None
    except ValueError:
        wait, known = math.nan, None
    if math.isnan(wait):
        raise faults.validation("`wait` is a number of seconds, and `log` a number of bytes.")
    uid = (await run_in_threadpool(processing.find, context, name)).uid

    def look() -> dict[str, Any]:
        job = processing.find(context, name)
        if job.uid != uid:
            raise faults.validation(f"The job {name} is gone; another one has its name.")
        hosts = () if known is None else context.store.hosts(uid)
        log = sum(context.logbook.size(uid, host.name) for host in hosts)
        return {"status": job.status, "ended": job.phase.final, "log": log}

    def is_news(seen: dict[str, Any]) -> bool:
        return seen["ended"] or (known is not None and seen["log"] > known)

    return await context.news.wait(uid, look, is_news, min(wait, _LONGEST_WAIT), leaves)


def _outputs(context: Context, name: str, asked: Mapping[str, str]) -> Mapping[str, Any]:
    job = processing.find(context, name)
    after = translate.place(asked.get("after"))
    return translate.upload_page(context.store.uploads.page(job.uid, after, _UPLOADS), _UPLOADS)


def _record(context: Context, name: str) -> Mapping[str, Any]:
    store, job = context.store, processing.find(context, name)
    hosts, moved = store.hosts(job.uid), context.transfers
    transfers = {h.name: moved[job.uid, h.name] for h in hosts if (job.uid, h.name) in moved}
    place = _place(context, job) if job.phase is Phase.QUEUED else None
    server = context.server_urls().get(job.carrier.server)
    return translate.record(
        job,
        hosts,
        store.tags(job.arn),
        store.uploads.totals(job.uid),
        transfers,
        place,
        server,
        metrics.of_job(context, job),
    )


def _queue(context: Context) -> Mapping[str, Any]:
    if context.caller is not None:
        raise faults.access_denied("The queue is not for jobs' own credentials.")
    return context.queue()


def _place(context: Context, job: Job) -> Mapping[str, Any] | None:
    """A waiting job's entry of the queue; None when it has just been started."""
    return next((one for one in context.queue()["waiting"] if one["name"] == job.name), None)
