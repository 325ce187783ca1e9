"""Which objects an input takes, and where each becomes a file: rules alone, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure


@dataclass(frozen=True)
class Input:
    """An S3 input as far as it is carried out, read from its AWS shape."""

    name: str
    uri: S3Uri
    local_path: str
    manifest: bool
    sharded: bool
    piped: bool = False
    """Streamed into FIFOs while the program runs, rather than fetched before."""
    gzipped: bool = False
    """Its objects are decompressed on the way."""


def read_input(shape: Mapping[str, Any]) -> Input | None:
    """The input that a member of ProcessingInputs asks for; None if the program fetches it itself (AppManaged).

    Raises:
        ClientFailure: It asks for what is not supported, or lacks what is required; the message names the input.
    """
    name = shape.get("InputName", "")
    if shape.get("AppManaged"):
        return None
    source = shape.get("S3Input")
    if source is None:
        raise ClientFailure(
            f"Input {name!r}: DatasetDefinition is not supported yet. Give an S3Input, or set AppManaged."
            if "DatasetDefinition" in shape
            else f"Input {name!r} has no S3Input. Give one, or set AppManaged.",
        )
    missing = [member for member in ("S3Uri", "LocalPath") if not source.get(member)]
    if missing:
        raise ClientFailure(
            f"Input {name!r} missing one or more required fields for SageMaker-managed S3Input: "
            f"{', '.join(missing)}.",
        )
    for member, supported in _SUPPORTED.items():
        value = source.get(member) or supported[0]
        if value not in supported:
            raise ClientFailure(
                f"Input {name!r}: {member} {value!r} is not supported yet. Use {' or '.join(supported)}.",
            )
    if source.get("S3CompressionType") == "Gzip" and source.get("S3InputMode") != "Pipe":
        raise ClientFailure(f"Input {name!r}: S3CompressionType Gzip needs the S3InputMode Pipe.")
    try:
        uri = S3Uri.parse(source["S3Uri"])
    except ClientFailure as error:
        raise ClientFailure(f"Input {name!r}: {error}") from None
    return Input(
        name=name,
        uri=uri,
        local_path=source["LocalPath"],
        manifest=source.get("S3DataType") == "ManifestFile",
        sharded=source.get("S3DataDistributionType") == "ShardedByS3Key",
        piped=source.get("S3InputMode") == "Pipe",
        gzipped=source.get("S3CompressionType") == "Gzip",
    )


#: Member of S3Input -> the values that are carried out, AWS's default first.
_SUPPORTED = {
    "S3DataType": ("S3Prefix", "ManifestFile"),
    "S3InputMode": ("File", "Pipe"),
    "S3DataDistributionType": ("FullyReplicated", "ShardedByS3Key"),
    "S3CompressionType": ("None", "Gzip"),
}


def relative_path(prefix: str, key: str) -> str:
    """The path below LocalPath of the object `key`, found by the string prefix `prefix`.

    The rule looks at one key at a time, so a file's place never depends on what else lies in the bucket:

    - the key is the prefix: its last part (`dir/data.csv` -> `data.csv`);
    - the prefix is a folder of the key, with or without its slash: what follows (`dir`, `dir/x/y` -> `x/y`);
    - else the prefix ends within a name and is cut at its last slash (`data/tr`, `data/train/a` -> `train/a`).

    AWS documents that S3Prefix takes every object whose key begins with the string. So siblings come along: for
    `dir` both `dir/a` (as `a`) and `dir2/b` (as `dir2/b`), for `data.csv` also `data.csv.bak`. A closing slash
    keeps siblings of a folder out.
    """
    folder = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    if key.startswith(folder):
        return key[len(folder) :]
    return key[prefix.rfind("/") + 1 :]


def read_manifest(data: bytes, uri: S3Uri) -> tuple[S3Uri, list[str]]:
    """The prefix of a manifest, and the entries which are to be appended to it as they are.

    Raises:
        ClientFailure: It is not `[{"prefix": "s3://..."}, "entry", ...]`; the message names the wrong entry.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        raise ClientFailure(f"{uri}: the manifest is not JSON ({error}). {_MANIFEST}") from None
    if not isinstance(content, list) or not content:
        raise ClientFailure(f"{uri}: the manifest is not a JSON array, or is empty. {_MANIFEST}")
    head, *entries = content
    if not isinstance(head, dict) or not isinstance(head.get("prefix"), str):
        raise ClientFailure(f"{uri}: the manifest's first element has no prefix. {_MANIFEST}")
    try:
        prefix = S3Uri.parse(head["prefix"])
    except ClientFailure as error:
        raise ClientFailure(f"{uri}: the manifest's prefix: {error}") from None
    if not entries:
        raise ClientFailure(f"{uri}: the manifest names no object. {_MANIFEST}")
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, str) or not entry or entry.endswith("/"):
            raise ClientFailure(
                f"{uri}: entry {number} of the manifest (line {_line(data, number)}), {entry!r}, is no object's "
                f"name. {_MANIFEST}"
            )
        if entry in seen:
            raise ClientFailure(
                f"{uri}: entry {number} of the manifest (line {_line(data, number)}), {entry!r}, repeats entry "
                f"{seen[entry]}."
            )
        seen[entry] = number
    return prefix, entries


def _line(data: bytes, number: int) -> int:
    """On which line of a manifest, which is a JSON array, its element `number` stands; both from 1."""
    text, decode = data.decode(json.detect_encoding(data)), json.JSONDecoder().raw_decode
    at = text.index("[") + 1
    for _ in range(number):
        _, at = decode(text, _BETWEEN.match(text, at).end())  # type: ignore[union-attr] # it matches anything
    return text.count("\n", 0, _BETWEEN.match(text, at).end()) + 1  # type: ignore[union-attr]


_BETWEEN = re.compile(r"[\s,]*")
_MANIFEST = 'It must be [{"prefix": "s3://bucket/folder/"}, "object", ...].'
