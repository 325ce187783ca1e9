"""The requirements of a source folder, found in the job's code before the program starts.

SageMaker's SDK packs a source folder as `sourcedir.tar.gz` and sends a script `runproc.sh` that unpacks it and has
the requirements file that it names installed. Penstock installs them beforehand, once per content, so that pip finds
all of it there already; our own SDK's script then skips pip altogether. It knows `pyproject.toml` and `uv.lock`, too,
which SageMaker's passes over.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from penstock import disk
from penstock.environments import dependencies, is_nonsense, self_contained
from penstock.errors import ClientFailure

#: The variable by which our SDK's script knows what has been installed: the file's SHA-256.
PREPARED = "PENSTOCK_REQUIREMENTS_SHA256"

_SCRIPT = "runproc.sh"
_ARCHIVE = "sourcedir.tar.gz"
_CODE = "processing/input/code"
_LARGEST = 1 << 20
_DEFAULT = "requirements.txt"
_PROJECT, _LOCK = "pyproject.toml", "uv.lock"
#: How the scripts of all SDKs ask for the requirements file, by its path in the source folder.
_ASKED = re.compile(r"""if \[\[ -f (?P<quote>['"]?)(?P<name>[\w@+ ./-]+)(?P=quote) \]\]""")
#: Marks by which pip knows another encoding than UTF-8.
_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")


@dataclass(frozen=True)
class Requirements:
    """A requirements file and the text files beside it that it may name (`-r`, `-c`); or a project's two files."""

    files: Mapping[str, bytes]
    """By their names in their folder."""
    name: str = _DEFAULT
    """Which of them the others belong to."""
    exact: bool = False
    """Whether it is a whole lock."""
    made: bool = False
    """Whether it was made of a project's files: the job's script knows nothing of it."""

    @property
    def self_contained(self) -> bool:
        """Whether they can be installed from an index alone, each file that they name included."""
        named, looked_at = [self.name], set()
        while named:
            text = self.files[name := named.pop()].decode("utf-8", "replace")
            looked_at.add(name)
            if not self_contained(text, self.files):
                return False
            named += [other for other in self.files if other in text and other not in looked_at]
        return True

    @property
    def sha256(self) -> str:
        """The hash of the file, by which the script knows that it is installed."""
        return hashlib.sha256(self.files[self.name]).hexdigest()

    def save(self, folder: Path) -> Path:
        """Write the files into `folder`; the path of the requirements file there."""
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        return folder / self.name


def find(
    request: Mapping[str, Any],
    ml: Path,
    *,
    work: Path,
    python: str,
    note: Callable[[str], None],
    due: Callable[[], bool],
) -> Requirements | None:
    """The requirements that the job's script would install, or those of the project that our script brings.

    Args:
        request: The job's request.
        ml: The folder that its program will see as `/opt/ml`, with its code.
        work: A folder of the run's own; made when there is something to write.
        python: The environment's version, `3.11.7`.
        note: Told what of the code can't be read: what comes of it is for the script to find.
        due: Asked again and again whether the run must end.

    Raises:
        ClientFailure: The project's files can't be read, or name what is not in an index.
        Cancelled: `due` said True.
    """
    entrypoint = request["AppSpecification"].get("ContainerEntrypoint") or []
    if not entrypoint or PurePosixPath(entrypoint[-1]).name != _SCRIPT:
        return None
    archive = ml / _CODE / _ARCHIVE
    if not archive.is_file():
        return None
    script = _script(entrypoint[-1], ml)
    asked = _ASKED.search(script)
    path = PurePosixPath(asked["name"] if asked else _DEFAULT)
    files = _read(archive, str(path.parent), note)
    if path.name in files:
        check_text(files[path.name], path.name)
        texts = {name: data for name, data in files.items() if name not in {_PROJECT, _LOCK}}
        return Requirements(texts, path.name)
    # A script that knows nothing of it was written for images that have all it needs.
    if _PROJECT in files and PREPARED in script:
        return _of_project(files, work, python, note, due)
    return None


def _script(path: str, ml: Path) -> str:
    """What the script says; nothing when it is not among the inputs."""
    try:
        place = ml / PurePosixPath(path).relative_to("/opt/ml")
        with place.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _read(archive: Path, folder: str, note: Callable[[str], None]) -> dict[str, bytes]:
    """The text files of one folder of the archive. As for the script's tar, what comes before a damage is there."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                wanted = path.suffix in {".txt", ".in"} or path.name in {_PROJECT, _LOCK}
                if wanted and str(path.parent) == folder and member.isreg() and member.size <= _LARGEST:
                    file = tar.extractfile(member)
                    assert file is not None  # a regular file has content
                    files[path.name] = file.read()
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        if disk.is_full(error):
            raise
        note(
            f"The source archive {_ARCHIVE} can't be read to its end ({error}); its script will meet it as it is."
        )
    return files


def _of_project(
    files: Mapping[str, bytes],
    work: Path,
    python: str,
    note: Callable[[str], None],
    due: Callable[[], bool],
) -> Requirements | None:
    name = _LOCK if _LOCK in files else _PROJECT
    project = Requirements({one: files[one] for one in (_PROJECT, _LOCK) if one in files}, name)
    project.save(work)
    text = dependencies(work, python, cancelled=due)
    if text is None:
        note(f"{_PROJECT} names no dependencies, or leaves them to its build: nothing is installed for it.")
        return None
    found = Requirements({f"{name}.txt": text.encode()}, f"{name}.txt", exact=name == _LOCK, made=True)
    if not found.self_contained:
        raise ClientFailure(
            f"{name} names more than packages of an index, as a folder, a URL or a git repository. Put what it needs "
            f"into a {_DEFAULT} in its place, which the job's own pip installs."
        )
    return found


def check_text(data: bytes, name: str = _DEFAULT) -> None:
    """Refuse a requirements file that pip would refuse, before it is looked at by anything that costs time.

    Raises:
        ClientFailure: It is no text, or a line is no requirement; the message names the line.
    """
    lines = data.splitlines()
    begun = False
    if data.startswith(_OTHER_MARKS) or any(_CODING.match(line) for line in lines[:2]):
        return  # pip reads it in the encoding that it declares
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ClientFailure(
                f"Line {number} of {name} can't be read: it is not UTF-8 ({error.reason} at its byte "
                f"{error.start + 1}). Save the file as UTF-8, then submit the job again."
            ) from None
        continued, begun = begun, text.endswith("\\")
        if not continued and is_nonsense(text):
            raise ClientFailure(
                f"Line {number} of {name}, {text.strip()[:100]!r}, is no requirement. Write it as name==1.2, "
                "name>=1,<2 or name; then submit the job again."
            )
