"""What a job's own credentials are good for: objects in S3, and what concerns the job itself. All else is refused.

On AWS the job's role decides; here there are no roles, so one table stands for the usual one. A program may not start
jobs, nor see or touch other ones, nor change what buckets are and who may read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from penstock.api.logs import GROUP
from penstock.api.reach import PARTS, Reach
from penstock.job.experiments import Component, Experiment, Trial, entity_arn, key_of, trial_of
from penstock.job.life import Job
from penstock.wire.faults import Fault, access_denied

if TYPE_CHECKING:
    from penstock.api.context import Context

#: (service, operation) -> the members that must each name what is the job's own; none when it is about nobody.
OPERATIONS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("sagemaker", "DescribeProcessingJob"): ("ProcessingJobName",),
    ("sagemaker", "StopProcessingJob"): ("ProcessingJobName",),
    ("sagemaker", "AddTags"): ("ResourceArn",),
    ("sagemaker", "ListTags"): ("ResourceArn",),
    # What its job is part of, and the run that its ExperimentConfig names: Search finds nothing else. And `Reach`.
    ("sagemaker", "Search"): (),
    ("sagemaker", "CreateExperiment"): ("ExperimentName",),
    ("sagemaker", "DescribeExperiment"): ("ExperimentName",),
    ("sagemaker", "CreateTrial"): ("TrialName", "ExperimentName"),
    ("sagemaker", "DescribeTrial"): ("TrialName",),
    ("sagemaker", "ListTrials"): ("ExperimentName",),
    ("sagemaker", "CreateTrialComponent"): ("TrialComponentName",),
    ("sagemaker", "DescribeTrialComponent"): ("TrialComponentName",),
    ("sagemaker", "UpdateTrialComponent"): ("TrialComponentName",),
    ("sagemaker", "AssociateTrialComponent"): ("TrialComponentName", "TrialName"),
    ("sagemaker", "ListTrialComponents"): ("SourceArn",),
    ("sagemaker", "CreateArtifact"): (),
    # Of a source that it names, and of its own making, see `artifacts.list_artifacts`.
    ("sagemaker", "ListArtifacts"): ("SourceUri",),
    # The artifact at the other end must be of its own making, see `associations.add`.
    ("sagemaker", "AddAssociation"): ("DestinationArn",),
    ("sagemaker-metrics", "BatchPutMetrics"): ("TrialComponentName",),
    ("sagemaker-metrics", "BatchGetMetrics"): ("MetricQueries",),
    ("logs", "DescribeLogGroups"): (),
    ("logs", "DescribeLogStreams"): ("logStreamNamePrefix",),
    ("logs", "GetLogEvents"): ("logStreamName",),
    ("logs", "FilterLogEvents"): ("logStreamNames",),
    ("sts", "GetCallerIdentity"): (),
    ("iam", "GetRole"): (),
}

#: (method, level) -> the query parameter that tells the operation ("" for none) -> its action in IAM.
S3: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("GET", "service"): {"": "ListAllMyBuckets"},
    ("HEAD", "bucket"): {"": "ListBucket"},
    ("GET", "bucket"): {
        "": "ListBucket",
        "location": "GetBucketLocation",
        "uploads": "ListBucketMultipartUploads",
        "versions": "ListBucketVersions",
    },
    ("POST", "bucket"): {"delete": "DeleteObject"},
    ("HEAD", "object"): {"": "GetObject"},
    ("GET", "object"): {
        "": "GetObject",
        "attributes": "GetObjectAttributes",
        "tagging": "GetObjectTagging",
        "uploadId": "ListMultipartUploadParts",
    },
    ("PUT", "object"): {"": "PutObject", "tagging": "PutObjectTagging", "uploadId": "PutObject"},
    ("POST", "object"): {"uploads": "PutObject", "uploadId": "PutObject"},
    ("DELETE", "object"): {
        "": "DeleteObject",
        "tagging": "DeleteObjectTagging",
        "uploadId": "AbortMultipartUpload",
    },
}

#: Query parameters that only refine one of these. Whatever is not listed is taken for an operation of its own.
_REFINING = re.compile(
    r"""prefix|delimiter|marker|max-keys|list-type|continuation-token|start-after|encoding-type|fetch-owner
    |key-marker|version-id-marker|upload-id-marker|max-uploads|part-number-marker|max-parts|max-buckets
    |bucket-region|partNumber|versionId|x-id|response-[a-z-]+|x-amz-(sdk-)?checksum-[a-z0-9-]+
    |X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token|Content-Sha256)""",
    re.VERBOSE,
)
_HINT = (
    " (The job's ExperimentConfig names no experiment: its program may use the one that is named there, and make "
    "runs in it. On the server PENSTOCK_JOB_EXPERIMENTS=all allows all.)"
)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
#: Access lists that give nobody else a right.
_PRIVATE = {b"private", b"bucket-owner-full-control", b"bucket-owner-read"}
_GRANTS = (b"x-amz-grant-", b"x-amz-object-lock-", b"x-amz-bypass-")


def session_arn(account: str, job: Job) -> str:
    """Who a job's program is: its role, assumed in a session that AWS names so."""
    role = str(job.request["RoleArn"]).rpartition("/")[2]
    return f"arn:aws:sts::{account}:assumed-role/{role}/SageMaker"


