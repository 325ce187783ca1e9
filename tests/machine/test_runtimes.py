"""The conformance suite on both runtimes, as the user who runs the tests and, when that is root, as an ordinary one."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import penstock
from penstock.runtimes.bubblewrap import Bubblewrap
from penstock.runtimes.choose import checks
from penstock.runtimes.unshare import Unshare
from penstock.testing.overlays import OverlaySuite
from penstock.testing.sandbox import SandboxSuite

pytestmark = pytest.mark.machine

_ORDINARY = "penstock-test"
_PYTHON = "/usr/bin/python3"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
class TestBubblewrap(SandboxSuite):
    @pytest.fixture
    def runtime(self):
        return Bubblewrap(shutil.which("bwrap"))


class TestUnshare(SandboxSuite, OverlaySuite):
    @pytest.fixture
    def runtime(self):
        return Unshare()


def test_doctor_finds_both_fit_here():
    assert {finding.runtime: finding.fit for finding in checks()} == {"bubblewrap": True, "unshare": True}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_the_suite_passes_as_an_ordinary_user(readable):
    """All of the above once more in a process of `penstock-test`: seconds that show what no cheaper test could."""
    user = _ordinary_user()
    command = [
        _PYTHON,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        f"--rootdir={readable}",
    ]
    command += [
        "-W",
        "error",
        "-W",
        "ignore::pytest.PytestUnknownMarkWarning",
        str(readable / Path(__file__).name),
    ]
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--"]
    done = subprocess.run(
        [*become, *command],
        env={
            "PATH": os.environ["PATH"],
            "HOME": user.pw_dir,
            "PYTHONPATH": str(readable),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=readable,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.fixture
def readable():
    """Our code, this file and pytest where everybody may read them: a checkout or an interpreter may be closed."""
    without = shutil.ignore_patterns("__pycache__")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(Path(penstock.__file__).parent, folder / "penstock", ignore=without)
        shutil.copy(__file__, folder)
        for module in ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments"):
            source = Path(importlib.util.find_spec(module).origin)
            if source.name == "__init__.py":
                shutil.copytree(source.parent, folder / module, ignore=without)
            else:
                shutil.copy(source, folder)
        yield folder


def _ordinary_user():
    try:
        return pwd.getpwnam(_ORDINARY)
    except KeyError:
        subprocess.run(["useradd", "--create-home", _ORDINARY], check=True)
        return pwd.getpwnam(_ORDINARY)
