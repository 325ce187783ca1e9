"""penstock envs, on environments that were put in their places by hand."""

import json
import os

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from penstock.environments.cache import cached, prefix_of
from penstock.environments.model import Environment
from penstock.environments.uses import RECORD, Uses

PINS = "six==1.16.0 \\\n    --hash=sha256:aa\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


@pytest.fixture
def penstock(folder):
    def call(*words, code=0):
        done = CliRunner().invoke(app, ["envs", *words])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    return call


@pytest.fixture
def kept(folder, tmp_path):
    """Two environments, the second used last, and it differs from its image."""
    (tmp_path / "python").touch()
    for number, (digest, deviations) in enumerate((("aa11", ()), ("bb22", ("image has Python 3.9",)))):
        made = Environment(
            digest,
            prefix_of(folder, digest),
            "3.11.7",
            str(tmp_path / "python"),
            (),
            {"six": "1.16.0"},
            deviations,
            lock=PINS,
            name="sklearn==1.2-1",
        )

        def build(work, hold, progress, made=made):
            (work / "venv").mkdir()
            (work / "venv/pyvenv.cfg").write_text("x" * 2048)
            return made

        cached(folder, digest, build, progress=str)
        os.utime(folder / digest / RECORD, (number, number))
    return folder


def test_none_are_there_before_the_first(penstock):
    assert "envs build" in penstock("ls").output
    assert json.loads(penstock("ls", "--json").output)["environments"] == []


def test_ls_tells_what_each_is_for(penstock, kept):
    first, second = json.loads(penstock("ls", "--json").output)["environments"]
    assert (first["digest"], first["name"], first["bytes"]) == ("bb22", "sklearn==1.2-1", 2048)
    assert first["deviations"] == ["image has Python 3.9"]
    assert (second["digest"], second["in_use"], "lock" in second) == ("aa11", False, False)
    lines = penstock("ls").output.splitlines()
    assert lines[1].split()[:3] == ["bb22", "sklearn==1.2-1", "3.11.7"]
    assert "1 deviation from" in lines[1]
    assert "2.0 KiB" in lines[2]


def test_show_and_its_lock(penstock, kept):
    shown = penstock("show", "bb").output
    assert "note: image has Python 3.9" in shown
    assert "six" in shown
    lock = penstock("show", "bb", "--lock").stdout
    assert lock.startswith("# Penstock environment lock 1\n# framework: sklearn==1.2-1\n# python: 3.11.7\n")
    assert lock.endswith(PINS)
    assert json.loads(penstock("show", "aa", "--json").output)["packages"] == {"six": "1.16.0"}


def test_rm_leaves_what_is_in_use(penstock, kept):
    with Uses() as uses:
        assert uses.take(Environment("aa11", prefix_of(kept, "aa11"), "3.11.7", "", (), {}))
        assert "in use by a running job" in penstock("rm", "aa11", "bb22", code=1).output
    assert not (kept / "bb22").exists()
    assert json.loads(penstock("rm", "aa", "--json").output) == {"removed": ["aa11"]}
    assert not (kept / "aa11").exists()


def test_prune_by_age_and_size(penstock, kept):
    assert json.loads(penstock("prune", "--to", "1G", "--json").output)["removed"] == []
    os.utime(kept / "bb22" / RECORD)
    assert json.loads(penstock("prune", "--unused-for", "1d", "--json").output)["removed"] == ["aa11"]
    penstock("prune")
    assert not (kept / "bb22").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prune", "--to", "many"], "no number of bytes"),
        (["prune", "--unused-for", "long"], "no span of time"),
        (["show", "cc"], "There is no environment 'cc'"),
        (["build"], "Give a framework or an image"),
        (["build", "sklearn==1.2-1", "--lock", "x"], "Give a framework or an image"),
        (["build", "sklearn==1.2-1", "-r", "missing.txt"], "missing.txt does not exist"),
        (["build", "sklern==1.2-1"], "did you mean 'sklearn'"),
    ],
)
def test_what_can_not_be_is_told(penstock, words, said):
    assert said in str(penstock(*words, code=1).exception)
