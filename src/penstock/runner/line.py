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
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.errors import ConfigurationError
from penstock.home import Home
from penstock.job.run import Run
from penstock.job.seal import NONCE, SEAL, digest_of, seal
from penstock.runner.folder import RunFolder

_Way = tuple[object, ...]

#: Seconds to wait for an answer; less where another server may be asked instead.
_TIMEOUT, _TIMEOUT_OF_MANY = 30.0, 8.0


class Refused(Exception):
    """The run has ended, or its server knows it no more."""


#: The connection of this process's last run, and which servers it might ask: the next run goes on with it.
_kept: list[tuple[_Way, http.client.HTTPConnection, float]] = []


class Line:
    """One connection, which is opened when it is needed. Not for several threads."""

    def __init__(self, run: Run, folder: RunFolder) -> None:
        self._run = run
        self._folder = folder
        self._digest = digest_of(run.token)
        self._turn = 0
        self._connection, self._most = _taken(_way(run))

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
        except (OSError, http.client.HTTPException):
            self.close()
            self._turn += 1
            raise

    def close(self) -> None:
        """End the connection; the next report opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def hand_on(self) -> None:
        """Leave the connection to the next run of this process, if there is one."""
        while _kept:
            _kept.pop()[1].close()
        if self._connection is not None:
            _kept.append((_way(self._run), self._connection, self._most))
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
            self.close()
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
            address = urlsplit(addresses[self._turn % len(addresses)])
            make = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
            self._connection = make(address.hostname or "127.0.0.1", address.port)
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


def _way(run: Run) -> _Way:
    """All that says where the servers of a run are: those that have it in common are the same."""
    return run.home, run.far, run.leased, run.report_url, tuple(run.others)


def _taken(way: _Way) -> tuple[http.client.HTTPConnection | None, float]:
    """What the last run has left, if it leads to the same servers and has not been closed at its other end.

    Returns:
        The connection, and how long to wait for an answer.
    """
    try:
        known, connection, most = _kept.pop()
    except IndexError:
        return None, _TIMEOUT
    quiet = select.poll()
    if known == way and connection.sock is not None:
        quiet.register(connection.sock, select.POLLIN)
        if not quiet.poll(0):
            return connection, most
    connection.close()
    return None, _TIMEOUT
