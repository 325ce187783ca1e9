"""Inputs in a cache and environments in a folder, as jobs leave them, for tests of what removes them."""

import os

from penstock.data import pruning
from penstock.data.cache import Cache, digest_of, object_id, object_name
from penstock.data.listing import Entry
from penstock.environments.cache import cached, prefix_of
from penstock.environments.model import Environment
from penstock.environments.uses import RECORD

SIZE = 1 << 20


def put_input(folder, name, objects=(), used_at=1000.0, size=SIZE):
    """A tree of the objects of these names (its own, if none are given); those of one name are one object."""
    with Cache(folder, 1 << 30) as cache:
        tree = cache.obtain(digest_of(name), size, lambda: None)
        names = objects or (name,)
        identities = {one: object_id("endpoint", "b", Entry(one, size, "etag")) for one in names}
        for one in {*names} - set(cache.link_known(tree, identities)):
            content = one[:1].encode() * size
            (tree.files / one).write_bytes(content)
            tree.sums[one] = object_name(identities[one], size, [pruning.new_sum(content).digest()])
        tree.about = pruning.About(f"s3://b/{name}", len(objects) or 1, size * (len(objects) or 1))
        cache.settle()
    os.utime(folder / "trees" / digest_of(name), (used_at, used_at))


def put_environment(folder, digest, used_at=1000.0, size=SIZE, uses=None):
    def build(work, hold, progress):
        (work / "venv").mkdir()
        (work / "venv/pyvenv.cfg").touch()
        (work / "venv/data").write_bytes(bytes(size))
        (folder / "python").touch()
        interpreter = str(folder / "python")
        return Environment(
            digest, prefix_of(folder, digest), "3.11.2", interpreter, (), {}, name=f"of {digest}"
        )

    cached(folder, f"key-{digest}", build, progress=lambda _: None, uses=uses)
    os.utime(folder / digest / RECORD, (used_at, used_at))


def inputs_of(folder):
    return sorted(one.about.uri for one in pruning.listing(folder))
