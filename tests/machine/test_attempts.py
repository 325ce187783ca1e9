"""Attempts to escape, on both runtimes, as the user who runs the tests and, when that is root, as an ordinary one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ordinary import run_as_ordinary_user

from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.unshare import Unshare
from penstock.testing.attempts import AttemptsSuite

pytestmark = pytest.mark.machine


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
class TestBubblewrap(AttemptsSuite):
    @pytest.fixture
    def runtime(self):
        return Bubblewrap(shutil.which("bwrap"))


class TestUnshare(AttemptsSuite):
    @pytest.fixture
    def runtime(self):
        return Unshare()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_the_walls_of_an_ordinary_user_hold_as_well():
    done = run_as_ordinary_user(Path(__file__))
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