def maker(account: str, job: Job) -> str:
    """Who is on record as the maker of what a job's program makes: its ARN, which others have as well, and the uid."""
    return f"{session_arn(account, job)} {job.uid}"


def check(context: Context, job: Job, service: str, operation: str, params: Mapping[str, Any]) -> None:
    """Let an AWS operation of a job's program pass.

    Raises:
        Fault: AccessDeniedException.
    """
    members, account = OPERATIONS.get((service, operation)), context.account
    reach = Reach(job, maker(account, job), context.store.experiments, everywhere=context.all_experiments)
    if members is None:
        others: Sequence[str] = list(PARTS)
    else:  # what is named besides is looked at as well: a filter tells of what it names
        asked = {*members, *(member for member in PARTS if params.get(member))}
        others = [m for m in sorted(asked) if not _may_be_named(job, operation, m, params, reach)]
    if members is not None and not others:
        return
    named, hint = params.get("ProcessingJobName"), ""
    resource = params.get("ResourceArn") or "*"
    if named:
        resource = f"{job.arn.rpartition('/')[0]}/{str(named).lower()}"
    elif part := next((member for member in PARTS if member in others and params.get(member)), None):
        resource = entity_arn(job.arn, PARTS[part], params[part])
        config = job.request.get("ExperimentConfig") or {}
        hint = _HINT if members is not None and not config.keys() & {"ExperimentName", "TrialName"} else ""
    elif params.get("MetricQueries"):
        resource = next(arn for arn in _queried(params) if not _may_be_used(job, arn, reach))
    elif service == "logs":
        resource = (
            f"{job.arn.replace(':sagemaker:', ':logs:').partition(':processing-job')[0]}:log-group:{GROUP}"
        )
    raise denied(account, job, f"{service.removesuffix('-metrics')}:{operation}", resource, hint)


def check_s3(account: str, job: Job, method: str, path: bytes, query: bytes, headers: _Headers) -> None:
    """Let a request to S3 of a job's program pass.

    Args:
        account: For the message.
        job: Whose program it is.
        method: In capitals.
        path: Of the request, as it came: `/bucket/key`, percent-encoded.
        query: As it came, without the question mark.
        headers: By lower-case name.

    Raises:
        Fault: AccessDeniedException.
    """
    bucket, _, key = unquote(path.decode("latin-1")).removeprefix("/").partition("/")
    level = "object" if key else "bucket" if bucket else "service"
    names = {unquote(pair.partition("=")[0]) for pair in query.decode("latin-1").split("&")} - {""}
    telling = sorted(name for name in names if not _REFINING.fullmatch(name)) or [""]
    makes_its_own = (method, level, bucket) == ("PUT", "bucket", _default_bucket(job))
    known = {"": "CreateBucket"} if makes_its_own else S3.get((method, level), {})
    fits = level == "service" or (
        _BUCKET.fullmatch(bucket) is not None
        # Where a store tidies paths up, these would lead from an object to its bucket, or to another one.
        and (not key or not ({".", ".."} & set(key.split("/")) or not key.strip("/")))
    )
    if fits and len(telling) == 1 and telling[0] in known:
        action = "PutObjectAcl" if _grants(headers) else None
    else:
        action = _action(method, level, telling[0])
    if action is not None:
        raise denied(account, job, f"s3:{action}", f'"arn:aws:s3:::{"/".join(filter(None, (bucket, key)))}"')


