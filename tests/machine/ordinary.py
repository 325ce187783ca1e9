"""Run a file of tests once more as an ordinary user of the machine."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import penstock

USER = "penstock-test"
_PYTHON = "/usr/bin/python3"
_NEEDED = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")


def run_as_ordinary_user(
    file: Path,
    *beside: Path,
    modules: Sequence[str] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    """Run the tests in `file` in a process of `penstock-test`, by Debian's Python; only root can.

    `beside`: other files that they import; `modules`: the same, of installed packages.
    """
    user, become = become_ordinary()
    with readable(file, Path(__file__), *beside, modules=modules) as folder:
        command = [_PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
        command += [f"--rootdir={folder}", "-W", "error", "-W", "ignore::pytest.PytestUnknownMarkWarning"]
        return subprocess.run(
            [*become, *command, str(folder / file.name)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": pwd.getpwnam(user).pw_dir,
                "PYTHONPATH": str(folder),
                "PYTHONDONTWRITEBYTECODE": "1",
                **variables,
            },
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@contextmanager
def readable(*files: Path, modules: Sequence[str] = ()) -> Iterator[Path]:
    """Our code, `files` and pytest where everybody may read them: a checkout or an interpreter may be closed."""
    without = shutil.ignore_patterns("__pycache__")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(Path(penstock.__file__).parent, folder / "penstock", ignore=without)
        for file in files:
            shutil.copy(file, folder)
        for module in (*_NEEDED, *modules):
            source = Path(importlib.util.find_spec(module).origin)
            if source.name == "__init__.py":
                shutil.copytree(source.parent, folder / module, ignore=without)
            else:
                shutil.copy(source, folder)
        yield folder


def become_ordinary() -> tuple[str, list[str]]:
    """The ordinary user's name, and what stands before a command to run it as that user."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", USER], check=True)
        user = pwd.getpwnam(USER)
    return USER, ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--"]
