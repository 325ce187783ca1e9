"""Between an input and the node's cache: which inputs are kept there, under what name, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.data.cache import Cache, digest_of, object_id, object_name
from penstock.data.listing import Entry
from penstock.data.load import File, Load
from penstock.data.pruning import About
from penstock.job.run import S3Access

#: Below both of these an input is downloaded as fast as it is mounted, and takes no room of the cache.
LEAST_OBJECTS = 64
LEAST_BYTES = 4 << 20
#: Above this the names alone take too much of a runner's memory.
MOST_OBJECTS = 200_000


def obtain(
    loads: Sequence[Load],
    cache: Cache,
    access: S3Access,
    share: str,
    own: Sequence[str],
    streamed: Sequence[str],
    check: Callable[[], None],
    progress: Callable[[str], None],
) -> None:
    """Give a tree of the cache to each input that is worth one and that a mount of its own can show.

    Args:
        loads: All inputs, found but not laid out.
        cache: The node's.
        access: How the stores are reached; a bucket's endpoint is part of what an object is.
        share: Which part of a sharded input is wanted.
        own: LocalPaths that must lie on the disk and not on a mount.
        streamed: LocalPaths of inputs that are streamed; their FIFOs are made beside them, on the disk.
        check: Called while another job is waited for.
        progress: Is told of it.
    """
    wanted: dict[str, Load] = {}
    for load in loads:
        if _worth(load) and _apart(load, loads, own, streamed):
            wanted.setdefault(_digest(load, access, share), load)
    for digest, load in sorted(wanted.items()):  # the same order for all, see `Cache.obtain`
        load.tree = cache.obtain(digest, load.objects.room(), _telling(load, check, progress))
        if load.tree is not None and load.tree.complete:
            about = About.read(load.tree.folder)
            load.objects.clear()
            load.at_hand, load.at_hand_bytes = about.objects, about.bytes


def _telling(load: Load, check: Callable[[], None], progress: Callable[[str], None]) -> Callable[[], None]:
    told = False

    def wait() -> None:
        nonlocal told
        if not told:
            progress(
                f"Input {load.item.name!r}: another job fetches the same just now, and it is waited for."
            )
            told = True
        check()

    return wait


def link_known(loads: Sequence[Load], cache: Cache, access: S3Access) -> None:
    """Take what other inputs have brought already; it need not be downloaded again."""
    for load in loads:
        if load.tree is None or load.tree.complete:
            continue
        load.tree.about = About(str(load.item.uri), *load.objects.total())
        wanted = {load.relative(entry): entry for entry in load.objects}
        identifiers = {path: _identifier(load, entry, access) for path, entry in wanted.items()}
        known = [wanted[path] for path in cache.link_known(load.tree, identifiers)]
        load.objects.remove(entry.key for entry in known)
        load.at_hand += len(known)
        load.at_hand_bytes += sum(entry.size for entry in known)


def keep(load: Load, file: File, access: S3Access) -> None:
    """Tell a tree what was downloaded into it."""
    if load.tree is not None:
        identifier = _identifier(load, file.entry, access)
        sums = [digest for _, digest in sorted(file.sums.items())]
        load.tree.sums[load.relative(file.entry)] = object_name(identifier, file.entry.size, sums)


def _identifier(load: Load, entry: Entry, access: S3Access) -> str:
    return object_id(access.at(load.bucket_name).url, load.bucket_name, entry)


def _worth(load: Load) -> bool:
    if not load.objects.versioned:
        return False  # nothing tells a later version from this one
    objects, size = load.objects.total()
    return objects <= MOST_OBJECTS and (objects >= LEAST_OBJECTS or size >= LEAST_BYTES)


def _digest(load: Load, access: S3Access, share: str) -> str:
    assert load.source is not None  # it was found
    return digest_of(
        access.at(load.source.bucket).url,
        *(load.source.bucket, load.source.key, str(load.item.manifest), share if load.item.sharded else ""),
        *(f"{entry.key}\0{entry.etag}\0{entry.size}" for entry in load.objects),
    )


def _apart(load: Load, loads: Sequence[Load], own: Sequence[str], streamed: Sequence[str]) -> bool:
    """Whether the input's place can be a mount: nothing that it would hide, or that hides a part of it, is lost."""
    place = _parts(load.item.local_path)
    owned = [_parts(path) for path in own]
    if any(_within(_parts(path)[:-1], place) for path in streamed):
        return False
    if any(_within(place, other) for other in owned):
        return False
    others = [(_parts(other.item.local_path), other) for other in loads if other is not load]
    if any(place == other for other, _ in others):
        return False  # both share one folder
    inner = [other for other in (*owned, *(other for other, _ in others)) if _within(other, place)]
    if any(_reaches(load, place, other) for other in inner):
        return False
    return not any(_within(place, other) and _reaches(one, other, place) for other, one in others)


def _reaches(load: Load, place: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a file of the input at `place` lies at or below the place `other` within it."""
    prefix = "/".join(other[len(place) :])
    return any(f"{load.relative(entry)}/".startswith(f"{prefix}/") for entry in load.objects)


def _within(place: Sequence[str], other: Sequence[str]) -> bool:
    return place[: len(other)] == other


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
