"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from penstock.api.checks import broken_tags
from penstock.api.context import Context
from penstock.api.entities import named_by_arn, tag_list, tags_of
from penstock.api.processing import find_by_arn, no_resource
from penstock.api.translate import invalid
from penstock.errors import Conflict, Missing
from penstock.job.claim import ENGINE, PRIORITY, resources_of

#: The API reference: at most 50 tags on a resource.
_MOST = 50


def add(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add tags to a resource; equal keys are overwritten. Answers all tags that it then has."""
    arn, new = params["ResourceArn"], tags_of(params)
    try:
        if named := named_by_arn(context, arn):
            tags = context.store.experiments.put_tags(*named, new, _MOST)
        else:
            job = find_by_arn(context, arn)
            if broken := list(broken_tags(params["Tags"], context.choice)):
                raise invalid(" ".join(broken))
            tags = context.store.put_tags(job, new, _MOST)
    except (Conflict, Missing) as error:  # not there, or deleted between reading and writing
        raise no_resource(arn) from error
    if tags is None:
        raise invalid(f"A resource has at most {_MOST} tags; with these, {arn} would have more.")
    _follow(context, arn, new)
    return {"Tags": tag_list(tags)}


def list_tags(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All tags of a resource, by key. The smallest page that can be asked for holds as many as there can be."""
    if "NextToken" in params:
        raise invalid("The NextToken is not one that ListTags returned.")
    return {"Tags": tag_list(context.store.tags(_existing(context, params["ResourceArn"])))}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags by key; keys that are not there are passed over."""
    context.store.delete_tags(_existing(context, params["ResourceArn"]), params["TagKeys"])
    _follow(context, params["ResourceArn"], params["TagKeys"])
    return {}


def _existing(context: Context, arn: str) -> str:
    """The ARN of what is there, in its own letters.

    Raises:
        Fault: There is nothing of that ARN.
    """
    if named := named_by_arn(context, arn):
        found = context.store.experiments.get(*named)
        if found is None:
            raise no_resource(arn)
        return str(found.arn)
    return find_by_arn(context, arn).arn


def _follow(context: Context, arn: str, changed: Container[str]) -> None:
    """A job that waits may have to wait for another engine, and it may have come to its turn."""
    if ENGINE in changed and named_by_arn(context, arn) is None:
        job = find_by_arn(context, arn)
        engine = context.choice.of(context.store.tags(job.arn), resources_of(job.request))
        context.store.send(job, engine)
    if PRIORITY in changed or ENGINE in changed:
        context.wake()
