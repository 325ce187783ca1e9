"""The requirements of a source folder, found in the job's code before the program starts.

SageMaker's SDK packs a source folder as `sourcedir.tar.gz` and sends a script `runproc.sh` that unpacks it and
runs ``pip install -r requirements.txt``. Penstock installs them beforehand, once per content, so that pip finds
all of it there already; our own SDK's script then skips pip altogether.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from penstock import disk
from penstock.environments import is_nonsense, self_contained
from penstock.errors import ClientFailure

_SCRIPT = "runproc.sh"
_ARCHIVE = "sourcedir.tar.gz"
_CODE = "processing/input/code"
_LARGEST = 1 << 20
#: Marks by which pip knows another encoding than UTF-8.
_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")


@dataclass(frozen=True)
class Requirements:
    """A `requirements.txt` and the text files beside it that it may name (`-r`, `-c`)."""

    files: Mapping[str, bytes]

    @property
    def self_contained(self) -> bool:
        """Whether they can be installed from an index alone, each file that they name included."""
        named, looked_at = ["requirements.txt"], set()
        while named:
            text = self.files[name := named.pop()].decode("utf-8", "replace")
            looked_at.add(name)
            if not self_contained(text, self.files):
                return False
            named += [other for other in self.files if other in text and other not in looked_at]
        return True

    @property
    def sha256(self) -> str:
        """The hash of `requirements.txt`, by which the script knows that it is installed."""
        return hashlib.sha256(self.files["requirements.txt"]).hexdigest()

    def save(self, folder: Path) -> Path:
        """Write the files into `folder`; the path of `requirements.txt` there."""
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        return folder / "requirements.txt"


def find(request: Mapping[str, Any], ml: Path) -> Requirements | None:
    """The requirements that the job's script would install, or None.

    Raises:
        ClientFailure: The archive can't be read.
    """
    entrypoint = request["AppSpecification"].get("ContainerEntrypoint") or []
    if not entrypoint or PurePosixPath(entrypoint[-1]).name != _SCRIPT:
        return None
    archive = ml / _CODE / _ARCHIVE
    if not archive.is_file():
        return None
    try:
        with tarfile.open(archive) as tar:
            files = {
                name: file.read()
                for member in tar
                if member.isreg()
                and member.size <= _LARGEST
                and "/" not in (name := member.name.removeprefix("./"))
                and name.endswith(".txt")
                and (file := tar.extractfile(member)) is not None
            }
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        if disk.is_full(error):
            raise
        raise ClientFailure(
            f"The source archive {_ARCHIVE} of the job's code can't be read ({error}). Submit the job again."
        ) from error
    if "requirements.txt" not in files:
        return None
    check_text(files["requirements.txt"])
    return Requirements(files)


def check_text(data: bytes) -> None:
    """Refuse a requirements.txt that pip would refuse, before it is looked at by anything that costs time.

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
                f"Line {number} of requirements.txt can't be read: it is not UTF-8 ({error.reason} at its byte "
                f"{error.start + 1}). Save the file as UTF-8, then submit the job again."
            ) from None
        continued, begun = begun, text.endswith("\\")
        if not continued and is_nonsense(text):
            raise ClientFailure(
                f"Line {number} of requirements.txt, {text.strip()[:100]!r}, is no requirement. Write it as name==1.2, "
                "name>=1,<2 or name; then submit the job again."
            )
