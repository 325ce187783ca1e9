"""The node's cache of inputs: what was downloaded once is mounted from here by every later job.

One folder for all runners of a home, who work on it at the same time and may be killed at any moment:

    objects/<2 digits>/<id>-<size>-<sum>   an object's content; hard links to it make up the trees
    trees/<digest>/files/                  an input, complete: what a job mounts, and never writes to
    trees/<digest>/about.json              whose it is; the folder's time of change is that of its last use
    incoming/<digest>/                     a tree that is being filled, by the one runner that holds its flock
    incoming/<digest>.<more>/              one that could not be made known; its runner's program has it mounted
    trash/                                 what is being removed
    usage, lock                            bytes of the disk that are taken; guards `usage` and the removal

The `files` of a tree in use are flocked (shared) by its runner, and the kernel lets go of them when that ends, however
it ends. Nothing enters `objects` or `trees` before its bytes are on the disk; since that takes a while, it happens
beside the program (`settle`), while the runner that fetched them mounts what it has in `incoming`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from penstock.data import pruning
from penstock.data.listing import Entry
from penstock.data.pruning import ID_DIGITS, lock

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.02


@dataclass
class Tree:
    """An input's files, held against removal until the cache is closed."""

    folder: Path
    """Moves once, from `incoming` to `trees`."""
    used: int
    """Holds `files` against removal."""
    filled: int | None
    """Holds the folder for the one who fills it; None once the tree is complete."""
    about: pruning.About | None = None
    sums: dict[str, str] = field(default_factory=dict)
    """Path below `files` -> name in `objects`, for what was downloaded into it."""

    @property
    def complete(self) -> bool:
        """Whether nothing is to be done for it."""
        return self.filled is None

    @property
    def files(self) -> Path:
        """What is to be mounted; to be filled by who obtained it, when it isn't complete."""
        return self.folder / "files"

    @property
    def temporary(self) -> Path:
        """A place on the same disk for files that are not whole yet."""
        return self.folder / "tmp"


