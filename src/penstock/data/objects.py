"""The objects of an input and the places of their files, in tables that may be larger than memory.

They are SQLite's private, temporary ones: in memory while they are small, in unnamed files once they are not. So a
million objects take a runner some tens of MiB.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from penstock.data.listing import Entry
from penstock.data.pruning import BLOCK
from penstock.data.uri import S3Uri
from penstock.errors import ClientFailure

_CACHE_KIB = 4 << 10
_BATCH = 1000


class Objects:
    """What an input consists of: no key twice, in the order of the keys' bytes, whatever the store's order was."""

    def __init__(self) -> None:
        self._db = _table("CREATE TABLE object (key TEXT PRIMARY KEY, size INTEGER, etag TEXT) WITHOUT ROWID")
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Entry]:
        for row in self._db.execute("SELECT key, size, etag FROM object ORDER BY key"):
            yield Entry(*row)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries in; any thread may do so. What a store lists twice has changed meanwhile: the last counts."""
        rows = ((entry.key, entry.size, entry.etag) for entry in entries)
        while batch := list(islice(rows, _BATCH)):
            with self._lock:
                self._db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", batch)

    def remove(self, keys: Iterable[str]) -> None:
        """Leave out objects."""
        self._db.executemany("DELETE FROM object WHERE key = ?", ((key,) for key in keys))

    def clear(self) -> None:
        """Leave out all."""
        self._db.execute("DELETE FROM object")

    def keep_share(self, index: int, count: int) -> None:
        """Leave out what is not host `index`'s of `count`: they are dealt out in turn, in their order.

        Every object goes to one host, and the numbers differ by at most one.
        """
        numbered = "SELECT key, row_number() OVER (ORDER BY key) - 1 AS number FROM object"
        self._db.execute(
            f"DELETE FROM object WHERE key IN (SELECT key FROM ({numbered}) WHERE number % ? != ?)",  # noqa: S608
            (count, index),
        )

    def total(self) -> tuple[int, int]:
        """How many objects and bytes."""
        row: tuple[int, int] = self._db.execute(
            "SELECT count(*), ifnull(sum(size), 0) FROM object"
        ).fetchone()
        return row

    def room(self) -> int:
        """Bytes that they take on a disk at most, see `pruning.room_of`."""
        blocks = "SELECT ifnull(sum(max(1, (size + ?1 - 1) / ?1)), 0) FROM object"
        return int(self._db.execute(blocks, (BLOCK,)).fetchone()[0]) * BLOCK

    @property
    def versioned(self) -> bool:
        """Whether the store has told an ETag of each."""
        return self._db.execute("SELECT 1 FROM object WHERE etag IS NULL LIMIT 1").fetchone() is None

    def close(self) -> None:
        """Forget all."""
        self._db.close()


class Places:
    """What has been given a place below the inputs' folders, so that a clash is found before any transfer."""

    def __init__(self) -> None:
        self._db = _table(
            "CREATE TABLE file (path TEXT PRIMARY KEY, bucket TEXT, key TEXT) WITHOUT ROWID;"
            "CREATE TABLE folder (path TEXT PRIMARY KEY, bucket TEXT, key TEXT) WITHOUT ROWID"
        )
        self._files: list[tuple[str, str, str]] = []
        self._last = ""

    def add_file(self, path: str, uri: S3Uri) -> None:
        """Claim `path` for an object.

        Raises:
            ClientFailure: Another object is that file; the message names both. It may come with a later call.
        """
        self._files.append((path, uri.bucket, uri.key))
        if len(self._files) == _BATCH:
            self._take()
        self.add_folder(path.rpartition("/")[0], uri)

    def add_folder(self, path: str, uri: S3Uri) -> None:
        """Claim `path` and the folders above it as folders."""
        if path == self._last:  # as most are: keys come in their order
            return
        self._last = path
        while path:
            self._db.execute("INSERT OR IGNORE INTO folder VALUES (?, ?, ?)", (path, uri.bucket, uri.key))
            path = path.rpartition("/")[0]

    def check(self) -> None:
        """All have come.

        Raises:
            ClientFailure: Something is to be both a file and a folder, or two files; the message names both.
        """
        self._take()
        found = self._db.execute(
            "SELECT path, file.bucket, file.key, folder.bucket, folder.key "
            "FROM folder CROSS JOIN file USING (path) LIMIT 1"
        ).fetchone()
        if found is not None:
            raise _clash(found[0], S3Uri(*found[1:3]), S3Uri(*found[3:5]))

    @property
    def folders(self) -> Iterator[str]:
        """All folders that are needed, the outer ones first."""
        for (path,) in self._db.execute("SELECT path FROM folder ORDER BY path"):
            yield path

    def close(self) -> None:
        """Forget all."""
        self._db.close()

    def _take(self) -> None:
        rows, self._files = self._files, []
        try:
            self._db.executemany("INSERT INTO file VALUES (?, ?, ?)", rows)
        except sqlite3.IntegrityError:
            self._find_clash(rows)

    def _find_clash(self, rows: Sequence[tuple[str, str, str]]) -> None:
        taken: dict[str, tuple[str, str]] = {}
        for path, *place in rows:
            select = "SELECT bucket, key FROM file WHERE path = ?"
            other = taken.get(path) or self._db.execute(select, (path,)).fetchone()
            if other is not None and tuple(other) != tuple(place):
                raise _clash(path, S3Uri(*other), S3Uri(*place))
            taken[path] = (place[0], place[1])


def _clash(path: str, one: S3Uri, other: S3Uri) -> ClientFailure:
    return ClientFailure(
        f"{one} and {other} clash: both need {path}, and a name is one file or one folder. "
        "Rename one, or narrow the input's S3Uri.",
    )


def _table(sql: str) -> sqlite3.Connection:
    db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    db.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
        f"PRAGMA cache_size = -{_CACHE_KIB}; {sql}; BEGIN"
    )
    return db
