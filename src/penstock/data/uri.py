"""S3 URIs, and the one safe way from an object's key or a LocalPath to a path on disk."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from penstock.errors import ClientFailure, InternalFailure

#: The part of the file system that inputs and outputs may use, as the program sees it.
PROCESSING = "/opt/ml/processing"

_FORM = re.compile(r"(https|s3)://([^/]+)/?(.*)", re.DOTALL)
_AWS_HOST = re.compile(r"(?:(.+)\.)?s3[.-](?:[a-z0-9-]+\.)*amazonaws\.com(?:\.cn)?")
_NAME_LIMIT = 255  # bytes in one file name, on every common Linux file system
_PATH_LIMIT = 4095  # bytes in one path, Linux's PATH_MAX without its closing NUL


@dataclass(frozen=True, slots=True)
class S3Uri:
    """A bucket and a key, or the beginning of keys; the key may be empty."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Read `s3://bucket/key`, or one of S3's https addresses of it.

        An https address of AWS may name the bucket in its host; any other host is an endpoint, and bucket and
        key follow it. Empty parts (`s3://bucket/a//b`, or a key that begins with `/`) are left out: keys with
        them can't be addressed in every store, and they come from a prefix that ended in a slash.

        Raises:
            ClientFailure: The text is no such URI, or names no bucket.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ClientFailure(f"{text!r} is not an S3 URI. Write it as s3://bucket/key.")
        scheme, bucket, key = match.groups()
        if scheme == "https":
            hosted = _AWS_HOST.fullmatch(bucket)
            key = unquote(key)
            if hosted and hosted[1]:
                bucket = hosted[1]
            else:
                bucket, _, key = key.partition("/")
        if not bucket:
            raise ClientFailure(f"{text!r} names no bucket. Write it as s3://bucket/key.")
        return cls(bucket, re.sub("/{2,}", "/", key).removeprefix("/"))

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def check_relative(root: Path, relative: str) -> None:
    """See that `relative` (parts joined by `/`) may become a path below `root`.

    Raises:
        ClientFailure: The text has a part that is empty, `.` or `..`, begins with `/`, holds a NUL or text that
            has no UTF-8 form, or is longer than file names may be. The message names it.
    """
    cause = _unfit(root, relative)
    if cause:
        raise ClientFailure(
            f"{relative!r} can't become a file: {cause}. Rename the object, or leave it out of the input.",
        )


def safe_join(root: Path, relative: str) -> Path:
    """The path of `relative` below `root`; different texts give different paths. Raises as `check_relative` does."""
    check_relative(root, relative)
    return Path(f"{root}/{relative}")


def _unfit(root: Path, relative: str) -> str | None:
    if relative.startswith("/"):
        return "it is an absolute path"
    if "\0" in relative:
        return "it holds a NUL character"
    try:
        encoded = relative.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    for part in encoded.split(b"/"):
        if part in {b"", b".", b".."}:
            return f"it has the part {part.decode()!r}"
        if len(part) > _NAME_LIMIT:
            return f"a name in it is longer than {_NAME_LIMIT} bytes"
    if len(os.fsencode(root)) + 1 + len(encoded) > _PATH_LIMIT:
        return f"its path is longer than {_PATH_LIMIT} bytes"
    return None


def local_folder(root: Path, local_path: str) -> Path:
    """Where the LocalPath of an input or output lies, `root` being the folder that the program sees as /opt/ml.

    Raises:
        ClientFailure: LocalPath is not below /opt/ml/processing, as SageMaker requires, or has a part `..`.
    """
    parts = [part for part in local_path.split("/") if part]
    if not local_path.startswith(PROCESSING) or parts[:3] != ["opt", "ml", "processing"]:
        raise ClientFailure(
            f"LocalPath {local_path!r} does not lie below {PROCESSING}/. Choose a folder there."
        )
    return safe_join(root, "/".join(parts[2:]))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises:
        InternalFailure: This machine can't make it, because its disk is full or a file is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InternalFailure(
            f"The folder {folder} can't be made: {error.strerror}. Check the disk of this machine, "
            "and that no input has a file of this name.",
        ) from None
