"""CreateProcessingJob, DescribeProcessingJob, ListProcessingJobs, StopProcessingJob, DeleteProcessingJob."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping
from typing import Any

from penstock.api import locks
from penstock.api.checks import broken_rules
from penstock.api.context import Context
from penstock.api.entities import missing
from penstock.api.translate import description, invalid, place, summary, token, with_defaults
from penstock.errors import Conflict, IllegalMove, InUse, LockGone, Missing
from penstock.job.claim import OWNER, priority_of, resources_of, too_large
from penstock.job.experiments import Experiment, Trial
from penstock.job.life import Job, Phase, StopAsked, advance
from penstock.job.lock import VARIABLE
from penstock.store.job_query import JobQuery
from penstock.wire.faults import Fault, internal_failure, not_found, resource_in_use

#: AWS does not document its default page size of ListProcessingJobs; its other lists have 10.
_PAGE = 10


async def create(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Put a job on record. Unknown images, clashing paths and the like are refused, with all reasons at once.

    The one operation that is not plain: it waits for the disk together with others (`admission.py`).
    """
    broken = broken_rules(params, context.local_inputs, context.runtime, context.no_engine, context.choice)
    lock = None
    if VARIABLE in (params.get("Environment") or {}):
        lock, rule = await asyncio.to_thread(locks.named, context, params)
        broken += filter(None, [rule])
    if broken:
        raise invalid(" ".join(broken))
    if (full := context.no_room()) is not None:
        raise internal_failure(full)
    request = with_defaults(params)
    tags = {t["Key"]: t["Value"] for t in params.get("Tags") or []}
    wanted = resources_of(request)
    engine = context.choice.of(tags, wanted)
    if context.most is not None and (reason := too_large(wanted, context.most(engine))):
        raise invalid(
            f"{reason} (PENSTOCK_STRICT_RESOURCES refuses it; else it would run alone on all of it.)"
        )
    at = context.clock()
    name = params["ProcessingJobName"]
    job = Job(
        name=name,
        uid=f"{name}-{_unique(context.invocation, name)}",
        arn=context.job_arn(name),
        request=request,
        created_at=at,
        modified_at=at,
        phases={Phase.QUEUED.value: at},
        owner=tags.get(OWNER) or context.signer,
        priority=priority_of(tags),
        engine=engine,
        lock=lock,
    )
    try:
        await context.admission.add(job, tags)
    except Missing as error:
        raise await asyncio.to_thread(_no_parent, context, request["ExperimentConfig"], error) from error
    except InUse as error:
        raise resource_in_use(f"{error} Delete it, or give the job another name.") from error
    except LockGone as error:
        raise invalid(f"environment.{VARIABLE}: {error}") from error
    except Conflict as error:
        there = await asyncio.to_thread(context.store.job, name)
        if context.invocation is not None and there is not None and there.uid == job.uid:
            return {
                "ProcessingJobArn": there.arn
            }  # this very call came before, and its answer did not arrive
        raise resource_in_use(
            "Job name must be unique within an AWS account and region, and a job with this name already exists "
            f"({job.arn})"
        ) from error
    context.wake(soon=False)
    return {"ProcessingJobArn": job.arn}


def _no_parent(context: Context, config: Mapping[str, Any], error: Missing) -> Fault:
    """What of an ExperimentConfig is not there: the experiment first."""
    kinds: tuple[tuple[type[Any], str], ...] = ((Experiment, "ExperimentName"), (Trial, "TrialName"))
    for kind, member in kinds:
        name = config.get(member)
        if name is not None and context.store.experiments.get(kind, name) is None:
            return missing(context, kind, name)
    return not_found(str(error))


def _unique(invocation: str | None, name: str) -> str:
    """What makes a job's uid its own; the same for a call that is tried again, as when its server has died."""
    if invocation is None:
        # Unique, and no secret: the kernel's randomness costs a switch to another thread.
        return f"{random.getrandbits(48):012x}"
    return hashlib.sha256(f"{invocation} {name}".encode()).hexdigest()[:12]


def describe(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """All that is known of a job, in AWS's shape."""
    return description(find(context, params["ProcessingJobName"]))


def list_jobs(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """A page of jobs."""
    query = JobQuery(
        created_after=params.get("CreationTimeAfter"),
        created_before=params.get("CreationTimeBefore"),
        modified_after=params.get("LastModifiedTimeAfter"),
        modified_before=params.get("LastModifiedTimeBefore"),
        name_contains=params.get("NameContains"),
        status=params.get("StatusEquals"),
        sort_by=params.get("SortBy", "CreationTime"),
        descending=params.get("SortOrder", "Ascending") == "Descending",
    )
    after = place(params.get("NextToken"))
    if after is not None and not _is_place(after, query):
        raise invalid("The NextToken is not one that ListProcessingJobs returned.")
    jobs, following = context.store.list_jobs(query, params.get("MaxResults", _PAGE), after)
    return {
        "ProcessingJobSummaries": [summary(job) for job in jobs],
        "NextToken": None if following is None else token(following),
    }


def _is_place(after: Any, query: JobQuery) -> bool:
    """Whether a token holds what such a query sorts by, and a name."""
    if not (isinstance(after, list) and len(after) == 2 and isinstance(after[1], str)):
        return False
    if query.sort_by == "CreationTime":
        return type(after[0]) is int and 0 <= after[0] < 1 << 63
    return isinstance(after[0], str)


def stop(context: Context, params: Mapping[str, Any]) -> None:
    """Ask a job to stop. A job that is stopping already is left so; one that has ended can't be stopped."""
    while True:
        job = find(context, params["ProcessingJobName"])
        if job.phase is Phase.STOPPING:
            return
        try:
            context.store.save_job(advance(job, StopAsked(), context.clock()))
        except IllegalMove as error:
            raise invalid(
                f"The request was rejected because the processing job is in status {job.status}."
            ) from error
        except Conflict:
            continue  # it moved on between reading and writing: judge it anew
        context.wake()
        context.news.tell(job.uid)
        return


def delete(context: Context, params: Mapping[str, Any]) -> None:
    """Remove an ended job from the record; its name is free again. Its outputs in S3 are not touched."""
    job = find(context, params["ProcessingJobName"])
    if not job.phase.final:
        raise resource_in_use(f"The processing job {job.arn} is in status {job.status} and can't be deleted.")
    try:
        context.store.delete_job(job)
    except Conflict:
        find(context, job.name)  # deleted by somebody else meanwhile: then it is not there
    context.logbook.delete(job.uid)
    context.news.tell(job.uid)


def find(context: Context, name: str) -> Job:
    """The job of that name.

    Raises:
        Fault: There is none. The service answers ValidationException here, not ResourceNotFound: botocore's
            waiter and others match on it.
    """
    job = context.store.job(name)
    if job is None:
        raise invalid(f"Could not find requested job with name: {name}")
    return job


def find_by_arn(context: Context, arn: str) -> Job:
    """The job of an ARN. ARNs are compared without regard to case: clients lower-case them.

    Raises:
        Fault: There is none.
    """
    kind, _, name = arn.rpartition(":")[2].partition("/")
    job = context.store.job(name) if kind == "processing-job" else None
    if kind == "processing-job" and job is None:
        job = context.store.job_of_arn(arn)  # a search through all jobs, so only for who changed the letters
    if job is None or job.arn.lower() != arn.lower():
        raise no_resource(arn)
    return job


def no_resource(arn: str) -> Fault:
    """There is nothing of that ARN."""
    return invalid(f"The resource {arn} does not exist.")
