"""Whether a program can be started, and why not: looked up before anything runs, where its walls will show it.

A program that can't be started fails as on AWS, with the exit code that a shell gives it: 127 for what is not there,
126 for what can't be executed. What is not known beforehand (a place in /tmp, say) is left to the walls.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from penstock.data.inputs import Fetched
from penstock.environments import Environment
from penstock.environments.layer import BASE, LAYER
from penstock.errors import AlgorithmFailure
from penstock.job.run import Run
from penstock.runner import contract

# os.path's questions and not pathlib's, which raise for a name that is too long, or a folder that is closed.
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH116, PTH123, PTH208

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_ML = PurePosixPath("/opt/ml")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
#: Where the walls have files of their own, or the program puts some.
_OPEN = ("/opt/ml", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp", "/var")  # noqa: S108 - the job's own
_NOWHERE = "/nonexistent"
_HEAD = 256
#: e_machine of ELF files, as elf.h numbers them.
_MACHINES = {3: "x86 (32 bit)", 21: "ppc64", 22: "s390x", 40: "ARM (32 bit)", 62: "x86-64", 183: "AArch64"}
_X86, _X86_64 = 3, 62
_EMULATORS = Path("/proc/sys/fs/binfmt_misc")
_SHELLS = ("bash", "sh", "dash")
#: How much of a shell's script is read for its line ends.
_LOOKED_AT = 64 << 10
_UNIX_LINES = "Save the file with Unix line ends (`dos2unix`, or `* text eol=lf` in .gitattributes)."


@dataclass(frozen=True)
class View:
    """Where on the machine the program's files lie."""

    environment: Environment
    ml: Path | None = None
    """What is seen as /opt/ml; None: nothing has been fetched yet."""
    fetched: Sequence[Fetched] = ()

    def machine(self, path: PurePosixPath) -> str | None:
        """Where `path` of the program lies; None where that can't be told."""
        # Strings and not paths: every run looks for its program, twice.
        text = str(path)
        if ".." in text.split("/"):
            return None
        for place, source in self._mounts:
            if _within(text, place):
                return f"{source}{text[len(place) :]}"
        return None if any(_within(text, place) for place in _OPEN) else f"{_NOWHERE}{text}"

    @cached_property
    def _mounts(self) -> list[tuple[str, str]]:
        mounts = [(str(PurePosixPath(one.local_path)), one.mount) for one in self.fetched if one.mount]
        mounts.sort(key=lambda one: -one[0].count("/"))
        mounts += [(place, str(self.environment.prefix)) for place in (LAYER, BASE)]
        mounts += [(place, place) for place in (*self.environment.visible, *_SYSTEM)]
        if self.ml is not None:
            mounts.append((str(_ML), str(self.ml)))
        return mounts


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def check_early(run: Run, environment: Environment) -> None:
    """Refuse a program that can't be there whatever the inputs bring.

    Raises:
        AlgorithmFailure: It is not there, or can't be executed.
    """
    argv = argv_of(run.request)
    if not argv:
        return
    path = _absolute(argv[0])
    given = [
        one.get("S3Input") or one.get("DatasetDefinition")
        for one in run.request.get("ProcessingInputs") or ()
    ]
    places = [PurePosixPath(one["LocalPath"]) for one in given if one and one.get("LocalPath")]
    inner = "/" in argv[0] and path.is_relative_to(_ML / "processing") and ".." not in path.parts
    if inner and not any(path.is_relative_to(place) for place in places):
        told = ", ".join(map(str, places)) or "none"
        raise _failure(
            _NOT_FOUND,
            f"{path} can't be there, since no input's LocalPath is a folder above it (they are: {told}). "
            "Correct ContainerEntrypoint, or add the input.",
        )
    search = contract.environment(run, (f"{LAYER}/bin", f"{BASE}/bin"), {})["PATH"]
    check(argv, search, View(environment))


