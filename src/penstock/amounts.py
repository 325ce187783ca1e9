"""Bytes and spans of time as people write them on a command line."""

from __future__ import annotations

import re

from penstock.errors import ConfigurationError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_bytes(text: str) -> int:
    """`500M` or `2G` -> a number of bytes.

    Raises:
        ConfigurationError: It is none.
    """
    match = re.fullmatch(r"(\d+)([KMGT]?)(i?B)?", text, re.IGNORECASE)
    if match is None:
        raise ConfigurationError(f"{text!r} is no number of bytes. Write it as 500M or 2G.")
    return int(match[1]) * _UNITS[match[2].upper()]


def read_seconds(text: str) -> int:
    """`30d` or `12h` -> seconds.

    Raises:
        ConfigurationError: It is none.
    """
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None:
        raise ConfigurationError(f"{text!r} is no span of time. Write it as 30d or 12h.")
    return int(match[1]) * _SECONDS[match[2]]
