"""The conformance suite on both runtimes, as the user who runs the tests and, when that is root, as an ordinary one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ordinary import run_as_ordinary_user

from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.choose import checks
from penstock.runtimes.groups import nests
from penstock.runtimes.unshare import Unshare
from penstock.testing.limits import SandboxLimitsSuite
from penstock.testing.overlays import OverlaySuite
from penstock.testing.sandbox import SandboxSuite

pytestmark = pytest.mark.machine

#: Groups are for root, on most machines and on that of the tests: an ordinary user has the watch.
MEANS = ("cgroup", "watch") if nests() else ("watch",)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
class TestBubblewrap(SandboxSuite):
    added_variables = frozenset({"PWD"})

    @pytest.fixture
    def runtime(self):
        return Bubblewrap(shutil.which("bwrap"))


class TestUnshare(SandboxSuite, OverlaySuite):
    @pytest.fixture
    def runtime(self):
        return Unshare()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
class TestLimitsOfBubblewrap(SandboxLimitsSuite):
    @pytest.fixture(params=MEANS)
    def runtime(self, request):
        return Bubblewrap(shutil.which("bwrap"), limits=request.param)


class TestLimitsOfUnshare(SandboxLimitsSuite):
    @pytest.fixture(params=MEANS)
    def runtime(self, request):
        return Unshare(limits=request.param)


def test_doctor_finds_both_fit_here():
    assert {finding.runtime: finding.fit for finding in checks()} == {"bubblewrap": True, "unshare": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_the_suite_passes_as_an_ordinary_user():
    """All of the above once more in a process of `penstock-test`: seconds that show what no cheaper test could."""
    done = run_as_ordinary_user(Path(__file__))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
