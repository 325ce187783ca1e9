"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from penstock.api.checks import broken_tags
from penstock.api.context import Context
from penstock.api.processing import find_by_arn, no_resource
from penstock.api.translate import invalid
from penstock.errors import Conflict
from penstock.job.claim import PRIORITY

#: The API reference: at most 50 tags on a resource.
_MOST = 50


def add(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add tags to a resource; equal keys are overwritten. Answers all tags that it then has."""
    broken = list(broken_tags(params["Tags"]))
    if broken:
        raise invalid(" ".join(broken))
    job = find_by_arn(context, params["ResourceArn"])
    new = {t["Key"]: t["Value"] for t in params["Tags"]}
    try:
        tags = context.store.put_tags(job, new, _MOST)
    except Conflict as error:  # deleted between reading and writing
        raise no_resource(params["ResourceArn"]) from error
    if tags is None:
        raise invalid(f"A resource has at most {_MOST} tags; with these, {job.arn} would have more.")
    _tell(context, new)
    return {"Tags": _shown(tags)}


def list_tags(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All tags of a resource, by key. The smallest page that can be asked for holds as many as there can be."""
    if "NextToken" in params:
        raise invalid("The NextToken is not one that ListTags returned.")
    return {"Tags": _shown(context.store.tags(find_by_arn(context, params["ResourceArn"]).arn))}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags by key; keys that are not there are passed over."""
    context.store.delete_tags(find_by_arn(context, params["ResourceArn"]).arn, params["TagKeys"])
    _tell(context, params["TagKeys"])
    return {}


def _tell(context: Context, changed: Container[str]) -> None:
    """A job that waits may have come to its turn."""
    if PRIORITY in changed:
        context.wake()


def _shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": k, "Value": v} for k, v in tags.items()]
