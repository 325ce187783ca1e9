"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.api.checks import broken_tags
from penstock.api.context import Context
from penstock.api.translate import invalid, place, token

#: The API reference: at most 50 tags on a resource.
_MOST = 50


def add(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add tags to a resource; equal keys are overwritten. Answers all tags that it then has."""
    broken = list(broken_tags(params["Tags"]))
    if broken:
        raise invalid(" ".join(broken))
    arn = _existing(context, params["ResourceArn"])
    new = {t["Key"]: t["Value"] for t in params["Tags"]}
    if len({**context.store.tags(arn), **new}) > _MOST:
        raise invalid(f"A resource has at most {_MOST} tags; with these, {arn} would have more.")
    context.store.put_tags(arn, new)
    return {"Tags": _shown(context.store.tags(arn))}


def list_tags(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a resource's tags, by key."""
    tags = _shown(context.store.tags(_existing(context, params["ResourceArn"])))
    start = place(params.get("NextToken")) or 0
    if not isinstance(start, int):
        raise invalid("The NextToken is not one that ListTags returned.")
    end = start + params.get("MaxResults", _MOST)
    return {"Tags": tags[start:end], "NextToken": token(end) if end < len(tags) else None}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags by key; keys that are not there are passed over."""
    context.store.delete_tags(_existing(context, params["ResourceArn"]), params["TagKeys"])
    return {}


def _existing(context: Context, arn: str) -> str:
    """The job's ARN as stored. ARNs are compared without regard to case: clients lower-case them."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    job = context.store.job(name) if kind == "processing-job" else None
    if kind == "processing-job" and job is None:
        job = context.store.job_of_arn(arn)  # a search through all jobs, so only for who changed the letters
    if job is None or job.arn.lower() != arn.lower():
        raise invalid(f"The resource {arn} does not exist.")
    return job.arn


def _shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": k, "Value": v} for k, v in tags.items()]
