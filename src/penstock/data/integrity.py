"""Proof that bytes arrived as they left: S3's ETags, where they are MD5 sums, and a file that is read but once.

The ETag of an object that was written whole is the MD5 of its bytes; of one that was written in N parts it is the
MD5 of the parts' MD5s, then `-N`. How large the parts were is told nowhere, so the sizes in use are tried. Objects
under KMS keys have ETags that only look so: one that differs proves nothing, one that fits proves all.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

_FORM = re.compile(r'"?([0-9a-f]{32})(?:-([1-9][0-9]*))?"?')
_MIB = 1 << 20
_BLOCK = 1 << 20
#: Part sizes of the tools in use, MiB: boto3 and the AWS CLI 8, rclone 5, s5cmd 50, mc and Hadoop 16 to 128 ...
_USUAL = (5, 6, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 250, 256, 500, 512, 1024)


def md5(data: bytes | memoryview) -> bytes:
    """The MD5 sum: it finds damage, and secures nothing."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def proves(etag: str | None, digests: Sequence[bytes]) -> bool:
    """Whether `etag` is that of the object whose parts have the MD5 sums `digests` (one: it was written whole)."""
    found = _FORM.fullmatch(etag or "")
    if found is None:
        return False
    if found[2] is None:
        return len(digests) == 1 and digests[0].hex() == found[1]
    return int(found[2]) == len(digests) and md5(b"".join(digests)).hex() == found[1]


def file_proves(etag: str | None, descriptor: int, size: int) -> bool:
    """Whether `etag` is that of the `size` bytes of an open file, whatever the parts were that it was written in."""
    found = _FORM.fullmatch(etag or "")
    if found is None:
        return False
    sizes = [max(size, 1)] if found[2] is None else _part_sizes(size, int(found[2]))
    return any(proves(etag, list(_digests(descriptor, size, part))) for part in sizes)


def _part_sizes(size: int, parts: int) -> list[int]:
    """The usual part sizes, and the smallest even one, that cut `size` bytes into `parts`."""
    even = -(-size // parts)
    tried = {mib * _MIB for mib in (*_USUAL, -(-even // _MIB))} | {mib * 1_000_000 for mib in _USUAL} | {even}
    return sorted(part for part in tried if -(-size // part) == parts)


def _digests(descriptor: int, size: int, part: int) -> Iterator[bytes]:
    for start in range(0, max(size, 1), part):
        digest, at, end = hashlib.md5(usedforsecurity=False), start, min(start + part, size)
        while at < end:
            data = os.pread(descriptor, min(_BLOCK, end - at), at)
            if not data:
                break
            digest.update(data)
            at += len(data)
        yield digest.digest()


class FileChangedError(Exception):
    """A file is not what it was when its reading began."""


class Source:
    """A file that is uploaded in parts: read from its beginning to `size`, summed as it is read.

    `part` is the size of the parts whose MD5 sums are wanted; None: they are not.

    The last read looks whether the file is still the same; it raises before the upload can be completed.
    """

    def __init__(self, file: BinaryIO, size: int, part: int | None) -> None:
        self._file, self._size, self._part = file, size, part
        self._began = os.fstat(file.fileno())
        self._sha256 = hashlib.sha256()
        self._digest = hashlib.md5(usedforsecurity=False)
        self._in_part = 0
        self.digests: list[bytes] = []
        """The MD5 sums of the parts, once all is read and if they are wanted."""
        self.changed = False
        self._at = 0
        file.seek(0)

    @property
    def sha256(self) -> str:
        """Of all that was read, as hex."""
        return self._sha256.hexdigest()

    def read(self, length: int = -1) -> bytes:
        """The next bytes, at most `length`; none at the end.

        Raises:
            FileChangedError: The file has got another size, or was written to, since the reading began.
        """
        left = self._size - self._at
        data = self._file.read(left if length < 0 else min(length, left))
        self._sum(data)
        if self._at == self._size or not data:
            now = os.fstat(self._file.fileno())
            self.changed = self._at < self._size or not unchanged(self._began, now)
            if self.changed:
                raise FileChangedError
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """To either end, before the first read: so a reader learns how much there is."""
        return self._size + offset if whence == os.SEEK_END else offset

    def _sum(self, data: bytes) -> None:
        self._sha256.update(data)
        self._at += len(data)
        if self._part is None:
            return
        rest = memoryview(data)
        while rest:
            piece, rest = rest[: self._part - self._in_part], rest[self._part - self._in_part :]
            self._digest.update(piece)
            self._in_part += len(piece)
            if self._in_part == self._part or (self._at == self._size and not rest):
                self.digests.append(self._digest.digest())
                self._digest, self._in_part = hashlib.md5(usedforsecurity=False), 0


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether two looks at a file show the same content, as far as the kernel tells."""
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
