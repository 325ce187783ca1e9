"""An input on its way, and the files that its objects become."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from penstock.data.cache import Tree
from penstock.data.listing import Entry
from penstock.data.meter import Meter
from penstock.data.objects import Objects
from penstock.data.plan import Input, relative_path
from penstock.data.storage import Bucket
from penstock.data.uri import S3Uri
from penstock.errors import JobFailure

_counting = threading.Lock()


@dataclass(slots=True)
class File:
    """An object and the file that it becomes."""

    entry: Entry
    target: str
    sums: dict[int, bytes] = field(default_factory=dict)
    """Start of a part -> its sum, for what the cache keeps."""


@dataclass
class Load:
    """An input on its way."""

    item: Input
    folder: Path
    meter: Meter
    bucket: Bucket | None = None
    source: S3Uri | None = None
    """What keys are relative to: the input's URI, or the prefix of its manifest."""
    objects: Objects = field(default_factory=Objects)
    done: int = 0
    done_at: float = 0.0
    tree: Tree | None = None
    """Where it lies in the cache, if it does."""
    at_hand: int = 0
    """Objects that the cache had."""
    at_hand_bytes: int = 0

    @property
    def bucket_name(self) -> str:
        """The bucket in which its objects lie."""
        return (self.source or self.item.uri).bucket

    def relative(self, entry: Entry) -> str:
        """The path below LocalPath; a folder's ends in a slash, or is empty."""
        assert self.source is not None  # set by _find
        prefix = self.source.key
        return entry.key[len(prefix) :] if self.item.manifest else relative_path(prefix, entry.key)

    def failure(self, error: JobFailure) -> JobFailure:
        """The error as the job's reason, in AWS's words for this."""
        return type(error)(f"Failed to download data. Input {self.item.name!r}: {error}")

    def count(self, size: int, objects: int) -> None:
        """So many bytes more have arrived, and with them so many objects are complete."""
        self.meter.add(size, objects)
        with _counting:
            self.done += size
            self.done_at = time.monotonic()
