"""What an instance type has: processors, memory and graphics cards, by `instance_types.txt`.

Pure and quick to import; knows nothing of the machine. A row is looked for when it is asked for, since a runner wants
one of some two hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: Types of SageMaker's local mode, which mean the machine itself, without and with its graphics cards.
LOCAL, LOCAL_GPU = "local", "local_gpu"


@dataclass(frozen=True)
class Instance:
    """What one machine of a type has. None: all that the machine at hand has."""

    cpus: int | None
    memory_bytes: int | None
    gpus: int | None
    verified: bool = True
    """Whether processors and memory come from a source, rather than from somebody's memory."""


_WHOLE = {LOCAL: Instance(None, None, 0), LOCAL_GPU: Instance(None, None, None)}


@lru_cache
def instance(kind: str) -> Instance | None:
    """What an instance of type `kind` has (``ml.m5.xlarge``, ``local``); None for a type that isn't known."""
    if kind in _WHOLE:
        return _WHOLE[kind]
    for name, fields in _rows():
        if name == kind:
            cpus, gib, gpus, source = fields
            return Instance(int(cpus), int(float(gib) * (1 << 30)), int(gpus), source != "unverified")
    return None


def known() -> list[str]:
    """All types that have a row."""
    return [name for name, _ in _rows()]


def _rows() -> Iterator[tuple[str, list[str]]]:
    for line in Path(__file__).with_name("instance_types.txt").read_text("ascii").splitlines():
        if line and not line.startswith("#"):
            name, *fields = line.split()
            yield name, fields
