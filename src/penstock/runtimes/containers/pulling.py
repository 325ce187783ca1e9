"""What an engine tells while it pulls, as a few lines for a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from penstock.units import size

#: Seconds between two lines.
_PAUSE = 2.0
_DONE = ("pull complete", "already exists", "download complete", "layer already exists")


class Pulling:
    """How far a pull is. Engines tell each layer's state and, some of them, its bytes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at = clock()
        self._layers: dict[str, tuple[int, int, bool]] = {}

    def take(self, line: Mapping[str, Any]) -> Iterator[str]:
        """Take what the engine said; yields a line for the log when one is due."""
        name, status = str(line.get("id") or ""), str(line.get("status") or "")
        detail = line.get("progressDetail") or {}
        if name and _is_layer(status):
            current, total, _ = self._layers.get(name, (0, 0, False))
            done = status.lower().startswith(_DONE)
            total = int(detail.get("total") or total) if "extract" not in status.lower() else total
            current = int(detail.get("current") or current) if "extract" not in status.lower() else total
            self._layers[name] = (total if done else current, total, done)
        if self._layers and self._clock() - self._said_at >= _PAUSE:
            self._said_at = self._clock()
            yield str(self)

    def __str__(self) -> str:
        """`3 of 7 layers, 12.0 MiB of 80.1 MiB`; without the bytes where the engine does not tell them."""
        layers = self._layers.values()
        text = f"{sum(done for _, _, done in layers)} of {len(layers)} layers"
        current, total = sum(one[0] for one in layers), sum(one[1] for one in layers)
        return f"{text}, {size(current)} of {size(total)}" if total else text


def _is_layer(status: str) -> bool:
    return not status.lower().startswith(("pulling from", "digest", "status"))
