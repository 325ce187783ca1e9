"""Calling uv: one function, one error, no secrets in arguments or messages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from penstock.environments.model import Progress
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
)
_UNSATISFIABLE = "No solution found"


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
) -> str:
    """Run uv in `folder` and return what it wrote to stdout.

    Args:
        arguments: The subcommand and its options.
        folder: The working directory.
        stdin: What uv is to read.
        progress: Told of each download and build as it starts.
        hold: A descriptor of a lock that uv holds too, so that a lock outlives its killed owner for as long as
            uv still writes.
        extra: Environment variables beyond the user's settings.
        timeout: Seconds after which uv is ended.

    Raises:
        UvError: uv failed.
        InternalFailure: There is no uv on this machine.
    """
    process = subprocess.Popen(
        [find_uv(), *map(str, arguments)],
        cwd=folder,
        env={**uv_environment(), **(extra or {})},
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=() if hold is None else (hold,),
        text=True,
        errors="replace",
    )
    lines: list[str] = []
    listener = threading.Thread(target=_listen, args=(process, lines, progress), daemon=True)
    timer = threading.Timer(timeout, process.kill) if timeout else None
    with process:
        listener.start()
        if timer:
            timer.start()
        try:
            if stdin is not None:
                assert process.stdin is not None  # it was asked for above
                # One that has already ended tells why below.
                with suppress(BrokenPipeError):
                    process.stdin.write(stdin)
                    process.stdin.close()
            assert process.stdout is not None  # as well
            output = process.stdout.read()
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            listener.join()
            if timer:
                timer.cancel()
    if code != 0:
        text = " ".join(lines) or f"uv ended with code {code} and said nothing."
        # The beginning says what failed, the end why.
        short = text if len(text) <= 700 else f"{text[:250]} ... {text[-440:]}"
        raise UvError(short, unsatisfiable=_UNSATISFIABLE in text)
    return output


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


def _listen(process: subprocess.Popen[str], lines: list[str], progress: Progress | None) -> None:
    """Keep what uv says for an error, and tell of what takes long."""
    assert process.stderr is not None  # it was asked for
    for raw in process.stderr:
        line = clean(raw)
        if line.startswith(_STEPS):
            if progress and line.startswith(("Downloading ", "Building ")):
                progress(line)
        elif line:
            lines.append(line)


def only_wheels(sources: Sequence[str] = ()) -> list[str]:
    """Options that forbid builds from source, but for `sources`."""
    return ["--only-binary", ":all:", *(option for name in sources for option in ("--no-binary", name))]
