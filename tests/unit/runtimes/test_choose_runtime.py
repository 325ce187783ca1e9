import os

import pytest

from penstock.errors import ConfigurationError, InternalFailure
from penstock.runtimes import choose as module
from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.choose import checks, choose
from penstock.runtimes.unshare import Unshare
from penstock.runtimes.userns import Obstacle
from penstock.testing.fake_runtime import FakeRuntime


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that puts programs of these names, and no others, on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(*names):
        for name in names:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        return tmp_path

    return install


def test_auto_is_bubblewrap_where_it_is_installed(installed):
    path = installed("bwrap")
    assert choose("auto") == Bubblewrap(str(path / "bwrap"))


def test_auto_is_unshare_elsewhere(installed):
    installed()
    assert choose("auto") == Unshare()


def test_unshare_may_be_asked_for(installed):
    installed("bwrap")
    assert choose("unshare") == Unshare()


def test_auto_looks_for_overlays_where_they_are_wanted(installed):
    path = installed("bwrap")
    assert choose("auto", overlays=True) == Unshare()
    assert choose("bubblewrap", overlays=True) == Bubblewrap(str(path / "bwrap"))
    assert (Unshare.overlays, Bubblewrap.overlays) == (True, False)


def test_bubblewrap_that_is_not_there_is_an_error_with_the_command_that_installs_it(installed):
    installed("dnf")
    with pytest.raises(ConfigurationError, match="dnf install -y bubblewrap"):
        choose("bubblewrap")


def test_an_unknown_name_is_refused(installed):
    with pytest.raises(ConfigurationError, match=r"'docker'.*bubblewrap"):
        choose("docker")


def test_checks_name_what_is_missing_and_what_installs_it(installed, monkeypatch):
    installed("apt-get")
    monkeypatch.setattr(module, "Unshare", FakeRuntime)
    found = {finding.runtime: finding for finding in checks()}
    assert not found["bubblewrap"].fit
    assert found["bubblewrap"].fix.endswith("apt-get install -y bubblewrap")
    assert found["bubblewrap"].fix.startswith("sudo ") == (os.geteuid() != 0)
    assert found["fake"].fit


def test_checks_pass_on_why_walls_cannot_be_built(installed, monkeypatch):
    installed()
    monkeypatch.setattr(module, "Unshare", lambda: FakeRuntime(failure=InternalFailure("not here")))
    monkeypatch.setattr(module, "obstacle", lambda: Obstacle("a.b", "0", "turn a.b on"))
    finding = checks()[1]
    assert (finding.fit, finding.detail, finding.fix) == (False, "not here", "turn a.b on")


def test_checks_do_not_trust_a_program_that_ends_badly(installed, monkeypatch):
    installed()
    monkeypatch.setattr(module, "Unshare", lambda: FakeRuntime(exit_code=127))
    assert not checks()[1].fit


def test_checks_say_what_is_weaker_without_user_namespaces(installed, monkeypatch):
    installed()
    monkeypatch.setattr(module, "Unshare", FakeRuntime)
    monkeypatch.setattr(module, "obstacle", lambda: Obstacle("a.b", "0", "turn a.b on"))
    finding = checks()[1]
    assert finding.fit
    assert "own root" in finding.weaker[0]
    assert finding.fix == "turn a.b on"


def test_checks_say_where_overlays_can_not_lie(installed, monkeypatch, tmp_path):
    class Refusing(FakeRuntime):
        def start(self, program, output):
            if any(mount.upper for mount in program.mounts):
                raise InternalFailure("no overlays on this disk")
            return super().start(program, output)

    installed()
    monkeypatch.setattr(module, "Unshare", Refusing)
    (finding,) = [one for one in checks(tmp_path) if one.runtime == "fake"]
    assert finding.fit
    assert f"{tmp_path} can't hold overlays: no overlays on this disk" in finding.detail
    monkeypatch.setattr(module, "Unshare", FakeRuntime)
    assert "Inputs are mounted" in checks(tmp_path)[1].detail
