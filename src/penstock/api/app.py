"""The order in which a request is handled. Read `__call__` downwards.

    runner's report  -> posts.py
    a job's program asks for its credentials -> callers.py
    signed, for Penstock alone -> own.py
    signed for s3    -> gateway.py
    anything else    -> verify -> parse -> check -> operate -> reply

Operations are plain functions and run in threads, but for Create, which waits for the disk together with others;
only this file and the gateway speak ASGI.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from inspect import iscoroutinefunction
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from penstock import disk
from penstock.api import artifacts, callers, own, permissions, posts
from penstock.api.body import bounded_body
from penstock.api.context import Context
from penstock.api.gateway import S3Gateway, signed_request, until_gone
from penstock.api.operations import OPERATIONS
from penstock.job.local_inputs import as_s3
from penstock.wire import claims, faults, model, parse, reply, validate
from penstock.wire.faults import Fault

_log = logging.getLogger(__name__)

_FULL = "The disk that Penstock's home lies on is full: free some space on it."

_JSON = "application/x-amz-json-1.1"
_FORM = b"application/x-www-form-urlencoded"
_JSON_TYPES = {_JSON, "application/x-amz-json-1.0", "application/json"}

#: Answered from one row by its key. Where that lies in this process, a hop to a thread would cost more than the
#: answer, so they are not sent on one.
QUICK = {("sagemaker", "DescribeProcessingJob")}

#: Whether an operation is a coroutine function. Asked of each once: it takes as long as reading its JSON.
_waits = cache(iscoroutinefunction)


class Application:
    """The server's ASGI application."""

    def __init__(
        self,
        context: Context,
        who: callers.Callers,
        gateway: S3Gateway,
        status: Callable[[], Mapping[str, Any]],
        wait_ready: Callable[[], None],
        *,
        relaxed_limits: bool = False,
    ) -> None:
        self._context = context
        self._posts = posts.Posts(context)
        self._callers = who
        self._gateway = gateway
        self._status = status
        self._wait_ready = wait_ready
        self._relaxed_limits = relaxed_limits
        self._waiting: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        try:
            claimed = claims.claim(scope["headers"], scope["query_string"])
            if claimed is not None and claimed.scope.service == "s3":  # first: a bucket may have any name
                await self._serve_s3(scope, receive, send)
                return
            if path.startswith(posts.PATH):
                await _send(send, await self._posts.take(scope, receive))
                return
            if path.startswith(callers.PATH):
                response = await self._lend(Request(scope), path)
            elif path == "/penstock/status":
                response = JSONResponse(await run_in_threadpool(self._status))
            elif path == "/penstock/ready":
                response = await self._ready()
            elif claimed is None and not _is_operation(scope):
                await self._serve_s3(scope, receive, send)
                return
            else:
                await _send(send, await self._operate(scope, receive, claimed))
                return
        except ClientDisconnect:
            return  # nobody is left to answer
        await response(scope, receive, send)

    async def _operate(self, scope: Scope, receive: Receive, claimed: claims.Claim | None) -> reply.Reply:
        """One AWS operation: verify, parse, check, operate, reply."""
        request_id = _request_id()
        service = _service(scope, claimed)
        try:
            if claimed is None:
                claimed = claims.read_claim(scope["headers"], scope["query_string"])  # raises what is wrong
            self._check_scope(claimed, service)
            # Before anything is taken for it: whoever has no key costs nothing.
            who = self._callers.know(claimed)
            body = await bounded_body(receive)
            self._callers.verify(signed_request(scope, body), claimed, who)
            context = self._context if who.job is None else replace(self._context, caller=who.job)
            if service == "sagemaker" and scope["path"].startswith(own.PATH):
                asked = scope["method"], scope["path"], scope["query_string"], body
                if (answer := await own.serve(context, *asked, lambda: until_gone(receive))) is not None:
                    return reply.document(answer, request_id)
            call = _parse(service, scope, claimed, body)
            # A server that takes local inputs knows one form of S3Uri more than AWS's model does.
            known = replace(call, params=as_s3(call.params)) if context.local_inputs else call
            if call.operation in {"CreateArtifact", "UpdateArtifact"}:
                known = replace(call, params=artifacts.as_modelled(call.params))
            validate.check(known, relaxed=self._relaxed_limits)
            if who.job is not None:
                # The database may be asked.
                asked_for = call.service, call.operation, call.params
                await run_in_threadpool(permissions.check, context, who.job, *asked_for)
            if call.operation == "CreateProcessingJob" and (invocation := _invocation(scope)) is not None:
                context = replace(context, invocation=invocation)
            result = await _carry_out(context, call)
            return reply.render(call, result or {}, request_id)
        except Fault as fault:
            return reply.render_fault(_form_of(service, scope), fault, request_id)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - a client gets an answer whatever happens
            # The cause goes to the log, under the id that the client is told; never a stack trace to a client.
            _log.exception("request %s failed", request_id)
            told = _FULL if disk.is_full(error) else ""
            return reply.render_fault(service, faults.internal_failure(told), request_id)

    def _check_scope(self, claimed: claims.Claim, service: str) -> None:
        """What a signature is for must be this server and the service that is asked."""
        told = ""
        here, region = self._context.region, claimed.scope.region
        # IAM, and STS at its global address, are signed for us-east-1 wherever one is.
        if region != here and not (service in model.QUERY_SERVICES and region == "us-east-1"):
            told = f"Credential should be scoped to a valid region, not '{region[:64]}'. "
        signing = "sagemaker" if service in model.REST_SERVICES else service
        if signing != claimed.scope.service:
            told += f"Credential should be scoped to correct service: '{signing}'. "
        if told:
            raise faults.wrong_scope(f"{told}(This server's region is {here}; PENSTOCK_REGION sets it.)")
        if claimed.lifetime is not None and service not in model.QUERY_SERVICES:
            raise faults.incomplete_signature(
                f"Operations of {service[:64]} can't be called by presigned URLs; sign a header instead."
            )

    async def _serve_s3(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._gateway(scope, receive, send)
        except Fault as fault:
            await _send(send, reply.render_fault("s3", fault, _request_id()))

    async def _lend(self, request: Request, path: str) -> Response:
        """Temporary credentials for a job's program."""
        uid, token = path.removeprefix(callers.PATH), request.headers.get("authorization", "")
        lent = await run_in_threadpool(self._callers.lend, uid, token) if request.method == "GET" else None
        if lent is None:
            said = "There is no such job, or it has ended, or this is not its token."
            return JSONResponse({"code": "AccessDenied", "message": said}, 403)
        return JSONResponse(lent.to_json(), headers={"Cache-Control": "no-store"})

    async def _ready(self) -> Response:
        """Answers when the object store serves, or says why it does not."""
        # One thread waits for all who ask: they need no key, and operations need threads.
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.ensure_future(run_in_threadpool(self._wait_ready))
        try:
            await asyncio.shield(self._waiting)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            return JSONResponse({"ready": False, "error": str(error)}, 503)
        return JSONResponse({"ready": True})


async def _carry_out(context: Context, call: parse.Call) -> Mapping[str, Any] | None:
    name = call.service, call.operation
    operate = OPERATIONS[name]
    result: Mapping[str, Any] | None
    if _waits(operate):
        result = await operate(context, call.params)
    elif name in QUICK and context.store.in_process:
        result = operate(context, call.params)
    else:
        result = await run_in_threadpool(operate, context, call.params)
    return result


def _invocation(scope: Scope) -> str | None:
    """The AWS SDKs' name of a call, which is the same for all attempts of it."""
    found = next((value for name, value in scope["headers"] if name == b"amz-sdk-invocation-id"), b"")
    return found.decode("latin-1") or None


def _service(scope: Scope, claimed: claims.Claim | None) -> str:
    """Which service is asked, and in whose form an answer is given: AWS tells it by the host, we by the request."""
    if route := _route(scope):
        return route[0]
    if claimed is not None:
        target = claimed.headers.get("x-amz-target", "")
        return model.TARGETS.get(target.partition(".")[0], claimed.scope.service)
    headers = dict(scope["headers"])
    prefix = headers.get(b"x-amz-target", b"").decode("latin-1").partition(".")[0]
    form = headers.get(b"content-type", b"").startswith(_FORM)
    return model.TARGETS.get(prefix, "sts" if form or _is_query(scope) else "sagemaker")


def _form_of(service: str, scope: Scope) -> str:
    """The service in whose form a fault is told: a client that sends forms, as SNS's does, can read XML only."""
    form = dict(scope["headers"]).get(b"content-type", b"").startswith(_FORM)
    return "sts" if form and service not in model.SERVICES else service


def _is_query(scope: Scope) -> bool:
    return scope["path"] == "/" and b"Action=" in scope["query_string"]


def _parse(service: str, scope: Scope, claimed: claims.Claim, body: bytes) -> parse.Call:
    """The operation and its parameters, by the protocol of the service that is asked."""
    if service not in model.SERVICES:
        raise faults.unknown_service(service, model.SERVICES)
    if service in model.QUERY_SERVICES:
        return parse.parse_query(service, body or scope["query_string"])
    if route := service in model.REST_SERVICES and _route(scope):
        return parse.parse_body(*route, body)
    if scope["method"] != "POST" or scope["path"] != "/":
        raise faults.unknown_operation("Operations are called by POST at the path /.", 404)
    kind = claimed.headers.get("content-type", _JSON)
    if kind != _JSON and kind.partition(";")[0].rstrip().lower() not in _JSON_TYPES:
        raise faults.unknown_operation(f"The Content-Type must be {_JSON}, not {kind[:64]!r}.", 404)
    return parse.parse_json(service, claimed.headers.get("x-amz-target", ""), body)


def _request_id() -> str:
    # As AWS has them, a random UUID. It names a request in the log and is no secret: the kernel's randomness costs a
    # switch to another thread.
    digits = f"{random.getrandbits(120):030x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-{digits[18:]}"


async def _send(send: Send, answer: reply.Reply) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _is_operation(scope: Scope) -> bool:
    """Whether an unsigned request looks like an AWS operation rather than S3's anonymous access."""
    return (
        scope["path"].startswith("/penstock/")
        or _route(scope) is not None
        or _is_query(scope)
        or (
            scope["method"] == "POST"
            and scope["path"] == "/"
            and any(k in {b"x-amz-target", b"content-type"} for k, _ in scope["headers"])
        )
    )


def _route(scope: Scope) -> tuple[str, str] | None:
    """Service and operation, where method and path name them."""
    return None if scope["path"] == "/" else model.routes().get((scope["method"], scope["path"]))
