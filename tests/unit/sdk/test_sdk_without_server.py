"""Where only the SDK is installed, and no server runs: what is missing is said, with the command that mends it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli import checks
from penstock.client import local_server
from penstock.errors import ServerUnavailable

REQUIRES = ["boto3>=1.34", "no-such-package-here[x]>=1 ; extra == 'server'", "boto3>=1 ; extra == 'server'"]


@pytest.fixture
def _sdk_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: REQUIRES)


def test_here_nothing_is_missing() -> None:
    assert local_server.missing_packages() == []


@pytest.mark.usefixtures("_sdk_alone")
def test_the_sdk_names_what_is_missing_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        ServerUnavailable, match=r"missing: no-such-package-here\).*pip install 'penstock\[server\]'"
    ):
        local_server.ensure()
    assert not (tmp_path / "home" / "server.log").exists()  # nothing was tried


@pytest.mark.usefixtures("_sdk_alone")
def test_doctor_finds_it() -> None:
    finding = next(f for f in checks._parts() if f.what == "server's packages")
    assert (finding.state, finding.remedy) == ("missing", local_server.INSTALL_SERVER)
    assert "no-such-package-here" in finding.text


#: Runs the command line where none of the packages is that come with the server alone.
ALONE = """
import importlib.metadata, re, sys
wanted = {"base": set(), "server": set()}
for line in importlib.metadata.requires("penstock"):
    extra = re.search("extra == .([a-z]+)", line)
    name = re.match("[A-Za-z0-9._-]+", line)[0].lower()
    wanted.setdefault(extra[1] if extra else "base", set()).add(name)
gone = wanted["server"] - wanted["base"]
modules = {one for one, of in importlib.metadata.packages_distributions().items() if gone & {n.lower() for n in of}}

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in modules:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
there = importlib.metadata.distribution

def distribution(name):
    if name.lower() in gone:
        raise importlib.metadata.PackageNotFoundError(name)
    return there(name)

importlib.metadata.distribution = distribution
from penstock.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--help"], "List jobs, newest first."),
        (["status"], "No server runs for"),
        (["envs", "ls"], "There are no environments"),
        (["jobs"], "none can be started from this Python"),
        (["cache", "ls"], "error: No module named 'xxhash': it comes with the server. Install that: "),
        (["serve"], "error: No module named 'uvicorn': it comes with the server."),
    ],
)
def test_the_command_line_is_there_without_the_servers_packages(
    tmp_path: Path, args: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PENSTOCK_HOME": str(tmp_path)},
        check=False,
    )
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
