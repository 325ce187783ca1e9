"""Whether a job's program stands on an environment within the sandbox, or on its image in a container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import UnknownImage
from penstock.images.catalog import frameworks, repositories
from penstock.images.uris import parse

#: A job's tag that says which; it wins over the setting.
TAG = "penstock:runtime"
KINDS = ("sandbox", "container")


def in_container(request: Mapping[str, Any], setting: str) -> bool:
    """Whether the job is to run in a container.

    Args:
        request: Of CreateProcessingJob. Its tag `penstock:runtime` decides, where it has one.
        setting: "sandbox", "container" or "auto": in a container only what the catalogue does not know. A framework's
            repository with a tag that it never had is more likely a slip than an image of one's own.
    """
    choice = wanted(request) or setting
    if choice != "auto":
        return choice == "container"
    uri = str(request["AppSpecification"]["ImageUri"])
    try:
        parse(uri)
    except UnknownImage:
        name = uri.split("@", 1)[0].rsplit("/", 1)[-1].partition(":")[0]
        return name not in {one for framework in frameworks() for one in repositories(framework)}
    return False


def wanted(request: Mapping[str, Any]) -> str | None:
    """What the job's own tag says; None: nothing."""
    for tag in request.get("Tags") or ():
        if tag["Key"] == TAG:
            return str(tag["Value"])
    return None
