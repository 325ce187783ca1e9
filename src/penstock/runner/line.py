"""The way from a runner to its servers: to the one of its home, or to another that shares the database with it.

When one does not answer, the next is tried. With no other than the home's nothing is sent as long as that one is down:
somebody else may listen where it was.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.home import Home
from penstock.job.run import Run
from penstock.runner.folder import RunFolder

#: Seconds to wait for an answer; less where another server may be asked instead.
_TIMEOUT, _TIMEOUT_OF_MANY = 30.0, 8.0


class Refused(Exception):
    """The server knows this run no more."""


class Line:
    """One connection, which is opened when it is needed. Not for several threads."""

    def __init__(self, run: Run, folder: RunFolder, timeout: float = _TIMEOUT_OF_MANY) -> None:
        self._run = run
        self._folder = folder
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self._turn = 0

    def post(self, what: str, body: bytes) -> dict[str, Any]:
        """Send a report and return the answer.

        Raises:
            Refused: The run is known no more.
            OSError: Nobody answers; the next call tries the next server.
            HTTPException: The answer tells nothing.
        """
        try:
            return self._post(what, body)
        except (OSError, http.client.HTTPException):
            self.close()
            self._turn += 1
            raise

    def close(self) -> None:
        """End the connection; the next report opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, what: str, body: bytes) -> dict[str, Any]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(
            "POST",
            f"/penstock/runs/{self._run.job_uid}/{self._run.host}/{what}",
            body,
            {"Authorization": f"Bearer {self._run.token}"},
        )
        response = self._connection.getresponse()
        content = response.read()
        if response.status in {401, 403, 404, 410}:
            raise Refused
        if response.status != 200:
            raise http.client.HTTPException(f"the server answered {response.status}")
        try:
            reply = json.loads(content)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):  # somebody else listens there
            raise http.client.HTTPException("the answer is none of a server's")
        return reply

    def _connect(self) -> http.client.HTTPConnection:
        addresses = self._addresses()
        if not addresses:
            raise ConnectionError("no server runs")
        address = urlsplit(addresses[self._turn % len(addresses)])
        make = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        timeout = self._timeout if len(addresses) > 1 else _TIMEOUT
        return make(address.hostname or "127.0.0.1", address.port, timeout=timeout)

    def _addresses(self) -> list[str]:
        """Where servers are now, that of this home first: it may have been started again on another port."""
        if self._run.home is None or self._run.far:
            return [self._run.report_url]
        server = Home(Path(self._run.home)).server()
        return list(dict.fromkeys([*([server.endpoint] if server else []), *self._folder.servers()]))
