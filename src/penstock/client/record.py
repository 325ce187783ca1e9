"""Penstock's own record of a job, richer than AWS's description: phases, hosts, environments, transfers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from penstock.client.local_server import Address
from penstock.errors import PenstockError, ServerUnavailable
from penstock.units import ordinal


def fetch(address: Address, name: str) -> dict[str, Any]:
    """The record of the job `name`, as the server keeps it. Times are milliseconds since the epoch.

    Raises:
        PenstockError: There is no such job.
        ServerUnavailable: The server does not answer.
    """
    return _get(address, f"/penstock/jobs/{name}")


def uploads(address: Address, name: str) -> Iterator[dict[str, Any]]:
    """All objects that the job `name` has stored, by their URIs; fetched in pages. Raises as `fetch` does.

    Each has the host, the output's name, uri, size (bytes), sha256 (hex) and at (milliseconds since the epoch).
    """
    path = f"/penstock/jobs/{name}/outputs"
    page = _get(address, path)
    while True:
        yield from page["uploads"]
        if page["next"] is None:
            return
        page = _get(address, f"{path}?after={quote(page['next'])}")


def queue(address: Address) -> dict[str, Any]:
    """What runs on the server's machine, what waits and why. Raises ServerUnavailable as `fetch` does.

    ``capacity`` and ``free`` are what the machine has and what is left of it; ``running`` the jobs that have been
    started, and ``waiting`` the others, the next first; ``nodes`` as `nodes` has them.
    """
    return _get(address, "/penstock/queue")


def nodes(address: Address) -> list[dict[str, Any]]:
    """The machines on which jobs run. Raises ServerUnavailable as `fetch` does.

    Each has its ``name``, ``address`` (empty for the server's own), ``engine``, whether it is ``alive``, what it has
    (``total``), what of that is ``taken``, and the ``jobs`` that are there with their instances.
    """
    found: list[dict[str, Any]] = _get(address, "/penstock/nodes")["nodes"]
    return found


def place(told: Mapping[str, Any]) -> str | None:
    """A job's place in the queue and why it waits, in words; None when it waits no more.

    Args:
        told: The job's record.
    """
    found = told.get("queue")
    return found and f"{ordinal(found['position'])} in the queue: {found['reason']}"


def phases(told: Mapping[str, Any], at: int) -> tuple[tuple[str, int, int], ...]:
    """Each phase that a job has come to: its name, when it began, and for how long (0 for the one that it ended in).

    Args:
        told: The job's record.
        at: The present moment, in milliseconds since the epoch as all times.
    """
    reached = sorted(told["phases"].items(), key=lambda item: item[1])
    ends = [began for _, began in reached[1:]] + [told["ended_at"] or at]
    return tuple(
        (phase, began, max(0, end - began)) for (phase, began), end in zip(reached, ends, strict=True)
    )


def untold_metrics(told: Mapping[str, Any]) -> list[str]:
    """A sentence for each metric that was looked for in an ended job's log and has no value.

    Args:
        told: The job's record.
    """
    return [
        f"The metric {one['name']!r} has no value: no line of the log fits {one['regex']!r} with a number in its "
        "first group ( )."
        for one in told.get("untold_metrics", ())  # a server of an older version tells none
    ]


def lock_of(told: dict[str, Any], address: Address) -> str:
    """The lock of the environment that a job ran in, as a file's text.

    Args:
        told: The job's record.
        address: The server that keeps it.

    Raises:
        PenstockError: It ran in none (yet).
        ServerUnavailable: The server does not answer.
    """
    return str(_ask(address, "GET", f"/penstock/locks/{lock_name(told)}")["lock"])


def lock_name(told: dict[str, Any]) -> str:
    """By which name (a SHA-256) the server keeps the lock of a job's environment.

    Raises:
        PenstockError: It ran in none (yet).
    """
    found = next((str(host["lock"]) for host in told["hosts"] if host.get("lock")), None)
    if found is None:
        raise PenstockError(
            f"The job {told['name']} has no environment on record: it runs in a container, or did not come so far."
        )
    return found


def keep_lock(address: Address, text: str) -> str:
    """Have the server keep a lock; the name (a SHA-256) by which jobs ask for it.

    Raises:
        PenstockError: It is no lock.
        ServerUnavailable: The server does not answer.
    """
    return str(_ask(address, "POST", "/penstock/locks", text.encode())["sha256"])


def prune(address: Address, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Have ended jobs and logs go, or with ``dry_run`` only be told; each with kind, name, ended_at and bytes.

    Args:
        address: The server.
        asked: ``jobs``, ``logs``, ``older_than`` (milliseconds; None: as the server's settings say), ``dry_run``.
    """
    following = None
    while True:
        body = json.dumps({**asked, "after": following}).encode()
        told = _ask(address, "POST", "/penstock/prune", body)
        yield from told["gone"]
        following = told["next"]
        if following is None:
            return


def prune_nodes(address: Address, asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Have inputs and environments go on machines other than the server's, or only be told: by the machines' addresses.

    Args:
        address: The server.
        asked: ``inputs``, ``environments``, ``older_than`` and ``dry_run`` as for `prune`.
    """
    return dict(_ask(address, "POST", "/penstock/prune/nodes", json.dumps(asked).encode())["nodes"])


def no_log(told: Mapping[str, Any]) -> str | None:
    """That a job's log is not kept any more, in words; None when it is.

    Args:
        told: The job's record.
    """
    removed = told.get("logs_removed_at")
    if removed is None:
        return None
    at = datetime.fromtimestamp(removed / 1000).astimezone()
    return (
        f"The log of {told['name']} was removed on {at:%Y-%m-%d %H:%M}: it is kept for some time after the job's end "
        "(PENSTOCK_KEEP_LOGS), or as long as there is room."
    )


def _get(address: Address, path: str) -> dict[str, Any]:
    return _ask(address, "GET", path)


class News:
    """Waits for news of a job at the local server, over one connection. A context manager, which closes it."""

    def __init__(self, address: Address, name: str) -> None:
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415 - as in `_ask`

        self._address, self._path = address, f"/penstock/jobs/{name}/news"
        self._http = URLLib3Session(proxies={})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def next(self, seconds: float, log: int | None = None) -> dict[str, Any]:
        """What is to be known, once the job has ended or its log has grown, or after so many seconds.

        Args:
            seconds: How long to wait at most (a minute is the server's own limit).
            log: How many bytes of its log are known; None: its end alone is news.

        Returns:
            `status` in AWS's words, whether it has `ended`, and `log`, how many bytes that has (0 if not asked for).

        Raises:
            PenstockError: There is no such job.
            ServerUnavailable: The server does not answer.
        """
        known = "" if log is None else f"&log={log}"
        return _ask(self._address, "GET", f"{self._path}?wait={seconds:.3f}{known}", http=self._http)


def _ask(
    address: Address, method: str, path: str, body: bytes | None = None, http: Any = None
) -> dict[str, Any]:
    # botocore comes with boto3, which the caller has loaded anyhow.
    from botocore.auth import SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415
    from botocore.exceptions import ConnectionError as NoConnection  # noqa: PLC0415 - neither is the other's base
    from botocore.exceptions import HTTPClientError  # noqa: PLC0415
    from botocore.httpsession import URLLib3Session  # noqa: PLC0415

    request = AWSRequest(method, address.endpoint + path, data=body)
    keys = Credentials(address.access_key_id, address.secret_access_key)
    SigV4Auth(keys, "sagemaker", address.region).add_auth(request)
    try:
        response = (http or URLLib3Session(proxies={})).send(request.prepare())
    except (HTTPClientError, NoConnection) as error:
        raise ServerUnavailable(
            f"The Penstock server at {address.endpoint} does not answer: {error}"
        ) from error
    try:
        answer = json.loads(response.content)
    except ValueError:
        answer = None
    if response.status_code >= 500 or not isinstance(
        answer, dict
    ):  # its database is away, or a balancer answers
        why = f": {answer['message']}" if isinstance(answer, dict) and answer.get("message") else ""
        raise ServerUnavailable(
            f"The Penstock server at {address.endpoint} can't answer now: status {response.status_code}{why}"
        )
    if response.status_code != 200:
        raise PenstockError(str(answer.get("message") or answer))
    return answer
