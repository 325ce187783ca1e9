"""``POST /penstock/prune``: has ended jobs and logs go at once, or tells which would, some at each request.

The body is an object; all its members may be missing:

    jobs, logs    whether they are meant (false)
    older_than    milliseconds since a job's end, in the place of what the settings say
    dry_run       only tell (false)
    after         the `next` of the answer before

The answer tells each in `gone`, and in `next` where to go on (None at the end).

``POST /penstock/prune/nodes``: has machines of the engine that are not the server's remove inputs and environments. The
body and what each tells says `retention/tidying.py`; the answer has them in `nodes`, by address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from penstock.api.context import Context
from penstock.api.translate import invalid, place, token
from penstock.retention.policy import Rule
from penstock.retention.records import Going, Limits, Place
from penstock.wire.faults import access_denied

PATH = "/penstock/prune"
NODES = f"{PATH}/nodes"

_FORM = {"jobs": bool, "logs": bool, "older_than": int, "dry_run": bool, "after": str}
_FORM_OF_NODES = {"inputs": bool, "environments": bool, "older_than": int, "dry_run": bool}


def serve(context: Context, method: str, body: bytes) -> dict[str, Any]:
    """Answer a request to `PATH`.

    Raises:
        Fault: A job asks, or the body is not as it must be.
    """
    asked = _asked(context, method, body, _FORM)
    if context.retention is None:
        raise invalid("There is no record of what is kept.")
    policy, records = context.retention
    now = context.clock()
    age = asked.get("older_than")
    # Who says an age means no size.
    jobs, logs = (policy.jobs, policy.logs) if age is None else (Rule(age), Rule(age))
    limits = Limits(
        jobs_before=jobs.before(now) if asked.get("jobs") else None,
        logs_before=logs.before(now) if asked.get("logs") else None,
        logs_most=logs.most if asked.get("logs") else None,
    )
    dry = bool(asked.get("dry_run"))
    gone, following = records.step(limits, _place(asked.get("after")), now, dry=dry)
    if gone and not dry:
        records.give_back()
    if following is None and not dry:
        records.tidy(now)
    return {
        "gone": [_told(one) for one in gone],
        "next": None if following is None else token(list(astuple(following))),
    }


def serve_nodes(context: Context, method: str, body: bytes) -> dict[str, Any]:
    """Answer a request to `NODES`. Raises as `serve` does."""
    return {"nodes": context.tidy_nodes(_asked(context, method, body, _FORM_OF_NODES))}


def _asked(context: Context, method: str, body: bytes, form: Mapping[str, type]) -> dict[str, Any]:
    if context.caller is not None:
        raise access_denied("What is kept is not for jobs' own credentials.")
    if method != "POST":
        raise invalid(f"{PATH} takes POST.")
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict) or asked.keys() - form:
        raise invalid(f"The body must be a JSON object with some of: {', '.join(form)}.")
    for name, kind in form.items():
        value = asked.get(name)
        wrong = type(value) is not kind or (isinstance(value, int) and not 0 <= value < 1 << 62)
        if value is not None and wrong:
            raise invalid(f"{name} must be of the type {kind.__name__}.")
    return asked


def _place(text: str | None) -> Place | None:
    match place(text):
        case None:
            return None
        case ["job" | "log" as kind, None, int() | None as left]:
            return Place(kind, None, left)
        case ["job" | "log" as kind, [int(at), str(name)], int() | None as left]:
            return Place(kind, (at, name), left)
    raise invalid("after is not the next of an answer before.")


def _told(one: Going) -> dict[str, Any]:
    return {"kind": one.kind, "name": one.job.name, "ended_at": one.job.ended_at, "bytes": one.bytes}
