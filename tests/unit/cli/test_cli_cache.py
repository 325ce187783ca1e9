import json

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from penstock.data import pruning
from penstock.data.cache import Cache, digest_of, object_name

SIZE = 1 << 20


@pytest.fixture
def penstock(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    monkeypatch.delenv("PENSTOCK_CACHE_BYTES", raising=False)

    def call(*words, code=0):
        done = CliRunner().invoke(app, ["cache", *words])
        assert done.exit_code == code, done.output
        return done

    return call


@pytest.fixture
def kept(tmp_path):
    """Two inputs of one object each, the second used last."""
    for name in ("one", "two"):
        with Cache(tmp_path / "cache", 1 << 30) as cache:
            tree = cache.obtain(digest_of(name), SIZE, lambda: None)
            (tree.files / name).write_bytes(bytes(SIZE))
            tree.about = pruning.About(f"s3://b/{name}", 1, SIZE)
            tree.sums[name] = object_name(digest_of(name), SIZE, [pruning.new_sum(bytes(SIZE)).digest()])
            cache.settle()
    return tmp_path / "cache"


def test_nothing_is_kept_before_the_first_job(penstock, tmp_path):
    assert "0 B of 20.0 GiB" in penstock("ls").output
    assert json.loads(penstock("ls", "--json").output)["inputs"] == []
    penstock("verify")


def test_ls_lists_what_is_kept(penstock, kept):
    told = json.loads(penstock("ls", "--json").output)
    assert [(one["uri"], one["objects"], one["bytes"]) for one in told["inputs"]] == [
        ("s3://b/two", 1, SIZE),
        ("s3://b/one", 1, SIZE),
    ]
    assert (told["bytes"], told["limit"]) == (2 * SIZE, 20 << 30)
    assert "s3://b/one" in penstock("ls").output


def test_prune_keeps_what_was_used_last(penstock, kept):
    assert json.loads(penstock("prune", "--to", "1M", "--json").output) == {"bytes": SIZE}
    assert [one.about.uri for one in pruning.listing(kept)] == ["s3://b/two"]
    penstock("prune")
    assert pruning.listing(kept) == []


def test_prune_refuses_what_is_no_size(penstock, kept):
    assert "'much' is no number of bytes" in str(penstock("prune", "--to", "much", code=1).exception)


def test_verify_tells_by_its_exit_code(penstock, kept):
    assert "2 objects verified, 0 damaged" in penstock("verify").output
    next(pruning.objects(kept)).write_bytes(b"x" * SIZE)
    assert "1 damaged and removed" in penstock("verify", code=1).output
    assert json.loads(penstock("verify", "--json").output)["objects"] == 1