class Cache:
    """One runner's hand on the cache. Close it when nothing mounts its trees any more."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`folder` is made when it is needed; `limit` in bytes."""
        self.folder, self.limit = folder, limit
        self._trees: dict[str, Tree] = {}
        self._settling: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._settling is not None:
            self._settling.join()
        for tree in [*self._trees.values()]:
            self.abandon(tree)

    def obtain(self, digest: str, size: int, check: Callable[[], None]) -> Tree | None:
        """The tree of this digest: complete, or claimed to be filled by the caller; None when it can't be kept.

        Waits while another runner fills it. Who wants several asks in the order of their digests, so that two never
        wait for each other.

        Args:
            digest: Says all of the content, see `digest_of`.
            size: Bytes of the disk that it takes at most, see `pruning.room_of`.
            check: Called several times a second while it waits; what it raises ends the waiting.
        """
        if digest in self._trees:
            return self._trees[digest]
        try:
            while (tree := self._use(digest) or self._claim(digest)) is None:
                check()
                time.sleep(_WAIT_SECONDS)
            self._trees[digest] = tree
            if tree.complete or self._reserve(tree, size):
                return tree
        except OSError as error:  # a job can do without
            _log.warning("Nothing can be kept in the cache %s: %s", self.folder, error)
        if digest in self._trees:
            self.abandon(self._trees[digest])
        return None

    def abandon(self, tree: Tree) -> None:
        """Let go of a tree, and remove it when it is not complete."""
        self._trees = {digest: one for digest, one in self._trees.items() if one is not tree}
        if tree.filled is not None:
            shutil.rmtree(tree.folder, ignore_errors=True)
            os.close(tree.filled)
        os.close(tree.used)

    def link_known(self, tree: Tree, wanted: Mapping[str, str]) -> set[str]:
        """Put into `tree` what the cache has already.

        Args:
            tree: One to be filled, with all its folders.
            wanted: Path below `files` -> the object's id.

        Returns:
            The paths that need not be downloaded.
        """
        known = {path.name[:ID_DIGITS]: path for path in pruning.objects(self.folder)}
        linked = set()
        for path, identifier in wanted.items():
            if identifier in known:
                with suppress(OSError):  # removed in this moment, or linked as often as the file system can
                    if known[identifier].stat().st_size == pruning.size_of(known[identifier]):
                        os.link(known[identifier], tree.files / path)
                        linked.add(path)
        return linked

    def give_back(self, size: int) -> None:
        """Remove at least `size` bytes, as far as so many are not in use."""
        try:
            with pruning.guarded(self.folder):
                kept = pruning.shrink(
                    self.folder, pruning.NO_LIMIT
                )  # what is promised is no space on the disk
                pruning.shrink(self.folder, max(0, kept - size))
        except OSError as error:
            _log.warning("Nothing can be removed from the cache %s: %s", self.folder, error)

    def settle(self) -> None:
        """Begin to make what was downloaded durable and known to others, and return at once."""
        filled = [tree for tree in self._trees.values() if not tree.complete]
        if filled:
            self._settling = threading.Thread(target=self._settle, args=(filled,), name="cache")
            self._settling.start()

    def _settle(self, trees: list[Tree]) -> None:
        for tree in trees:
            try:
                self._publish(tree)
            except OSError as error:
                _log.warning("%s could not be kept in the cache: %s", tree.folder, error)
                with suppress(OSError):  # the program has it mounted; others must not wait for its end
                    tree.folder = tree.folder.rename(f"{tree.folder}.{os.getpid()}.{time.monotonic_ns()}")

    def _publish(self, tree: Tree) -> None:
        assert tree.about is not None  # set by who filled it
        assert tree.filled is not None
        shutil.rmtree(tree.temporary, ignore_errors=True)
        tree.about.write(tree.folder)
        _sync(tree.used)
        for path, name in tree.sums.items():
            file = tree.files / path
            if file.stat().st_size != pruning.size_of(Path(name)):
                raise OSError(errno.EIO, f"{file} has another size than was written")
            with suppress(FileExistsError):
                _link(file, pruning.object_path(self.folder, name))
        target = self.folder / "trees" / tree.folder.name
        target.parent.mkdir(exist_ok=True)
        tree.folder.rename(target)
        os.close(tree.filled)
        tree.folder, tree.filled = target, None

    def _use(self, digest: str) -> Tree | None:
        folder = self.folder / "trees" / digest
        used = lock(folder / "files", fcntl.LOCK_SH)
        if used is None:
            return None
        os.utime(folder)
        return Tree(folder, used, None)

    def _claim(self, digest: str) -> Tree | None:
        """An empty tree of our own, or None while another one has it."""
        folder = self.folder / "incoming" / digest
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        filled = lock(folder, fcntl.LOCK_EX)
        if filled is None:
            return None
        try:
            tree = self._empty(folder, filled)
        except BaseException:
            os.close(filled)
            raise
        if tree is None:
            os.close(filled)
        return tree

    def _empty(self, folder: Path, filled: int) -> Tree | None:
        finished = self.folder / "trees" / folder.name
        if (finished / "files").is_dir():  # in between
            folder.rmdir()
            return None
        shutil.rmtree(finished, ignore_errors=True)
        for path in folder.iterdir():  # of one who was killed
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        tree = Tree(folder, -1, filled)
        for path in (tree.files, tree.temporary):
            path.mkdir(mode=0o755)
        used = lock(tree.files, fcntl.LOCK_SH)
        assert used is not None  # nobody else has any business in a claimed folder
        tree.used = used
        return tree

    def _reserve(self, tree: Tree, size: int) -> bool:
        """Whether there is room for `size` bytes more, if need be after what was used least recently is removed."""
        if size > self.limit:
            return False
        with pruning.guarded(self.folder):
            usage = pruning.read_usage(self.folder)
            if usage + size > self.limit:
                usage = pruning.shrink(self.folder, self.limit - size)
            if usage + size > self.limit:
                return False
            (tree.folder / "reserved").write_text(str(size))
            (self.folder / "usage").write_text(str(usage + size))
            return True


def digest_of(*parts: str) -> str:
    """A name for anything that these texts say."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:ID_DIGITS]


def object_id(endpoint: str, bucket: str, entry: Entry) -> str:
    """What tells one object's content from all others, also from another version of the same key."""
    return digest_of(endpoint, bucket, entry.key, entry.etag or "", str(entry.size))


def object_name(identifier: str, size: int, sums: list[bytes]) -> str:
    """The file name of an object whose chunks have these sums; it says all that `verify` needs."""
    return f"{identifier}-{size}-{pruning.sum_of(sums)}"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)


def _sync(descriptor: int) -> None:
    """Write the file system of `descriptor` to its disk: one call, where fsync would be one for each file."""
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
        raise OSError(ctypes.get_errno(), "syncfs failed")
