"""Reading `catalog.json`, the one file that holds what Penstock knows of framework images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def catalog() -> Mapping[str, Any]:
    """The whole catalogue; its members are described in its own `about`."""
    read: Mapping[str, Any] = json.loads(Path(__file__).with_name("catalog.json").read_text("utf-8"))
    return read


def frameworks() -> Mapping[str, Mapping[str, Any]]:
    """Name of a framework -> its part of the catalogue."""
    known: Mapping[str, Mapping[str, Any]] = catalog()["frameworks"]
    return known


def account(framework: str, repository: str, region: str) -> str:
    """The AWS account that holds `repository` in `region`; the framework's default where the region isn't known."""
    old = catalog()["old_account"]
    if repository in old["repositories"]:
        return str(old["account"])
    accounts = frameworks()[framework]["accounts"]
    return str(accounts.get(region, accounts["default"]))


def repository_of(framework: str, entry: Mapping[str, Any], py_version: str | None) -> str:
    """The repository of one version, which may differ by py_version (Python 2 images stayed where they were)."""
    named = entry.get("repository", frameworks()[framework]["repository"])
    if isinstance(named, str):
        return named
    return str(named.get(py_version, frameworks()[framework]["repository"]))


def repositories(framework: str) -> set[str]:
    """Every repository that holds images of `framework`."""
    about = frameworks()[framework]
    named = {about["repository"]}
    for entry in about["versions"].values():
        one = entry.get("repository", about["repository"])
        named.update([one] if isinstance(one, str) else one.values())
    if any("{base}" in name for name in named):
        return {name.format(base=base) for name in named for base in ("pytorch", "tensorflow")}
    return named
