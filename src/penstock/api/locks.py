"""Locks of environments: kept, told, and looked for when a job names one.

``POST /penstock/locks`` keeps the one in its body and answers its name, the SHA-256 of its text;
``GET /penstock/locks/<name>`` tells it. A job names one by the variable `PENSTOCK_LOCK` of its Environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.api.context import Context
from penstock.api.translate import invalid
from penstock.errors import ClientFailure
from penstock.job.lock import LARGEST, VARIABLE, EnvironmentLock
from penstock.store.locks import find
from penstock.wire.faults import access_denied

PATH = "/penstock/locks"


def serve(context: Context, method: str, path: str, body: bytes) -> dict[str, Any]:
    """Answer a request to `PATH`.

    Raises:
        Fault: A job asks, there is no such lock, or the body is none.
    """
    if context.caller is not None:
        raise access_denied("Locks are not for jobs' own credentials.")
    name = path.removeprefix(PATH).strip("/")
    if method == "POST" and not name:
        return {"sha256": context.store.locks.add(_read(body))}
    text = context.store.locks.get(name)
    if method != "GET" or text is None:
        raise invalid(f"There is no lock {name[:64]!r}.")
    return {"sha256": name, "lock": text}


def broken_rule(context: Context, request: Mapping[str, Any]) -> str | None:
    """A sentence if the request names a lock that is not there."""
    said = (request.get("Environment") or {}).get(VARIABLE)
    if said is None or find(context.store, said) is not None:
        return None
    return (
        f"environment.{VARIABLE}: {said!r} is neither a lock's SHA-256 nor the name of a job whose environment "
        "was made; `penstock describe JOB` tells both."
    )


def _read(body: bytes) -> str:
    if len(body) > LARGEST:
        raise invalid(f"A lock has at most {LARGEST} bytes.")
    try:
        text = body.decode("utf-8")
        EnvironmentLock.read(text)
    except UnicodeDecodeError as error:
        raise invalid("A lock is UTF-8 text.") from error
    except ClientFailure as failure:
        raise invalid(str(failure)) from failure
    return text
