"""Folders and files of this machine as inputs: seen where they lie, never copied. What may be is decided here."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.data.inputs import Fetched
from penstock.errors import ClientFailure, JobFailure
from penstock.job.local_inputs import broken_rules, is_local, path_of

#: Never an input, nor anything in them, whatever is allowed: they hold the machine's state, not data.
_NEVER = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/var/run")
#: A folder that holds one of these is somebody's home rather than data.
_KEYS = (".ssh", ".aws", ".gnupg", ".kube", ".docker", ".netrc", ".config")


def find(
    inputs: Sequence[Mapping[str, Any]], allowed: Sequence[str], closed: Sequence[Path]
) -> list[Fetched]:
    """The local ones among ProcessingInputs, each with what is to be mounted. Takes the same time for any size.

    Args:
        inputs: ProcessingInputs of the request.
        allowed: The folders in which they may lie, also once all symbolic links are followed.
        closed: Folders that no input may hold or lie in, such as Penstock's home.

    Raises:
        ClientFailure: One is not there or may not be an input.
    """
    for sentence in broken_rules(inputs, allowed):
        raise ClientFailure(sentence)
    return [_find(one, allowed, closed) for one in inputs if is_local(one) and not one.get("AppManaged")]


def _find(one: Mapping[str, Any], allowed: Sequence[str], closed: Sequence[Path]) -> Fetched:
    source = one["S3Input"]
    path = Path(path_of(source["S3Uri"]))
    try:
        real = path.resolve(strict=True)
        _check(real, [Path(folder).resolve() for folder in allowed], [folder.resolve() for folder in closed])
    except OSError as error:
        raise _failure(one, f"{path} can't be had: {error.strerror}. Correct the S3Uri.") from None
    except JobFailure as error:
        raise _failure(one, str(error)) from None
    return Fetched(
        one["InputName"], source["S3Uri"], None, None, 0.0, source["LocalPath"], str(real), local=True
    )


def _failure(one: Mapping[str, Any], cause: str) -> ClientFailure:
    return ClientFailure(f"Failed to download data. Input {one['InputName']!r}: {cause}")


def _check(real: Path, allowed: Sequence[Path], closed: Sequence[Path]) -> None:
    """Refuse a path, free of symbolic links, that leads to what is no data."""
    folders = [folder for folder in allowed if real.is_relative_to(folder)]
    if not folders:
        raise ClientFailure(f"{real} lies in none of the folders that may be inputs (PENSTOCK_LOCAL_INPUTS).")
    for folder in (*map(Path, _NEVER), *closed):
        if real.is_relative_to(folder) or folder.is_relative_to(real):
            raise ClientFailure(f"{real} can't be an input: it holds {folder} or lies in it.")
    if all(any(part.startswith(".") for part in real.relative_to(folder).parts) for folder in folders):
        raise ClientFailure(f"{real} can't be an input: it is hidden, as settings and keys are.")
    kind = real.stat().st_mode
    if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
        raise ClientFailure(f"{real} is neither a folder nor a file.")
    if not os.access(real, os.R_OK | (os.X_OK if stat.S_ISDIR(kind) else 0)):
        raise ClientFailure(f"{real} can't be read by user {os.geteuid()}, as whom Penstock runs.")
    for name in _KEYS:
        if (real / name).exists():
            raise ClientFailure(
                f"{real} can't be an input: it holds {name}. Name a folder of data within it."
            )


def has_mounts_below(folder: Path) -> bool:
    """Whether something is mounted below `folder`, which an overlay would not show."""
    inside = f"{str(folder).rstrip('/')}/".encode()
    for character in (b"\\", b" ", b"\t", b"\n"):  # as the kernel writes them
        inside = inside.replace(character, b"\\%03o" % ord(character))
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    places = [line.split()[4] for line in lines]
    return any(place.startswith(inside) and place != inside for place in places)
