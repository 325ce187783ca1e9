"""One thing that `penstock doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing looked at. "weak": jobs run, but something is less than it could be."""

    what: str
    state: Literal["ok", "weak", "missing"]
    text: str
    remedy: str | None = None
