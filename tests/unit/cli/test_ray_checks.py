"""What the doctor says of a Ray cluster by what its nodes have told; with a real one it is tried in tests/machine."""

import importlib.metadata
import platform
from dataclasses import replace

import pytest

from penstock._version import __version__
from penstock.cli import ray_checks
from penstock.config import Settings

URL = "http://10.0.0.1:9550"
FINE = {
    "address": "10.0.0.2",
    "here": False,
    "penstock": __version__,
    "python": platform.python_version(),
    "ray": "9.9",
    "bubblewrap": "/usr/bin/bwrap",
    "token": True,
    "unreached": None,
}


@pytest.fixture
def found(monkeypatch, tmp_path):
    """What is said of a cluster with one node like `FINE`, but for what is otherwise."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "9.9")
    settings = replace(Settings.read({"PENSTOCK_HOME": str(tmp_path)}), engines=("ray",), report_url=URL)

    def examine(problem=None, report_url=URL, **otherwise):
        told = {"problem": problem, "nodes": [] if problem else [FINE | otherwise]}
        monkeypatch.setattr(ray_checks, "_ask", lambda _: told)
        return {one.what: one for one in ray_checks.examine(replace(settings, report_url=report_url))}

    return examine


def test_nothing_is_to_be_mended_of_a_cluster_that_is_fit(found):
    assert {one.state for one in found().values()} == {"ok"}
    assert not any(one.remedy for one in found().values())


@pytest.mark.parametrize(
    ("otherwise", "what", "state", "text"),
    [
        ({"penstock": "0.0.1"}, "ray node (10.0.0.2)", "weak", f"Penstock 0.0.1 and not {__version__}"),
        ({"ray": "1.0"}, "ray node (10.0.0.2)", "weak", "Ray 1.0 and not 9.9"),
        ({"python": "3.1.0"}, "ray node (10.0.0.2)", "weak", "Python 3.1.0 and not"),
        ({"bubblewrap": None}, "ray node (10.0.0.2)", "weak", "bubblewrap is not installed"),
        ({"failed": "No module named 'penstock'"}, "ray node (10.0.0.2)", "missing", "No module"),
        ({"token": False}, "ray token", "weak", "none is asked for"),
        ({"unreached": "refused"}, "way to the server", "missing", "10.0.0.2: refused"),
        ({"report_url": None}, "way to the server", "missing", "not told where the server is"),
        ({"problem": "Version mismatch: Ray 1"}, "ray cluster (auto)", "missing", "Version mismatch"),
        ({"problem": "InvalidAuthToken: none"}, "ray cluster (auto)", "missing", "InvalidAuthToken"),
        ({"problem": "Timed out"}, "ray cluster (auto)", "missing", "Timed out"),
    ],
)
def test_what_fails_says_what_to_do(found, otherwise, what, state, text):
    one = found(**otherwise)[what]
    assert one.state == state
    assert text in one.text
    assert one.remedy


def test_ray_itself_may_be_lacking(found, monkeypatch):
    def lacks(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", lacks)
    (one,) = found().values()
    assert (one.state, one.remedy) == ("missing", "pip install 'penstock[server,ray]'")
