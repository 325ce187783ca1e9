"""The order in which a request is handled. Read `__call__` downwards.

    runner's report  -> reports.py
    signed for s3    -> gateway.py
    anything else    -> verify -> parse -> check -> operate -> reply

Operations are plain functions and run in threads; only this file and the gateway speak ASGI.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from penstock.api import identity, logs, processing, reports, tags, translate
from penstock.api.context import Context
from penstock.api.gateway import S3Gateway, signed_request
from penstock.wire import faults, model, parse, reply, signature, validate
from penstock.wire.faults import Fault

_log = logging.getLogger(__name__)

#: Far above any request that AWS's model allows.
LARGEST_BODY = 4 << 20

Operation = Callable[[Context, Mapping[str, Any]], Mapping[str, Any] | None]

#: All that this server can do. To add an operation, see docs/checklists/add-an-operation.md.
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("sagemaker", "CreateProcessingJob"): processing.create,
    ("sagemaker", "DescribeProcessingJob"): processing.describe,
    ("sagemaker", "ListProcessingJobs"): processing.list_jobs,
    ("sagemaker", "StopProcessingJob"): processing.stop,
    ("sagemaker", "DeleteProcessingJob"): processing.delete,
    ("sagemaker", "AddTags"): tags.add,
    ("sagemaker", "ListTags"): tags.list_tags,
    ("sagemaker", "DeleteTags"): tags.delete,
    ("logs", "DescribeLogGroups"): logs.describe_groups,
    ("logs", "DescribeLogStreams"): logs.describe_streams,
    ("logs", "GetLogEvents"): logs.get_events,
    ("logs", "FilterLogEvents"): logs.filter_events,
    ("sts", "GetCallerIdentity"): identity.caller,
    ("iam", "GetRole"): identity.get_role,
}


class Application:
    """The server's ASGI application."""

    def __init__(
        self,
        context: Context,
        secret_of: Callable[[str], str | None],
        gateway: S3Gateway,
        status: Callable[[], Mapping[str, Any]],
        wait_ready: Callable[[], None],
    ) -> None:
        self._context = context
        self._secret_of = secret_of
        self._gateway = gateway
        self._status = status
        self._wait_ready = wait_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        try:
            claimed = signature.credential(scope["headers"], scope["query_string"])
            service = claimed.service if claimed is not None else None
            if service == "s3":  # first: a bucket may have any name
                await self._serve_s3(scope, receive, send)
                return
            if path.startswith("/penstock/runs/"):
                response = await self._report(Request(scope, receive), path)
            elif path == "/penstock/status":
                response = JSONResponse(await run_in_threadpool(self._status))
            elif path == "/penstock/ready":
                response = await self._ready()
            elif claimed is None and not _is_operation(scope):
                await self._serve_s3(scope, receive, send)
                return
            else:
                response = await self._operate(Request(scope, receive), service)
        except ClientDisconnect:
            return  # nobody is left to answer
        await response(scope, receive, send)

    async def _operate(self, request: Request, service: str | None) -> Response:
        """One AWS operation: verify, parse, check, operate, reply."""
        request_id = str(uuid.uuid4())
        try:
            body = await _bounded_body(request)
            verified = signature.verify(
                signed_request(request.scope, body), self._secret_of, self._context.clock()
            )
            service = verified.service
            if request.url.path.startswith("/penstock/jobs/") and service == "sagemaker":
                return await run_in_threadpool(self._own_record, request.url.path)
            call = _parse(service, request, body)
            validate.check(call)
            operate = OPERATIONS[call.service, call.operation]
            result = await run_in_threadpool(operate, self._context, call.params)
            answer = reply.render(call, result or {}, request_id)
        except Fault as fault:
            answer = reply.render_fault(service or "sagemaker", fault, request_id)
        except Exception:  # noqa: BLE001 - a client gets an answer whatever happens
            # The cause goes to the log, under the id that the client is told; never a stack trace to a client.
            _log.exception("request %s failed", request_id)
            answer = reply.render_fault(service or "sagemaker", faults.internal_failure(), request_id)
        return _response(answer)

    def _own_record(self, path: str) -> Response:
        """Penstock's own, richer record of a job: phases, hosts, environments, transfers."""
        store = self._context.store
        job = processing.find(self._context, path.removeprefix("/penstock/jobs/"))
        return JSONResponse(translate.record(job, store.hosts(job.uid), store.tags(job.arn)))

    async def _serve_s3(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._gateway(scope, receive, send)
        except Fault as fault:
            answer = reply.render_fault("s3", fault, str(uuid.uuid4()))
            await _response(answer)(scope, receive, send)

    async def _report(self, request: Request, path: str) -> Response:
        """What runners post: ``/penstock/runs/<job uid>/<host>/(log|events)``."""
        parts = path.split("/")[3:]
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.method != "POST" or len(parts) != 3 or parts[2] not in {"log", "events"}:
            return JSONResponse({"error": "there is nothing here"}, 404)
        uid, host, what = parts
        try:
            body = await _bounded_body(request)
            if what == "log":
                offset = int(request.query_params.get("offset", ""))
                args: tuple[Any, ...] = (uid, host, token, offset, body)
                return JSONResponse(await run_in_threadpool(reports.take_log, self._context, *args))
            args = (uid, host, token, body)
            return JSONResponse(await run_in_threadpool(reports.take_events, self._context, *args))
        except reports.ReportRefused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except (ValueError, Fault) as error:
            return JSONResponse({"error": str(error)}, 400)

    async def _ready(self) -> Response:
        """Answers when the object store serves, or says why it does not."""
        try:
            await run_in_threadpool(self._wait_ready)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            return JSONResponse({"ready": False, "error": str(error)}, 503)
        return JSONResponse({"ready": True})


def _parse(service: str, request: Request, body: bytes) -> parse.Call:
    """The operation and its parameters, by the protocol of the service that the request is signed for."""
    if service in model.QUERY_SERVICES:
        return parse.parse_query(service, body or request.scope["query_string"])
    return parse.parse_json(service, request.headers.get("x-amz-target", ""), body)


def _response(answer: reply.Reply) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = answer.headers
    return response


def _is_operation(scope: Scope) -> bool:
    """Whether an unsigned request looks like an AWS operation rather than S3's anonymous access."""
    return scope["path"].startswith("/penstock/") or (
        scope["method"] == "POST"
        and scope["path"] == "/"
        and any(k in {b"x-amz-target", b"content-type"} for k, _ in scope["headers"])
    )


async def _bounded_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        Fault: It is larger than any operation needs.
    """
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > LARGEST_BODY:
            raise faults.too_large(f"The request body is larger than {LARGEST_BODY} bytes.")
        pieces.append(piece)
    return b"".join(pieces)
