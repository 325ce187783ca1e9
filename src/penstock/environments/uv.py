"""Calling uv: one function, one error, no secrets in arguments or messages."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from penstock import disk
from penstock.environments.model import Asked, Progress, leave_if, never
from penstock.environments.settings import uv_environment
from penstock.errors import InternalFailure, PenstockError

#: Colours, and everything else that starts with an escape.
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")
#: What uv says on its way, which explains no error.
_STEPS = (
    "Downloading ",
    "Downloaded ",
    "Building ",
    "Built ",
    "Resolved ",
    "Prepared ",
    "Installed ",
    "Using Python ",
    "Bytecode compiled ",
)
#: What of it takes long enough to be told.
_TOLD = ("Downloading ", "Downloaded ", "Building ", "Prepared ", "Bytecode compiled ")
#: How it tells of a full disk, or of one of which its user has no more.
_FULL = ("No space left on device", "Disk quota exceeded")
_UNSATISFIABLE = "No solution found"
#: ... and that an index refused to answer, so that nobody knows what it has.
_UNASKED = "could not be queried"
#: Seconds between two looks at whether work is still wanted.
POLL = 0.1
#: Seconds that are given to the last lines of a process that has ended, should another hold its stderr open.
_LAST_LINES = 2.0


class UvError(PenstockError):
    """uv ended with an error. The text is uv's own explanation, on one line."""

    def __init__(self, explanation: str, *, unsatisfiable: bool) -> None:
        super().__init__(explanation)
        self.unsatisfiable = unsatisfiable
        """Whether uv looked everywhere and found that no versions fit together; else it could not look."""


def uv(
    *arguments: str | Path,
    folder: Path,
    stdin: str | None = None,
    progress: Progress | None = None,
    hold: int | None = None,
    extra: Mapping[str, str] | None = None,
    timeout: float | None = None,
    cancelled: Asked = never,
) -> str:
    """Run uv in `folder` and return what it wrote to stdout.

    Args:
        arguments: The subcommand and its options.
        folder: The working directory. What uv says of paths in it is told relative to it.
        stdin: What uv is to read.
        progress: Told of each download and build as it starts.
        hold: A descriptor of a lock that uv holds too, so that a folder stays locked after its builder was
            killed for as long as uv still writes to it.
        extra: Environment variables beyond the user's settings.
        timeout: Seconds after which uv is ended.
        cancelled: Polled while uv runs; uv and all that it has started are killed when it says True.

    Raises:
        UvError: uv failed.
        Cancelled: It was cancelled.
        InternalFailure: There is no uv on this machine, or its disk is full.
    """
    leave_if(cancelled)
    process = subprocess.Popen(
        [find_uv(), *map(str, arguments)],
        cwd=folder,
        env={**uv_environment(), **(extra or {})},
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=() if hold is None else (hold,),
        start_new_session=True,
        text=True,
        errors="replace",
    )
    assert process.stderr is not None  # it was asked for above
    # Taken from the process, since it is read line by line while `finish` reads the rest.
    stderr, process.stderr = process.stderr, None
    lines: list[str] = []
    listener = threading.Thread(target=_listen, args=(stderr, folder, lines, progress), daemon=True)
    listener.start()
    try:
        code, output = finish(process, stdin, timeout=timeout, cancelled=cancelled)
    finally:
        listener.join(_LAST_LINES)
    if code != 0:
        text = " ".join(lines) or f"uv ended with code {code} and said nothing."
        # The beginning says what failed, the end why.
        if any(words in text for words in _FULL):
            said = text if len(text) <= 400 else f"{text[:120]} ... {text[-260:]}"
            raise InternalFailure(
                f"The disk is full while the packages of an environment are installed: {said} "
                f"{disk.remedy(folder, 'PENSTOCK_ENVIRONMENTS, or UV_CACHE_DIR,')}"
            )
        short = text if len(text) <= 700 else f"{text[:250]} ... {text[-440:]}"
        raise UvError(short, unsatisfiable=_UNSATISFIABLE in text and _UNASKED not in text)
    return output


def finish(
    process: subprocess.Popen[str],
    stdin: str | None = None,
    *,
    timeout: float | None = None,
    cancelled: Asked,
) -> tuple[int, str]:
    """Wait for a process that leads a session of its own; returns its code and what it wrote to a piped stdout.

    Args:
        process: Started with `start_new_session`, so that its group is its own and can be killed.
        stdin: What it is to read.
        timeout: Seconds after which its group is killed; the code tells.
        cancelled: Polled every `POLL` seconds.

    Raises:
        Cancelled: It was cancelled. The group has been killed and the process is reaped.
    """
    end = None if timeout is None else time.monotonic() + timeout
    with process:
        try:
            while True:
                try:
                    output, _ = process.communicate(stdin, timeout=POLL)
                except subprocess.TimeoutExpired:
                    # What could not be sent yet is kept by the process and must not be given again.
                    stdin = None
                else:
                    return process.returncode, output or ""
                leave_if(cancelled)
                if end is not None and time.monotonic() >= end:
                    _kill(process)
        except BaseException:
            _kill(process)
            raise


def find_uv() -> str:
    """Path of the uv that was installed with Penstock, else the one on PATH.

    Raises:
        InternalFailure: There is none.
    """
    try:
        from uv import find_uv_bin  # noqa: PLC0415  # the package is an extra: the SDK is installed without it

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise InternalFailure(
            "uv, which builds environments, is not installed: pip install 'penstock[server]'."
        )
    return found


def clean(text: str) -> str:
    """A line of uv's without colours, decoration and passwords."""
    return (
        _PASSWORD.sub("****@", _ANSI.sub("", text))
        .strip(" \t\n│├╰─▶\u00d7")
        .removeprefix("error: ")
        .removeprefix("cause: ")
    )


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill the whole group; only while its leader is not reaped, for then nobody else can have its number."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _listen(stderr: IO[str], folder: Path, lines: list[str], progress: Progress | None) -> None:
    """Keep what uv says for an error, and tell of what takes long."""
    told = _Downloads()
    with stderr:
        for raw in stderr:
            line = _relative(clean(raw), folder)
            if line.startswith(_STEPS):
                if progress and line.startswith(_TOLD):
                    progress(told.counted(line))
            elif line:
                lines.append(line)


class _Downloads:
    """Counts what uv downloads: it tells of large packages only, as each begins and ends."""

    def __init__(self) -> None:
        self._sizes: dict[str, str] = {}
        self._done = 0

    def counted(self, line: str) -> str:
        """The line, with how many of the downloads that have begun are done."""
        what, _, rest = line.partition(" ")
        if what == "Downloading":
            name, _, size = rest.partition(" ")
            self._sizes[name] = size
        elif what == "Downloaded":
            self._done += 1
            return f"{line} {self._sizes.get(rest, '')}: {self._done} of {len(self._sizes)}".replace(
                "  ", " "
            )
        return line


def _relative(text: str, folder: Path) -> str:
    """The text with paths in `folder` as one would write them there: its user does not know where it lies."""
    for place in (folder.absolute().as_uri(), str(folder.absolute())):
        text = re.sub(re.escape(place) + r"(?![\w-]|\.\w)", ".", text)
    return text


def only_wheels(sources: Sequence[str] = ()) -> list[str]:
    """Options that forbid builds from source, but for `sources`."""
    return ["--only-binary", ":all:", *(option for name in sources for option in ("--no-binary", name))]
