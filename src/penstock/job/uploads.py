"""The upload manifest: one line of JSON for each object that a host has stored, with its checksum."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Upload:
    """An object that a host has stored."""

    output: str
    """The output's name."""
    uri: str
    size: int
    """Bytes."""
    sha256: str
    """Of its content, as hex."""
    at: int
    """When it was stored, milliseconds since the epoch."""

    def to_line(self) -> bytes:
        """Its line in the manifest."""
        return json.dumps(asdict(self)).encode() + b"\n"


def read_lines(data: bytes) -> list[Upload]:
    """What `to_line` wrote, several times; a last line that is not whole is passed over.

    Raises:
        ValueError: A line is no upload.
    """
    found = []
    for line in data.rpartition(b"\n")[0].splitlines():
        try:
            told = json.loads(line)
            upload = Upload(
                str(told["output"]), str(told["uri"]), int(told["size"]), str(told["sha256"]), int(told["at"])
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not an upload: {error}") from error
        found.append(upload)
    return found
