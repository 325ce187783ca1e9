"""Where only the SDK is installed, and no server runs: what is missing is said, with the command that mends it."""

from __future__ import annotations

import importlib.metadata
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
