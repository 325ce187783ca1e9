"""The conformance suite on both runtimes, as the user who runs the tests and, when that is root, as an ordinary one."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import penstock
from penstock.errors import InternalFailure
from penstock.runtimes.base import Program
from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.choose import checks
from penstock.runtimes.unshare import Unshare
from penstock.testing.walls import WallsSuite

pytestmark = pytest.mark.machine

_ORDINARY = "penstock-test"
_PYTHON = "/usr/bin/python3"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
class TestBubblewrap(WallsSuite):
    @pytest.fixture
    def runtime(self):
        return Bubblewrap(shutil.which("bwrap"))


class TestUnshare(WallsSuite):
    @pytest.fixture
    def runtime(self):
        return Unshare()


def test_doctor_finds_both_fit_here():
    assert {finding.runtime: finding.fit for finding in checks()} == {"bubblewrap": True, "unshare": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_the_suite_passes_as_an_ordinary_user(tmp_path_factory):
    """All of the above once more in a process of `penstock-test`: 4 s that nothing but another user can show."""
    user = _ordinary_user()
    folder = _readable_copy(tmp_path_factory.mktemp("ordinary"))
    command = [_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={folder}"]
    command += ["-W", "error", "-W", "ignore::pytest.PytestUnknownMarkWarning", str(folder / Path(__file__).name)]
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--"]
    done = subprocess.run(
        [*become, *command],
        env={"PATH": os.environ["PATH"], "HOME": user.pw_dir, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def _ordinary_user():
    try:
        return pwd.getpwnam(_ORDINARY)
    except KeyError:
        subprocess.run(["useradd", "--create-home", _ORDINARY], check=True)
        return pwd.getpwnam(_ORDINARY)


def _readable_copy(folder):
    """Our code, this file and pytest where everybody may read them; a checkout or an interpreter may be closed."""
    shutil.copytree(Path(penstock.__file__).parent, folder / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(__file__, folder)
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        shutil.copytree(Path(found.origin).parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path.is_relative_to(folder.parents[1]):
            path.chmod(0o755)
    return folder
