"""Gzip undone on the way, a piece at a time: however much comes out of it, memory stays bounded."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator

from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure

_PIECE = 1 << 20


def expanded(chunks: Iterable[memoryview], uri: S3Uri) -> Iterator[bytes]:
    """What the gzip file that `chunks` add up to holds; it may have several members, or be empty.

    Raises:
        ClientFailure: It is no gzip file, is cut off or damaged; the message names `uri`.
    """
    with gzip.GzipFile(fileobj=io.BufferedReader(_Chunks(chunks))) as file:
        while True:
            try:
                data = file.read(_PIECE)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise ClientFailure(
                    f"{uri}: it is no sound gzip file ({error}). Upload it again, or leave S3CompressionType out.",
                ) from None
            if not data:
                return
            yield data


class _Chunks(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterable[memoryview]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """As of every raw file."""
        while not self._rest:
            following = next(self._chunks, None)
            if following is None:
                return 0
            self._rest = following
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
