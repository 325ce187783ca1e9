"""How far a transfer is: told by runners, kept by the server while it lasts, shown by the SDK and the CLI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from penstock import units

_VERBS = {"download": "Downloading inputs", "upload": "Uploading outputs"}


@dataclass(frozen=True)
class Progress:
    """A moment of a transfer."""

    way: str
    """`download` or `upload`."""
    objects: int
    bytes: int
    total_objects: int | None = None
    """None: not known yet, the listing or the walk through the folders is under way."""
    total_bytes: int | None = None
    bytes_per_second: float | None = None
    """Of the last seconds; None before there is anything to tell."""

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None when that can't be told."""
        if self.total_bytes is None or self.bytes_per_second is None or self.bytes_per_second < 1:
            return None
        return max(0, self.total_bytes - self.bytes) / self.bytes_per_second

    def to_json(self) -> dict[str, Any]:
        """The form on the wire and on a job's record."""
        return {**asdict(self), "seconds_left": self.seconds_left}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Progress:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is not such a form.
        """
        whole = ("objects", "bytes", "total_objects", "total_bytes")
        counts = {name: data.get(name) for name in whole}
        rate = data.get("bytes_per_second")
        needed = counts["objects"] is not None and counts["bytes"] is not None and data.get("way") in _VERBS
        if not needed or not all(count is None or _is_count(count) for count in counts.values()):
            raise ValueError("not a transfer's progress")
        return cls(way=data["way"], bytes_per_second=None if rate is None else float(rate), **counts)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """One line for people: what, how far, how fast, how long still."""
        objects, done = f"{self.objects:,}", units.size(self.bytes)
        parts = [f"{objects} {'object' if self.objects == 1 else 'objects'}, {done}"]
        if self.total_objects is not None and self.total_bytes is not None:
            share = self.bytes / self.total_bytes if self.total_bytes else 1.0
            total = units.size(self.total_bytes)
            parts = [f"{objects} of {self.total_objects:,} objects, {done} of {total} ({share:.0%})"]
        if self.bytes_per_second is not None:
            parts.append(f"{units.size(self.bytes_per_second)}/s")
        if self.seconds_left is not None:
            seconds = max(1, round(self.seconds_left))
            parts.append(f"{f'{seconds} s' if seconds < 120 else units.duration(1000 * seconds)} left")
        return f"{_VERBS[self.way]}: {', '.join(parts)}"


def together(parts: Sequence[Progress]) -> Progress | None:
    """The transfers of several instances as one; while one of them still downloads, uploads don't count."""
    downloads = [one for one in parts if one.way == "download"]
    parts = downloads or parts
    if not parts:
        return None

    def total(name: str) -> Any:
        values = [getattr(one, name) for one in parts]
        return None if None in values else sum(values)

    names = ("objects", "bytes", "total_objects", "total_bytes", "bytes_per_second")
    return Progress(parts[0].way, **{name: total(name) for name in names})


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
