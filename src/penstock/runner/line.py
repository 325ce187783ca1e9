"""The way from a runner to its servers: to the one of its home, or to another that shares the database with it.

When one does not answer, the next is tried. Only a server that has the run on record can seal its answer
(`job/seal.py`); any other is none: where a server was, somebody else may listen, or a server of another database.
"""

from __future__ import annotations

import hmac
import http.client
import json
import secrets
import select
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.errors import ConfigurationError
from penstock.home import Home
from penstock.job.run import Run
from penstock.job.seal import NONCE, SEAL, digest_of, seal
from penstock.runner.folder import RunFolder

#: Seconds to wait for an answer; less where another server may be asked instead.
_TIMEOUT, _TIMEOUT_OF_MANY = 30.0, 8.0
#: Connections to servers, by their addresses, that rest between the runs of this process: to a server each new one
#: costs as much as the report for which it is opened.
_resting: dict[str, http.client.HTTPConnection] = {}


class Refused(Exception):
    """The run has ended, or its server knows it no more."""


class Line:
    """One connection, which is opened or taken over when it is needed. Not for several threads."""

    def __init__(self, run: Run, folder: RunFolder) -> None:
        self._run = run
        self._folder = folder
        self._digest = digest_of(run.token)
        self._connection: http.client.HTTPConnection | None = None
        self._url = ""
        self._turn = 0
        self._most = _TIMEOUT

    def post(self, what: str, body: bytes, timeout: float = _TIMEOUT) -> dict[str, Any]:
        """Send a report and return the answer.

        Args:
            what: Its path below the run's.
            body: What it says.
            timeout: For how many seconds to wait at most; less where another server may be asked instead.

        Raises:
            Refused: The run is known no more.
            OSError: Nobody answers; the next call tries the next server.
            HTTPException: The answer tells nothing.
        """
        try:
            return self._post(what, body, timeout)
        except BaseException as error:
            if not isinstance(error, Refused):  # an answer may be on its way
                self._give_up()
            if isinstance(error, OSError | http.client.HTTPException):
                self._turn += 1
            raise

    def close(self) -> None:
        """Leave the connection to the next run, or else end it."""
        if self._connection is not None and self._connection.sock is not None and self._url not in _resting:
            _resting[self._url] = self._connection
            self._connection = None
        self._give_up()

    def _give_up(self) -> None:
        """End the connection; the next report opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, what: str, body: bytes, timeout: float) -> dict[str, Any]:
        connection = self._connected(timeout)
        nonce = secrets.token_hex(16)
        connection.request(
            "POST",
            f"/penstock/runs/{self._run.handle}/{what}",
            body,
            {"Authorization": f"Bearer {self._run.token}", NONCE: nonce},
        )
        response = connection.getresponse()
        content = response.read()
        if response.will_close:  # it would open itself again, to whoever listens there by then
            self._give_up()
        sealed = seal(self._digest, nonce, response.status, content)
        if not hmac.compare_digest(sealed.encode(), response.getheader(SEAL, "").encode()):
            if response.status in {403, 404} and self._unknown():
                raise Refused
            raise http.client.HTTPException("the answer is none of a server's that knows this run")
        if response.status == 410:
            raise Refused
        if response.status != 200:
            raise http.client.HTTPException(f"the server answered {response.status}")
        reply: dict[str, Any] = json.loads(content)
        return reply

    def _unknown(self) -> bool:
        """Whether one who does not know the run is right, though he can't prove it. Else its lease ends it in time."""
        # The home's own server holds the home's lock, so it is nobody else, and nobody shares its record.
        alone = self._run.home is not None and not self._run.leased
        return alone or not self._folder.run.exists()  # removed after the job's end

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        if self._connection is None:
            addresses = self._addresses()
            if not addresses:
                raise ConnectionError("no server runs")
            self._url = addresses[self._turn % len(addresses)]
            self._connection = _rested(self._url) or _made(self._url)
            self._most = _TIMEOUT_OF_MANY if len(addresses) > 1 else _TIMEOUT
        self._connection.timeout = min(timeout, self._most)
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._connection.timeout)
        return self._connection

    def _addresses(self) -> list[str]:
        """Where servers are now, that of this home first: it may have been started again on another port."""
        if self._run.home is None or self._run.far:
            return list(dict.fromkeys([self._run.report_url, *self._run.others]))
        try:
            server = Home(Path(self._run.home)).server()
        except ConfigurationError:
            server = None  # the home can't be read at present
        own = [server.endpoint] if server else []
        others = self._folder.servers() if self._run.leased else []  # else none shares the database
        return list(dict.fromkeys([*own, *others]))


def _made(url: str) -> http.client.HTTPConnection:
    address = urlsplit(url)
    make = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    return make(address.hostname or "127.0.0.1", address.port)


def _rested(url: str) -> http.client.HTTPConnection | None:
    """A connection of an earlier run; None where there is none, or its server has ended it meanwhile."""
    connection = _resting.pop(url, None)
    if connection is None:
        return None
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        if not poll.poll(0):
            return connection
    connection.close()
    return None
