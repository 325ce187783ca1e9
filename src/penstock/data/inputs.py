"""Inputs: objects of S3 become files below LocalPath, before the program starts."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from penstock import disk, units
from penstock.data import crew, shelf
from penstock.data.cache import Cache
from penstock.data.download import CHECK_SECONDS, download
from penstock.data.load import Load
from penstock.data.meter import Meter
from penstock.data.objects import Objects, Places
from penstock.data.plan import Input, read_input, read_manifest
from penstock.data.storage import MIB, Bucket, Opener, open_bucket
from penstock.data.uri import S3Uri, check_relative, local_folder, make_folder
from penstock.errors import ClientFailure, InternalFailure, JobFailure
from penstock.job.run import S3Access

#: What VolumeSizeInGB counts: EBS, which holds the volumes on AWS, has binary gigabytes.
GIB = 1 << 30
_MANIFEST_LIMIT = 256 * MIB


@dataclass(frozen=True)
class Fetched:
    """An input that has arrived on this host."""

    name: str
    uri: str
    objects: int | None
    """None: it was not counted, for it is local."""
    bytes: int | None
    seconds: float
    """From the start of the whole fetch to this input's last byte: inputs arrive side by side."""
    local_path: str
    """Where the program is to find it."""
    mount: str | None = None
    """The folder that must be seen there, by programs that share it; None: it lies in `root` already."""
    local: bool = False
    """Whether it is of the machine's own files, a folder or a single file, rather than from the cache."""


def fetch(
    inputs: Sequence[Mapping[str, Any]],
    *,
    index: int,
    count: int,
    root: Path,
    access: S3Access,
    progress: Callable[[str], None],
    meter: Meter | None = None,
    check: Callable[[], None] = lambda: None,
    opener: Opener = open_bucket,
    cache: Cache | None = None,
    own: Sequence[str] = (),
    volume: int | None = None,
) -> list[Fetched]:
    """Bring all inputs to this host; a file appears whole or not at all, and LocalPaths exist in any case.

    `plan.relative_path` and `Objects.keep_share` say which object becomes which file on which host. Keys that end in
    `/` (folder markers) become empty folders, on every host. AppManaged inputs are left alone, and those of
    S3InputMode Pipe, which are `pipe`'s.

    Args:
        inputs: ProcessingInputs of the CreateProcessingJob request.
        index: This host's number, from 0.
        count: How many hosts the job has.
        root: The folder that the program will see as /opt/ml.
        access: How to reach the store.
        progress: Called with a line for the log, on the caller's thread.
        meter: Is told what will be moved, and what has been.
        check: Called on the caller's thread several times a second; what it raises ends the work.
        opener: How buckets are opened.
        cache: Where inputs of some size are kept for the next job, see `shelf`.
        own: LocalPaths of which all files must lie in `root`, for the caller has use for them.
        volume: How many GiB the inputs may have together, VolumeSizeInGB; None: any number.

    Raises:
        ClientFailure: An input can't be had, asks for what is not supported, or all are larger than the volume.
        InternalFailure: This machine can't take it (its disk is full), or the store failed.
    """
    meter = meter or Meter()
    managed = [item for item in map(read_input, inputs) if item is not None]
    wanted = [item for item in managed if not item.piped]
    if not wanted:
        return []  # no thread for nothing
    streamed = [item.local_path for item in managed if item.piped]
    started = time.monotonic()
    with ExitStack() as stack:
        loads = [Load(item, _folder(item, root), meter) for item in wanted]
        for load in loads:
            stack.callback(load.objects.close)
            make_folder(load.folder)
        crew.work((partial(_find, load, opener, access) for load in loads), tick=check, every=CHECK_SECONDS)
        # Of those that are shared out it is not known yet what comes here.
        _check_volume([load for load in loads if not load.item.sharded], volume)
        if cache is not None:
            shelf.obtain(loads, cache, access, f"{index}/{count}", own, streamed, check, progress)
        _lay_out([load for load in loads if load.tree is None], root)
        for load in loads:
            if load.tree is not None:
                load.folder = load.tree.files
                _lay_out([load], load.folder)
        for load in loads:
            if load.item.sharded:
                load.objects.keep_share(index, count)
        _check_volume(loads, volume)
        if cache is not None:
            shelf.link_known(loads, cache, access)
        totals = [load.objects.total() for load in loads]
        objects, size = (sum(column) for column in zip(*totals, strict=True)) if totals else (0, 0)
        _check_space(size, root, cache)
        meter.expect(objects, size)
        if objects:
            temporary = root / ".incoming"
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            try:
                download(loads, access, temporary, progress, check)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return [
            _arrived(load, number, started, progress) for load, (number, _) in zip(loads, totals, strict=True)
        ]