def check(argv: Sequence[str], search: str, view: View) -> str:
    """Refuse a program that can't be started.

    Args:
        argv: The program and its arguments.
        search: Its PATH.
        view: Where its files lie.

    Returns:
        What to add when it ends with an error, for its cause may well be seen by now: the script that it is to run
        is not there, or has the line ends of Windows. Empty when there is nothing.

    Raises:
        AlgorithmFailure: It is not there, or can't be executed.
    """
    path = _absolute(argv[0]) if "/" in argv[0] else _search(argv[0], search, view)
    if path is None:
        return ""
    file = view.machine(path)
    # A link among the job's own files means something else within the walls.
    if file is None or (path.is_relative_to(_ML) and os.path.islink(file)):
        return ""
    hint = _look(path, file, search, view)
    return hint or _of_script(argv, path, view)


def argv_of(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The program and its arguments."""
    application = request["AppSpecification"]
    return (*(application.get("ContainerEntrypoint") or ()), *(application.get("ContainerArguments") or ()))


@lru_cache(maxsize=256)
def _absolute(text: str) -> PurePosixPath:
    """The path that a program in `/` means; two slashes at its beginning are one."""
    return PurePosixPath("/" + text.lstrip("/"))


def _failure(code: int, text: str) -> AlgorithmFailure:
    return AlgorithmFailure(code, f"The program can't be started: {text}")


def _search(name: str, search: str, view: View) -> PurePosixPath | None:
    """Where on the PATH the program is; None where that can't be told."""
    unknown = False
    for folder in search.split(":"):
        place = _absolute(f"{folder}/{name}")
        file = view.machine(place)
        if file is None:
            unknown = True
        elif os.path.isfile(file) and os.access(file, os.X_OK):
            return place
    if unknown:
        return None
    pythons = ""
    if name.startswith("python"):
        pythons = f" The environment has python, python3 and python{view.environment.minor}."
    raise _failure(
        _NOT_FOUND,
        f"{name!r} is not found on its PATH ({search}).{pythons} Correct ContainerEntrypoint, or name the program "
        "by its whole path.",
    )


def _look(path: PurePosixPath, file: str, search: str, view: View) -> str:
    """Refuse what can't be executed; the hint for what a shell will run."""
    try:
        found = os.stat(file)
    except OSError:
        raise _failure(_NOT_FOUND, f"{path} is not there. {_beside(path, view)}") from None
    if stat.S_ISDIR(found.st_mode):
        raise _failure(
            _NOT_EXECUTABLE, f"{path} is a folder. Name a program in it. {_beside(path / '_', view)}"
        )
    if not stat.S_ISREG(found.st_mode):
        raise _failure(_NOT_EXECUTABLE, f"{path} is no plain file. Correct ContainerEntrypoint.")
    head = _head(file)
    is_elf = head.startswith(b"\x7fELF")
    if is_elf:
        _check_machine(path, head)
    if not found.st_mode & 0o111:
        raise _failure(
            _NOT_EXECUTABLE,
            f"{path} is not executable (nothing that comes from S3 is). {_way_in(path, head, is_elf=is_elf)}; for a "
            "file:// input `chmod +x` will do.",
        )
    if is_elf:
        return ""
    if head.startswith(b"#!"):
        _check_interpreter(path, head, search, view)
        return ""
    if b"\0" in head or not head:
        raise _failure(
            _NOT_EXECUTABLE,
            f"{path} is no program: {'it is empty' if not head else 'neither ELF nor a script'}. Upload the program "
            "itself, or name its interpreter in ContainerEntrypoint.",
        )
    return f"{path} has no #! line, so /bin/sh ran it. Give it one, or name its interpreter in ContainerEntrypoint."


def _way_in(path: PurePosixPath, head: bytes, *, is_elf: bool) -> str:
    """How to have a file run that isn't executable."""
    if is_elf:
        return f'Copy it first: ContainerEntrypoint ["/bin/sh", "-c", "cp {path} /tmp/p; chmod +x /tmp/p; exec /tmp/p"]'
    named = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace").split() if head.startswith(b"#!") else []
    interpreter = PurePosixPath(named[-1] if named else "python3" if path.suffix == ".py" else "bash").name
    return f'Name an interpreter: ContainerEntrypoint ["{interpreter}", "{path}"]'


def _head(file: str) -> bytes:
    try:
        with open(file, "rb", buffering=0) as opened:
            return opened.read(_HEAD)
    except OSError:
        return b"\x7fELF"  # executable and yet not readable: what it is can't be told


@cache
def _own_machine() -> int:
    return _machine(_head("/proc/self/exe"))


def _check_machine(path: PurePosixPath, head: bytes) -> None:
    own, its = _own_machine(), _machine(head)
    if its == own or (its, own) == (_X86, _X86_64) or _runs_others():
        return
    raise _failure(
        _NOT_EXECUTABLE,
        f"{path} is built for {_MACHINES.get(its, f'machine {its}')}, and this machine is "
        f"{_MACHINES.get(own, f'machine {own}')} (exec format error). Build it for this machine.",
    )


def _machine(head: bytes) -> int:
    return int.from_bytes(head[18:20], "big" if head[5:6] == b"\2" else "little")


def _runs_others() -> bool:
    """Whether the kernel hands programs of other machines to an emulator."""
    try:
        return any(one.name not in {"register", "status"} for one in _EMULATORS.iterdir())
    except OSError:
        return False


def _check_interpreter(path: PurePosixPath, head: bytes, search: str, view: View) -> None:
    line = head[2:].split(b"\n", 1)[0].decode("utf-8", "replace")
    if line.endswith("\r"):
        raise _failure(
            _NOT_FOUND,
            f"the first line of {path}, '#!{line.strip()}', ends in CR LF, so its interpreter is looked for under a "
            f"name with a CR. {_UNIX_LINES}",
        )
    words = line.split()
    interpreter = _absolute(words[0] if words else "")
    file = view.machine(interpreter)
    if file is not None and not os.path.exists(file):
        raise _failure(
            _NOT_FOUND,
            f"the first line of {path} names the interpreter {interpreter}, which is not there. Correct it "
            f"(`#!/usr/bin/env {interpreter.name}` looks through PATH), or name the right one in ContainerEntrypoint.",
        )
    if interpreter.name == "env" and len(words) == 2 and "/" not in words[1]:
        try:
            _search(words[1], search, view)
        except AlgorithmFailure:
            raise _failure(
                _NOT_FOUND,
                f"the first line of {path} asks env for {words[1]!r}, which is not on the program's PATH ({search}). "
                "Correct it, or name the interpreter in ContainerEntrypoint.",
            ) from None


def _of_script(argv: Sequence[str], path: PurePosixPath, view: View) -> str:
    """What to say of an interpreter's script: it is not among the job's files, or no shell reads its lines well."""
    if not (path.name.startswith("python") or path.name in _SHELLS):
        return ""
    script = _absolute(next((word for word in argv[1:] if not word.startswith("-")), ""))
    file = view.machine(script)
    if "-c" in argv or "-m" in argv or not script.is_relative_to(_ML / "processing"):
        return ""
    if file is None:
        return ""
    if not os.path.lexists(file):
        return f"{script} is not there. {_beside(script, view)}"
    if path.name in _SHELLS and _has_windows_lines(file):
        return f"{script} has lines that end in CR LF, and {path.name} takes the CR for a part of them. {_UNIX_LINES}"
    return ""


def _has_windows_lines(file: str) -> bool:
    if os.path.islink(file) or not os.path.isfile(file):
        return False
    try:
        with open(file, "rb") as script:
            return b"\r\n" in script.read(_LOOKED_AT)
    except OSError:
        return False


def _beside(path: PurePosixPath, view: View) -> str:
    """What there is in the folder in which something was looked for."""
    folder = view.machine(path.parent)
    if folder is None or not path.is_relative_to(_ML):
        return "Correct ContainerEntrypoint."
    if not os.path.isdir(folder):
        inputs = ", ".join(one.local_path for one in view.fetched) or "none"
        return f"There is no folder {path.parent}; inputs lie at: {inputs}. Correct the path, or the input's LocalPath."
    names = sorted(os.listdir(folder))
    shown = ", ".join(map(shlex.quote, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"{path.parent} holds {shown or 'nothing'}. Correct the path, or upload the file."
