"""An image of this machine's own files, for tests of containers where no registry can be reached.

It has a shell, a few programs of every day, Python with its standard library, and two users.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from penstock.testing.scripts import PYTHON

_PROGRAMS = (
    *(
        "cat",
        "chmod",
        "chown",
        "cut",
        "env",
        "grep",
        "head",
        "id",
        "kill",
        "ln",
        "ls",
        "mkdir",
        "mv",
        "nice",
        "nproc",
        "od",
    ),
    *("readlink", "rm", "sed", "sh", "sleep", "test", "touch", "true"),
)
#: Large parts of the standard library that no test needs.
_LEFT_OUT = ("__phello__", "ensurepip", "idlelib", "lib2to3", "test", "tkinter", "turtledemo")
_FOLDERS = {
    **dict.fromkeys(("dev", "etc", "home", "mnt", "opt", "proc", "run", "sys", "usr", "var"), 0o755),
    "root": 0o700,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000::/home:/bin/sh\n",
    "etc/group": "root:x:0:\nworker:x:1000:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def write_host_image(path: Path) -> None:
    """Write the image's root folder to the tar file `path`, as `docker import` takes it."""
    found = (shutil.which(name, path="/usr/bin:/bin") for name in _PROGRAMS)
    programs = [program for program in found if program is not None]
    library = Path(_ask_python("import sysconfig; print(sysconfig.get_path('stdlib'))"))
    modules = [str(module) for module in library.glob("lib-dynload/*.so")]
    with tarfile.open(path, "w") as tar:
        for name, mode in _FOLDERS.items():
            _folder(tar, name, mode)
        for name in ("bin", "lib", "lib64", "sbin"):
            _folder(tar, f"usr/{name}", 0o755)
            _link(tar, name, f"usr/{name}")
        for program in (*programs, PYTHON):
            tar.add(Path(program).resolve(), f"usr/bin/{Path(program).name}")
        for needed in sorted(_libraries((*programs, PYTHON, *modules))):
            tar.add(
                Path(needed).resolve(),
                needed.removeprefix("/") if needed.startswith("/usr/") else f"usr{needed}",
            )
        tar.add(library, str(library).removeprefix("/"), filter=_wanted)
        for name, text in _FILES.items():
            about = tarfile.TarInfo(name)
            about.size = len(text)
            tar.addfile(about, io.BytesIO(text.encode()))


def _ask_python(source: str) -> str:
    return subprocess.run(
        [PYTHON, "-I", "-c", source], capture_output=True, text=True, check=True
    ).stdout.strip()


def _libraries(programs: Iterable[str]) -> set[str]:
    """What the programs are linked against, the loader included."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", said))


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = member.name.split("/")
    return None if any(part in _LEFT_OUT or part.startswith("config-") for part in parts) else member


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    about = tarfile.TarInfo(name)
    about.type, about.mode = tarfile.DIRTYPE, mode
    tar.addfile(about)


def _link(tar: tarfile.TarFile, name: str, to: str) -> None:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = tarfile.SYMTYPE, to
    tar.addfile(about)