def _folder(item: Input, root: Path) -> Path:
    try:
        return local_folder(root, item.local_path)
    except ClientFailure as error:
        raise ClientFailure(f"Input {item.name!r}: {error}") from None


def find(item: Input, opener: Opener, access: S3Access) -> tuple[Bucket, str, Objects]:
    """What an input consists of: its objects with their bucket, and that one's name. Raises as `fetch` does."""
    load = Load(item, Path(), Meter())
    try:
        _find(load, opener, access)
    except BaseException:
        load.objects.close()
        raise
    assert load.bucket is not None  # set by _find
    return load.bucket, load.bucket_name, load.objects


def _find(load: Load, opener: Opener, access: S3Access) -> None:
    """Ask the store what the input consists of."""
    uri = load.item.uri
    try:
        load.bucket = opener(access, uri.bucket)
        if load.item.manifest:
            prefix, entries = read_manifest(bytes(load.bucket.read(uri.key, _MANIFEST_LIMIT)), uri)
            load.bucket, load.source = opener(access, prefix.bucket), prefix
            head, add = load.bucket.head, load.objects.add
            crew.work(partial(lambda key: add([head(key)]), prefix.key + entry) for entry in entries)
        else:
            load.source = uri
            load.objects.add(load.bucket.list(uri.key))
    except JobFailure as error:
        raise load.failure(error) from None
    if not load.objects.total()[0]:
        raise load.failure(
            ClientFailure(f"{uri}: no object's key begins so. Correct the S3Uri, or upload the data."),
        )


def _lay_out(loads: Sequence[Load], root: Path) -> None:
    """Find a place for each object, and make all folders."""
    with closing(Places()) as places:
        for load in loads:
            try:
                load.objects.remove(list(_place(load, places, root)))
                places.check()
            except JobFailure as error:
                raise load.failure(error) from None
        for folder in places.folders:
            make_folder(root / folder)


def _place(load: Load, places: Places, root: Path) -> Iterator[str]:
    """Claim the places of all objects; yields the keys of those that are mere folders."""
    base = "" if load.folder == root else f"{load.folder.relative_to(root)}/"
    for entry in load.objects:
        uri = S3Uri(load.bucket_name, entry.key)
        relative = load.relative(entry)
        path = relative.removesuffix("/")
        try:
            if path:
                check_relative(load.folder, path)
        except ClientFailure as error:
            raise ClientFailure(f"{uri}: {error}") from None
        if path and path == relative:
            places.add_file(base + path, uri)
        else:
            places.add_folder((base + path).removesuffix("/"), uri)
            yield entry.key


def _check_volume(loads: Sequence[Load], volume: int | None) -> None:
    """Refuse inputs that the volume can't hold, whether they are in the cache or not: a job's end must not hang on it.

    Raises:
        ClientFailure: It names all sizes.
    """
    sizes = {load.item.name: load.objects.total()[1] + load.at_hand_bytes for load in loads}
    needed = sum(sizes.values())
    if volume is None or needed <= volume * GIB:
        return
    largest = sorted(sizes.items(), key=lambda one: -one[1])
    told = ", ".join(f"{name!r} {units.size(size)}" for name, size in largest[:8])
    told += f" and {len(largest) - 8} smaller ones" if len(largest) > 8 else ""
    raise ClientFailure(
        f"Failed to download data. The inputs have {units.size(needed)} ({told}), and VolumeSizeInGB is {volume}. "
        f"Ask for VolumeSizeInGB {math.ceil(needed / GIB) + 1} or more (volume_size_in_gb in the SDK), or stream "
        "large inputs by the S3InputMode Pipe."
    )


def _check_space(needed: int, root: Path, cache: Cache | None) -> None:
    if needed > (free := disk.free(root)) and cache is not None:
        cache.give_back(needed - free)
        free = disk.free(root)
    if needed > free:
        raise InternalFailure(
            f"Failed to download data. The inputs have {units.size(needed)}, more than there is room for. "
            f"{disk.remedy(root)}",
        )


def _arrived(load: Load, brought: int, started: float, progress: Callable[[str], None]) -> Fetched:
    seconds = max(0.0, load.done_at - started)
    item = load.item
    objects, size = brought + load.at_hand, load.done + load.at_hand_bytes
    cached = f", {load.at_hand} of them from the cache" if load.at_hand else ""
    progress(
        f"Input {item.name!r}: {item.uri} -> {item.local_path}, {objects} "
        f"{'object' if objects == 1 else 'objects'}{cached}, {units.size(size)}, {seconds:.2f} s.",
    )
    mount = str(load.tree.files) if load.tree is not None else None
    return Fetched(item.name, str(item.uri), objects, size, seconds, item.local_path, mount)
