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
from penstock.job.lock import LARGEST, VARIABLE, EnvironmentLock, decoded, sha256_of
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
        return {"sha256": context.store.locks.add(_read(body), context.clock())}
    text = context.store.locks.get(name)
    if method != "GET" or text is None:
        raise invalid(f"There is no lock {name[:64]!r}.")
    return {"sha256": name, "lock": text}


def named(context: Context, request: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The SHA-256 of the lock that a request names, if it does; and a sentence if there is no such lock."""
    said = (request.get("Environment") or {}).get(VARIABLE)
    if said is None:
        return None, None
    text = find(context.store, said)
    if text is not None:
        return sha256_of(text), None
    return None, (
        f"environment.{VARIABLE}: {said!r} is neither a lock's SHA-256 nor the name of a job whose environment "
        "was made; `penstock describe JOB` tells both."
    )


def _read(body: bytes) -> str:
    if len(body) > LARGEST:
        raise invalid(f"A lock has at most {LARGEST} bytes.")
    try:
        text = decoded(body)
        EnvironmentLock.read(text)
    except ClientFailure as failure:
        raise invalid(str(failure)) from failure
    return text
