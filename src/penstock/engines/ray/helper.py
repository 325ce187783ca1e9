"""The server's end of a helper process that may hang or die at any time: questions with a time limit.

A question is ``(number, method, arguments)`` and its answer ``(number, value, error)``, by
`multiprocessing.connection`; the helper's first message, with number 0, tells that it is ready or why it can't be.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from penstock.errors import PenstockError


class Unanswered(PenstockError):
    """There is no answer. Whether what was asked for was done is not known."""


class Helper:
    """One process, from its start to its end."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Run `module` with the connection's descriptor and `arguments`."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
                env={k: v for k, v in os.environ.items() if k != "PENSTOCK_DATABASE_URL"},
            )
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._ready: Future[Any] = Future()
        self._waiting: dict[int, Future[Any]] = {0: self._ready}
        self._ended: str | None = None
        self.ended = threading.Event()
        """Set when it is gone and all have their answers."""
        threading.Thread(target=self._listen, name=f"answers of {module}", daemon=True).start()

    def ready(self, timeout: float) -> None:
        """Return when it is ready.

        Raises:
            Unanswered: It can't be, as it says, or it is not within `timeout` seconds.
        """
        self._result(self._ready, timeout)

    def call(self, what: str, *arguments: Any, timeout: float) -> Any:
        """Ask, and return the answer.

        Raises:
            Unanswered: There is none within `timeout` seconds, or it tells of an error.
        """
        return self._result(self.ask(what, *arguments), timeout)

    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        """Ask, and don't wait for the answer."""
        future: Future[Any] = Future()
        with self._sending:
            number = next(self._numbers)
            self._waiting[number] = future
            try:
                if self._ended is not None:
                    raise OSError(self._ended)  # noqa: TRY301 - as if it had ended in this moment
                self._connection.send((number, what, arguments))
            except OSError as error:
                self._waiting.pop(number, None)
                future.set_exception(Unanswered(str(error)))
        return future

    def close(self) -> None:
        """End it."""
        self._process.kill()

    def _result(self, future: Future[Any], timeout: float) -> Any:
        try:
            return future.result(timeout)
        except TimeoutError:
            raise Unanswered(f"it does not answer within {timeout:.0f} s") from None

    def _listen(self) -> None:
        while True:
            try:
                number, value, error = self._connection.recv()
            except (EOFError, OSError):
                break
            future = self._waiting.pop(number, None)
            if future is not None:
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(Unanswered(error))
        code = self._process.wait()
        with self._sending:
            self._ended = f"the process that speaks to it has ended (exit code {code})"
            waiting, self._waiting = self._waiting, {}
            self._connection.close()
        for future in waiting.values():
            future.set_exception(Unanswered(self._ended))
        self.ended.set()
