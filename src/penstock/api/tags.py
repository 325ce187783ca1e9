"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.api.context import Context
from penstock.api.translate import invalid
from penstock.errors import Conflict
from penstock.job.life import Job
from penstock.wire.faults import Fault

#: The API reference: at most 50 tags on a resource.
_MOST = 50


def add(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add tags to a resource; equal keys are overwritten. Answers all tags that it then has."""
    job = _existing(context, params["ResourceArn"])
    new = {t["Key"]: t["Value"] for t in params["Tags"]}
    try:
        tags = context.store.put_tags(job, new, _MOST)
    except Conflict as error:  # deleted between reading and writing
        raise _absent(params["ResourceArn"]) from error
    if tags is None:
        raise invalid(f"A resource has at most {_MOST} tags; with these, {job.arn} would have more.")
    return {"Tags": _shown(tags)}


def list_tags(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All tags of a resource, by key. The smallest page that can be asked for holds as many as there can be."""
    if "NextToken" in params:
        raise invalid("The NextToken is not one that ListTags returned.")
    return {"Tags": _shown(context.store.tags(_existing(context, params["ResourceArn"]).arn))}


def delete(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags by key; keys that are not there are passed over."""
    context.store.delete_tags(_existing(context, params["ResourceArn"]).arn, params["TagKeys"])
    return {}


def _existing(context: Context, arn: str) -> Job:
    """The job of an ARN. ARNs are compared without regard to case: clients lower-case them."""
    kind, _, name = arn.rpartition(":")[2].partition("/")
    job = context.store.job(name) if kind == "processing-job" else None
    if kind == "processing-job" and job is None:
        job = context.store.job_of_arn(arn)  # a search through all jobs, so only for who changed the letters
    if job is None or job.arn.lower() != arn.lower():
        raise _absent(arn)
    return job


def _absent(arn: str) -> Fault:
    return invalid(f"The resource {arn} does not exist.")


def _shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": k, "Value": v} for k, v in tags.items()]
