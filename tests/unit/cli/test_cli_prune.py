"""The command `prune` on what lies in folders; with a server it is tried in tests/machine."""

import json

import pytest
from kept_things import SIZE, inputs_of, put_environment, put_input
from typer.testing import CliRunner

from penstock.cli.main import app
from penstock.clock import now
from penstock.environments.uses import Uses

DAY = 86400


@pytest.fixture
def penstock(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    for name in ("PENSTOCK_ENVIRONMENTS", "PENSTOCK_CACHE_BYTES", "PENSTOCK_KEEP_INPUTS"):
        monkeypatch.delenv(name, raising=False)

    def call(*words, code=0):
        done = CliRunner().invoke(app, ["prune", *words])
        assert done.exit_code == code, done.output
        return done.output

    today = now() / 1000
    put_input(tmp_path / "cache", "old", used_at=today - 40 * DAY)
    put_input(tmp_path / "cache", "new", used_at=today - 10 * DAY)
    (tmp_path / "environments").mkdir()
    put_environment(tmp_path / "environments", "aa", used_at=today - 100 * DAY)
    return call


def test_a_dry_run_shows_what_would_go_and_how_much_that_frees(penstock, tmp_path):
    said = penstock("--cache", "--environments", "--dry-run")
    assert "s3://b/old" in said
    assert "s3://b/new" not in said
    assert "aa of aa" in said
    assert "1 cached input, 1 environment would go, and free 2.0 MiB." in said
    assert inputs_of(tmp_path / "cache") == ["s3://b/new", "s3://b/old"]
    assert penstock("--cache", "--environments", "--dry-run") == said


def test_what_was_shown_goes(penstock, tmp_path):
    said = penstock("--cache", "--environments")
    assert "1 cached input, 1 environment removed; 2.0 MiB are free again." in said
    assert inputs_of(tmp_path / "cache") == ["s3://b/new"]
    assert "Nothing is old enough" in penstock("--cache", "--environments")


def test_an_age_takes_the_place_of_the_settings(penstock, tmp_path):
    told = json.loads(penstock("--cache", "--older-than", "5d", "--json"))
    assert [one["of"] for one in told["inputs"]] == ["s3://b/old", "s3://b/new"]
    assert (told["bytes"], told["environments"], told["jobs"], told["dry_run"]) == (2 * SIZE, [], [], False)
    assert inputs_of(tmp_path / "cache") == []


def test_what_is_in_use_stays(penstock, tmp_path):
    folder = tmp_path / "environments"
    with Uses() as uses:
        put_environment(folder, "bb", used_at=1, uses=uses)
        told = json.loads(penstock("--environments", "--older-than", "0s", "--json"))
        assert [one["name"] for one in told["environments"]] == ["aa"]
    assert (folder / "bb").is_dir()


def test_what_is_no_age_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["prune", "--cache", "--older-than", "long"])
    assert done.exit_code == 1
    assert "no span of time" in str(done.exception)
