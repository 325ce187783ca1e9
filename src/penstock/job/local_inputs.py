"""Inputs that are folders of the machine, by a `file://` S3Uri: what may be asked for. Rules on texts alone, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

SCHEME = "file://"

#: What a mount can't do: the member of S3Input -> the one value that it can be.
_ONLY = {
    "S3DataType": "S3Prefix",
    "S3InputMode": "File",
    "S3DataDistributionType": "FullyReplicated",
    "S3CompressionType": "None",
}


def is_local(given: Mapping[str, Any]) -> bool:
    """Whether a member of ProcessingInputs names a place of the machine."""
    return str((given.get("S3Input") or {}).get("S3Uri", "")).startswith(SCHEME)


def path_of(uri: str) -> PurePosixPath:
    """The path that a `file://` URL means; percent-encoding is undone."""
    return PurePosixPath(unquote(uri.removeprefix(SCHEME)))


def broken_rules(inputs: Sequence[Mapping[str, Any]], allowed: Sequence[str]) -> Iterator[str]:
    """One sentence for each rule that the local ones among `inputs` break.

    Args:
        inputs: ProcessingInputs.
        allowed: The folders in which they may lie.
    """
    for one in filter(is_local, inputs):
        name, given = one["InputName"], one["S3Input"]
        path = path_of(given["S3Uri"])
        if not path.is_absolute() or ".." in path.parts:
            yield f"Input {name!r}: {given['S3Uri']!r} is no absolute path without '..', such as file:///data/train."
        elif not any(path.is_relative_to(folder) for folder in allowed):
            yield (
                f"Input {name!r}: {path} lies in none of the folders that may be inputs "
                f"({', '.join(allowed) or 'there are none'}). Add one to PENSTOCK_LOCAL_INPUTS and start the server "
                "anew, or upload the data."
            )
        for member, value in _ONLY.items():
            if given.get(member, value) != value:
                yield f"Input {name!r}: a file:// input is seen as it lies there, so {member} can only be {value}."
        if not one.get("AppManaged"):
            yield from _hidden(one, inputs)


def _hidden(local: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A FIFO is made on the disk, beside its LocalPath, where the mount of a local input would hide it."""
    for one in inputs:
        given = one.get("S3Input") or {}
        if one.get("AppManaged") or given.get("S3InputMode") != "Pipe" or is_local(one):
            continue
        place = PurePosixPath(given.get("LocalPath") or "/")
        if PurePosixPath(local["S3Input"].get("LocalPath") or "/") in place.parents:
            yield (
                f"Input {one['InputName']!r} is streamed, and its FIFOs would lie within the LocalPath of input "
                f"{local['InputName']!r}, a folder of the machine. Choose another LocalPath."
            )


def as_s3(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request with `file://` in its inputs written as `s3://`, of the same length: AWS's model knows no other."""
    inputs = params.get("ProcessingInputs")
    if not isinstance(inputs, list) or not any(isinstance(one, dict) and is_local(one) for one in inputs):
        return params
    return {**params, "ProcessingInputs": [_as_s3(one) for one in inputs]}


def _as_s3(one: Any) -> Any:
    if not isinstance(one, dict) or not is_local(one):
        return one
    source = one["S3Input"]
    return {**one, "S3Input": {**source, "S3Uri": f"s3://ab{source['S3Uri'].removeprefix(SCHEME)}"}}
