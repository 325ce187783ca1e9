"""Source from Git: a repository on this disk that answers to an https address, and a `git` that tells all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sdk_fakes import ROLE, FakeBoto

from penstock.client import git
from penstock.client.source import Source
from penstock.processing import FrameworkProcessor
from penstock.session import Session
from penstock.xgboost import XGBoost

URL = "https://git.example/team/repo"


@pytest.fixture
def repository(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tree as a repository, with a branch `other` in which script.py differs, behind `URL`."""
    config = tree / "gitconfig"
    config.write_text(
        f'[url "file://{tree}"]\n  insteadOf = {URL}\n'
        "[user]\n  name = t\n  email = t@example.invalid\n[init]\n  defaultBranch = main\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")

    def run(*args: str) -> None:
        subprocess.run(["git", "-C", str(tree), *args], check=True, capture_output=True)

    run("init", "-q")
    run("add", ".")
    run("commit", "-qm", "one")
    run("checkout", "-qb", "other")
    (tree / "script.py").write_text("print('other')\n")
    run("commit", "-qam", "two")
    run("checkout", "-q", "main")
    return tree


def test_branch_and_paths(repository: Path, tmp_path: Path) -> None:
    config = {"repo": URL, "branch": "other"}
    clone = tmp_path / "clone"
    found = git.clone(config, Source("script.py", None, ("dep",)), clone)
    assert found == Source(str(clone / "script.py"), None, (str(clone / "dep"),))
    assert Path(found.script).read_text() == "print('other')\n"
    found = git.clone({"repo": URL}, Source("eval.py", "src"), tmp_path / "second")
    assert found == Source("eval.py", str(tmp_path / "second" / "src"))


def test_a_commit(repository: Path, tmp_path: Path) -> None:
    commit = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "other"], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = git.clone({"repo": URL, "commit": commit}, Source("script.py"), tmp_path / "clone")
    assert Path(found.script).read_text() == "print('other')\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Source("nope.py"), "Entry point does not exist in the repo."),
        (Source("nope.py", "src"), "Entry point does not exist in the repo."),
        (Source("eval.py", "nope"), "Source directory does not exist in the repo."),
        (Source("script.py", None, ("nope",)), "Dependency nope does not exist in the repo."),
    ],
)
def test_what_the_repository_lacks(repository: Path, tmp_path: Path, source: Source, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        git.clone({"repo": URL}, source, tmp_path / "clone")


def test_a_branch_that_is_missing_is_git_s_error(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        git.clone({"repo": URL, "branch": "nope"}, Source("script.py"), tmp_path / "clone")


def test_a_processor_sends_what_it_has_cloned(repository: Path, session: Session, boto: FakeBoto) -> None:
    processor = FrameworkProcessor(XGBoost, "1.3-1", ROLE, 1, "ml.m5.large", sagemaker_session=session)
    processor.run("eval.py", "src", git_config={"repo": URL}, wait=False, job_name="j")
    assert "s3://bucket/j/source/sourcedir.tar.gz" in boto.uploads


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"branch": "b"}, "Please provide a repo for git_config."),
        ({"repo": URL, "2FA_enabled": "yes"}, "Please enter a bool type for 2FA_enabled'."),
        ({"repo": URL, "branch": 1}, "'branch' must be a string."),
        (
            {"repo": "ftp://x"},
            "Unsupported URL scheme: only https://, http://, git@, and ssh:// are allowed",
        ),
        ({"repo": "http://x/y"}, "Invalid Git url provided."),
        ({"repo": "https://a@b@c/y"}, "Invalid HTTPS URL format: multiple @ symbols detected"),
        (
            {"repo": "git@a@b:y"},
            "Invalid SSH URL format: git@ URLs must have exactly one @ symbol",
        ),
        ({"repo": "https://a%40b/y"}, "Invalid characters in hostname"),
        ({"repo": "ssh://a@b@c/y"}, "Invalid SSH URL format: multiple @ symbols detected"),
        ({"repo": URL, "commit": "--exec=x"}, "commit '--exec=x' of git_config starts with a dash."),
    ],
)
def test_configurations_that_can_t_be(tmp_path: Path, config: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        git.clone(config, Source("script.py"), tmp_path)
    assert str(caught.value) == text


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `git` that writes its arguments and environment to this folder and fails."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nenv > {tmp_path}/environment\nexit 1\n'
    )
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ({"token": "sec:ret"}, "https://sec%3Aret@git.example/"),
        ({"token": "secret", "2FA_enabled": True}, "https://secret@git.example/"),
        ({"username": "me", "password": "sec ret/"}, "https://me:sec%20ret%2F@git.example/"),
    ],
)
def test_credentials_go_by_the_environment_alone(told: Path, config: dict[str, Any], address: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        git.clone({"repo": URL, **config}, Source("s.py"), told / "clone")
    assert "sec" not in str(caught.value)
    assert (told / "arguments").read_text() == f"clone -- {URL} {told}/clone\n"
    environment = (told / "environment").read_text().splitlines()
    assert f"GIT_CONFIG_KEY_0=url.{address}.insteadOf" in environment
    assert "GIT_CONFIG_VALUE_0=https://git.example/" in environment
    assert "GIT_TERMINAL_PROMPT=0" in environment


def test_credentials_in_the_url_are_not_shown(told: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        git.clone({"repo": URL.replace("https://", "https://me:secret@")}, Source("s.py"), told / "clone")
    assert "secret" not in str(caught.value)
    assert (told / "arguments").read_text() == f"clone -- {URL} {told}/clone\n"
    environment = (told / "environment").read_text().splitlines()
    assert "GIT_CONFIG_KEY_0=url.https://me:secret@git.example/.insteadOf" in environment
    assert "GIT_CONFIG_VALUE_0=https://git.example/" in environment


@pytest.mark.parametrize(
    ("repo", "config", "text"),
    [
        ("git@git.example:r", {"token": "t"}, "SSH cloning, authentication information"),
        (URL, {"username": "u"}, "Credentials provided in git config will be ignored."),
        ("https://git-codecommit.x/r", {"token": "t"}, "There are no tokens in CodeCommit"),
        ("https://git-codecommit.x/r", {"2FA_enabled": True}, "CodeCommit does not support 2FA"),
    ],
)
def test_credentials_that_are_not_used_are_warned_of(
    told: Path, repo: str, config: dict[str, Any], text: str
) -> None:
    with pytest.warns(UserWarning, match=text), pytest.raises(subprocess.CalledProcessError):
        git.clone({"repo": repo, **config}, Source("s.py"), told / "clone")
    assert "GIT_CONFIG_COUNT" not in (told / "environment").read_text()


def test_a_token_wins_over_a_password(told: Path) -> None:
    config = {"repo": URL, "token": "t", "username": "u", "password": "p"}
    with pytest.warns(UserWarning, match="Using token"), pytest.raises(subprocess.CalledProcessError):
        git.clone(config, Source("s.py"), told / "clone")
    assert "url.https://t@git.example/.insteadOf" in (told / "environment").read_text()
