"""Penstock's SDK asks for the same jobs as the official one, uploads the same, and refuses the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from combinations import COMBINATIONS
from differences import MEANT, Meant
from interpreters import interpreter

HERE = Path(__file__).parent

FILES = {
    "script.py": "print(1)\n",
    "src/eval.py": "print(2)\n",
    "src/sub/helper.py": "x = 1\n",
    "src/requirements.txt": "pandas\n",
    "dep/more.py": "y = 1\n",
    "data/a.csv": "1,2\n",
    "data/inner/b.csv": "3,4\n",
    "package/__main__.py": "print(4)\n",
    "with space/my script.py": "print(3)\n",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each SDK did with each combination: SDK -> combination -> record."""
    folder = tmp_path_factory.mktemp("same")
    _fill(folder / "work")
    _make_repository(folder)
    # The user's own settings must not matter: neither SDK may find any.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # bodies as they are
        "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }
    running = {
        sdk: subprocess.Popen(
            [str(python), str(HERE / "record_requests.py"), sdk],
            cwd=folder / "work",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for sdk, python in {"sagemaker": interpreter("sagemaker-v2"), "penstock": sys.executable}.items()
    }
    records = {}
    for sdk, process in running.items():
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        records[sdk] = json.loads(out.splitlines()[-1])  # git may have said something before
    return records


def _fill(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "empty").mkdir()


def _make_repository(folder: Path) -> None:
    """What `https://git.invalid/repo.git` leads to: `eval.py`, and on the branch `side` also `sub/helper.py`."""
    repository = folder / "repository"
    repository.mkdir()
    (folder / "gitconfig").write_text(
        f'[url "file://{repository}"]\n insteadOf = https://git.invalid/repo.git\n'
        # The other addresses lead nowhere, and are not asked for outside of this machine.
        "[http]\n proxy = http://127.0.0.1:9\n"
        "[user]\n name = test\n email = test@git.invalid\n[init]\n defaultBranch = main\n"
    )
    git = {
        "cwd": repository,
        "check": True,
        "env": {**os.environ, "GIT_CONFIG_GLOBAL": str(folder / "gitconfig")},
    }
    subprocess.run(["git", "init", "-q"], **git)
    for branch, name in {"main": "eval.py", "side": "sub/helper.py"}.items():
        if branch != "main":
            subprocess.run(["git", "checkout", "-q", "-b", branch], **git)
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text(FILES[f"src/{name}"])
        subprocess.run(["git", "add", "."], **git)
        subprocess.run(["git", "commit", "-q", "-m", name], **git)
    subprocess.run(["git", "checkout", "-q", "main"], **git)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_same(found: dict[str, dict[str, Any]], name: str) -> None:
    unmeant = {
        member: values
        for member, values in _differences(found, name).items()
        if not any(name in meant.combinations and _shows(meant, member, *values) for meant in MEANT)
    }
    assert unmeant == {}, "(member: what the official SDK has, what Penstock has)"


@pytest.mark.parametrize("meant", MEANT, ids=lambda meant: f"{meant.combinations[0]}: {meant.member}")
def test_what_is_meant_is_so(found: dict[str, dict[str, Any]], meant: Meant) -> None:
    for name in meant.combinations:
        differences = _differences(found, name)
        assert any(_shows(meant, member, *values) for member, values in differences.items()), name


def test_penstock_uploads_nothing_before_an_error(found: dict[str, dict[str, Any]]) -> None:
    uploaded = {name: record["uploaded"] for name, record in found["penstock"].items() if "error" in record}
    assert uploaded
    assert not any(uploaded.values()), uploaded


def test_the_combinations_ask_for_jobs(found: dict[str, dict[str, Any]]) -> None:
    """That two SDKs do the same nothing would prove nothing."""
    asked = [name for name, record in found["penstock"].items() if record.get("requests")]
    assert len(COMBINATIONS) >= 60
    assert len(asked) >= 100


def _differences(found: dict[str, dict[str, Any]], name: str) -> dict[str, tuple[Any, Any]]:
    """Member -> what the official SDK has, what Penstock has."""
    official, own = found["sagemaker"][name], found["penstock"][name]
    if "error" in official or "error" in own:
        official, own = ({"error": record.get("error")} for record in (official, own))
    official, own = _members(official), _members(own)
    return {
        member: (official.get(member), own.get(member))
        for member in sorted({*official, *own})
        if official.get(member) != own.get(member)
    }


def _shows(meant: Meant, member: str, official: Any, own: Any) -> bool:
    return fnmatchcase(member, meant.member) and _fits(meant.official, official) and _fits(meant.own, own)


def _fits(wanted: str | None, value: Any) -> bool:
    if wanted is not None and wanted.endswith("…"):
        return str(value).startswith(wanted[:-1])
    return value == wanted


def _members(value: Any, path: str = "") -> dict[str, Any]:
    """All that `value` holds, by its path, e.g. `requests.0.CreateProcessingJob.Tags.1.Key`."""
    below = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(below, dict) or not below:
        return {path: value}
    return {
        place: member
        for name, item in below.items()
        for place, member in _members(item, f"{path}.{name}" if path else str(name)).items()
    }