_Headers = Sequence[tuple[bytes, bytes]]


def _default_bucket(job: Job) -> str:
    """The bucket that the official clients make before they put something there: it is there, and they are told so."""
    region, account = job.arn.split(":")[3:5]
    return f"sagemaker-{region}-{account}"


def _may_be_named(job: Job, operation: str, member: str, params: Mapping[str, Any], reach: Reach) -> bool:
    if member == "ProcessingJobName":
        return bool(params[member] == job.name)
    if member in {"ResourceArn", "SourceArn"}:
        return str(params.get(member, "")).lower() == job.arn.lower()
    if member == "DestinationArn":
        return any(_may_be_used(job, key_of(params[end]), reach) for end in ("SourceArn", "DestinationArn"))
    if member == "SourceUri":
        return member in params
    if (kind := PARTS.get(member)) is not None:
        own = own_names(job, kind)
        named = key_of(str(params.get(member, "")))
        is_own = named in {*own, *(entity_arn(job.arn, kind, n) for n in own)}
        return is_own or reach.may(operation, member, params)
    if member == "MetricQueries":
        return all(_may_be_used(job, arn, reach) for arn in _queried(params))
    given = [params[m] for m in ("logStreamName", "logStreamNamePrefix") if params.get(m) is not None]
    given += params.get("logStreamNames") or []
    return bool(given) and all(str(stream).startswith(f"{job.name}/") for stream in given)


def _queried(params: Mapping[str, Any]) -> list[str]:
    return [query["ResourceArn"] for query in params["MetricQueries"]]


def _may_be_used(job: Job, arn: str, reach: Reach) -> bool:
    """Whether an ARN names the job, its trial component, or that of its run; or a component within reach."""
    own = (entity_arn(job.arn, Component, name) for name in own_names(job, Component))
    return arn in {job.arn, *own} or reach.may_at(arn)


def own_names(job: Job, kind: type[Any]) -> set[str]:
    """The experiments, trials or components, by their names in lower case, that a job is part of or has."""
    config = job.request.get("ExperimentConfig") or {}
    names: Mapping[type[Any], Sequence[str | None]] = {
        Experiment: [config.get("ExperimentName")],
        Trial: [trial_of(job)],
        Component: [config.get("RunName"), job.trial_component],
    }
    return {key_of(name) for name in names[kind] if name}


def _grants(headers: _Headers) -> bool:
    return any(
        (name == b"x-amz-acl" and value.strip() not in _PRIVATE) or name.startswith(_GRANTS)
        for name, value in headers
    )


def _action(method: str, level: str, telling: str) -> str:
    """The name that IAM has for what is refused, as near as the rule behind most of its names goes."""
    if (method, level, telling) == ("PUT", "bucket", ""):
        return "CreateBucket"
    verb = {"HEAD": "Get", "POST": "Put"}.get(method, method.capitalize())
    return verb + ("Object" if level == "object" else "Bucket") + telling.title().replace("-", "")


def denied(account: str, job: Job, action: str, resource: str, hint: str = "") -> Fault:
    """That a job's program may not do that, in the words of IAM."""
    return access_denied(
        f"User: {session_arn(account, job)} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action{hint}"
    )
