"""Source from a Git repository, as `git_config` describes it."""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from penstock.client.source import Source


def clone(git_config: Mapping[str, Any], source: Source, folder: Path) -> Source:
    """Clone the repository into `folder` and return `source` with its paths inside of it.

    Args:
        git_config: `repo` (required), `branch`, `commit`, `2FA_enabled` (a bool), `username`, `password`,
            `token`.
        source: Script, folder and dependencies, relative to the repository's root.
        folder: An empty folder.

    Raises:
        ValueError: `git_config` is not right, or the repository lacks one of the paths.
        subprocess.CalledProcessError: git failed; it has said why on stderr. Credentials are not shown.
    """
    _check(git_config)
    _clone(str(git_config["repo"]), _credentials(git_config), folder)
    for name in ("branch", "commit"):
        if name in git_config:
            subprocess.run(["git", "checkout", git_config[name], "--"], cwd=folder, check=True)
    return _inside(source, folder)


def _check(git_config: Mapping[str, Any]) -> None:
    if "repo" not in git_config:
        raise ValueError("Please provide a repo for git_config.")
    for key, value in git_config.items():
        if key == "2FA_enabled":
            if not isinstance(value, bool):
                raise ValueError("Please enter a bool type for 2FA_enabled'.")
        elif not isinstance(value, str):
            raise ValueError(f"'{key}' must be a string.")
    repo = git_config["repo"]
    if not repo.startswith(("https://", "http://", "git@", "ssh://")):
        raise ValueError("Unsupported URL scheme: only https://, http://, git@, and ssh:// are allowed")
    if repo.startswith("git@") and repo.count("@") != 1:
        raise ValueError("Invalid SSH URL format: git@ URLs must have exactly one @ symbol")
    if repo.count("@") > 1:
        kind = "HTTPS" if repo.startswith("http") else "SSH"
        raise ValueError(f"Invalid {kind} URL format: multiple @ symbols detected")
    host = urlsplit(repo).hostname
    if repo.startswith("http") and host and not re.fullmatch(r"[a-zA-Z0-9.-]+", host):
        raise ValueError("Invalid characters in hostname")
    if repo.startswith("http://"):
        raise ValueError("Invalid Git url provided.")  # what is sent in the clear can be changed on its way
    for name in ("branch", "commit"):
        if git_config.get(name, "").startswith("-"):
            raise ValueError(f"{name} {git_config[name]!r} of git_config starts with a dash.")


def _credentials(git_config: Mapping[str, Any]) -> tuple[str, str] | None:
    """User name and password (or token) for https, by SageMaker's rules of precedence."""
    repo = str(git_config["repo"])
    given = {name for name in ("username", "password", "token") if name in git_config}
    if not repo.startswith("https://"):
        if given:
            warnings.warn(
                "SSH cloning, authentication information in git config will be ignored.", stacklevel=2
            )
        return None
    code_commit = repo.startswith("https://git-codecommit")
    if code_commit and "2FA_enabled" in git_config:
        warnings.warn("CodeCommit does not support 2FA, '2FA_enabled' will be ignored.", stacklevel=2)
    if code_commit and "token" in given:
        warnings.warn("There are no tokens in CodeCommit, the token provided will be ignored.", stacklevel=2)
        given.discard("token")
    if "token" in given:
        if len(given) > 1:
            warnings.warn("Using token for authentication, other credentials will be ignored.", stacklevel=2)
        return str(git_config["token"]), ""
    if git_config.get("2FA_enabled") and not code_commit:
        return None
    if given == {"username", "password"}:
        return str(git_config["username"]), str(git_config["password"])
    if given:
        warnings.warn("Credentials provided in git config will be ignored.", stacklevel=2)
    return None


def _clone(repo: str, credentials: tuple[str, str] | None, folder: Path) -> None:
    environment = dict(os.environ, GIT_TERMINAL_PROMPT="0")
    environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    address = urlsplit(repo)
    keys, _, host = address.netloc.rpartition("@")
    if credentials is not None:
        keys = ":".join(quote(part, safe="") for part in credentials if part)
    if keys and repo.startswith("https://"):
        # In the environment and not in the URL: arguments can be read by everybody on the machine, and the
        # URL would stay in the clone's configuration and in the error.
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.https://{keys}@{host}/.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://{host}/",
        }
        repo = address._replace(netloc=host).geturl()
    subprocess.run(["git", "clone", "--", repo, str(folder)], check=True, env=environment)


def _inside(source: Source, folder: Path) -> Source:
    root = folder / source.directory if source.directory else folder
    if not root.is_dir():
        raise ValueError("Source directory does not exist in the repo.")
    if not (root / source.script).is_file():
        raise ValueError("Entry point does not exist in the repo.")
    for path in source.dependencies:
        if not (folder / path).exists():
            raise ValueError(f"Dependency {path} does not exist in the repo.")
    dependencies: Sequence[str] = [str(folder / path) for path in source.dependencies]
    if source.directory:
        return Source(source.script, str(root), tuple(dependencies))
    return Source(str(root / source.script), None, tuple(dependencies))
