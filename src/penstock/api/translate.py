"""AWS's names and shapes <-> ours. The single border crossing; the request itself is kept whole."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from penstock.job.events import Host
from penstock.job.life import Job
from penstock.job.metrics import untold
from penstock.job.uploads import Upload
from penstock.progress import Progress, together
from penstock.store.metrics import Summary
from penstock.wire.faults import Fault, validation

#: AWS's own default (the API reference of ProcessingStoppingCondition: one day).
DEFAULT_RUNTIME_SECONDS = 86_400


def with_defaults(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with the defaults that AWS's Describe shows when a client left them out."""
    # Copied is what is changed, and no more: every new job comes this way.
    full = dict(request)
    full.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_RUNTIME_SECONDS})
    cluster = dict(full["ProcessingResources"]["ClusterConfig"])
    full["ProcessingResources"] = {**full["ProcessingResources"], "ClusterConfig": cluster}
    if "InstancePreferences" in cluster:
        # The first preference is always to be had: this machine plays any instance type.
        first = cluster["InstancePreferences"][0]
        cluster["SelectedInstanceType"] = first["InstanceType"]
        cluster["SelectedInstanceCount"] = first.get("InstanceCount", cluster.get("InstanceCount", 1))
        cluster.setdefault("InstanceCount", cluster["SelectedInstanceCount"])
    cluster.setdefault("InstanceCount", 1)
    if full.get("ProcessingInputs"):
        full["ProcessingInputs"] = [_whole_input(given) for given in full["ProcessingInputs"]]
    if (config := full.get("ProcessingOutputConfig")) and config.get("Outputs"):
        outputs = [{"AppManaged": False, **given} for given in config["Outputs"]]
        full["ProcessingOutputConfig"] = {**config, "Outputs": outputs}
    return full


def _whole_input(given: Mapping[str, Any]) -> dict[str, Any]:
    full = {"AppManaged": False, **given}
    if "S3Input" in full:
        full["S3Input"] = {"S3DataDistributionType": "FullyReplicated", **full["S3Input"]}
    return full


def description(job: Job) -> dict[str, Any]:
    """What DescribeProcessingJob answers: the request as kept, and what has become of it."""
    echoed = {k: v for k, v in job.request.items() if k != "Tags"}
    return {**echoed, **_state(job), "ProcessingStartTime": job.started_at}


def summary(job: Job) -> dict[str, Any]:
    """One line of ListProcessingJobs."""
    return _state(job)


def record(
    job: Job,
    hosts: Sequence[Host],
    tags: Mapping[str, str],
    uploads: Sequence[Mapping[str, Any]],
    transfers: Mapping[str, Progress],
    place: Mapping[str, Any] | None = None,
    server: str | None = None,
    metrics: Sequence[Summary] = (),
    nodes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Penstock's own record of a job, richer than AWS's: phases, hosts, environments, transfers. JSON.

    Args:
        job: The job.
        hosts: Its instances, in all attempts.
        tags: Its tags.
        uploads: What is stored of each output.
        transfers: What its hosts move just now.
        place: Its entry of the queue; None when it has been started.
        server: Where the server is that carries it on; None when there is but one.
        metrics: What the values of its trial component's metrics come to.
        nodes: Name and address of the machines of its hosts, while they are there.
    """
    moved = together(list(transfers.values()))
    return {
        "name": job.name,
        "arn": job.arn,
        "status": job.status,
        "phase": job.phase.value,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "phases": dict(job.phases),
        "attempt": job.attempt,
        "lost": [_attempt(job, hosts, number) for number in range(1, job.attempt)],
        "failure_reason": job.failure_reason,
        "exit_message": job.exit_message,
        "logs_removed_at": job.logs_removed_at,
        "request": dict(job.request),
        "tags": dict(tags),
        "progress": moved and moved.to_json(),
        "uploads": list(uploads),
        "metrics": [one._asdict() for one in metrics],
        "untold_metrics": [
            {"name": one.name, "regex": one.pattern.pattern}
            for one in untold(job.request.get("Environment") or {}, {one.name for one in metrics})
        ]
        if job.ended_at is not None
        else [],
        "owner": job.owner,
        "priority": job.priority,
        "server": server,
        "engine": job.engine or None,
        "queue": None if place is None else {name: place[name] for name in ("position", "reason")},
        "hosts": [
            {
                "name": h.name,
                "phase": h.phase.value,
                "phases": dict(h.phases),
                "log_stream": h.log_stream,
                "node": (nodes or {}).get(h.name),
                "exit_code": (h.outcome or {}).get("exit_code"),
                "progress": transfers[h.key].to_json() if h.key in transfers else None,
                **h.notes,
            }
            for h in hosts
            if h.attempt == job.attempt
        ],
    }


def _attempt(job: Job, hosts: Sequence[Host], number: int) -> dict[str, Any]:
    """An attempt that was lost, for the record."""
    lost = job.lost[number - 1]
    return {
        "attempt": number,
        "phases": dict(lost.phases),
        "ended_at": lost.ended_at,
        "reason": lost.reason,
        "log_streams": [h.log_stream for h in hosts if h.attempt == number],
    }


def upload_page(found: Sequence[tuple[str, Upload]], limit: int) -> dict[str, Any]:
    """A page of the upload manifest; `next` leads to the one that follows, and is None at the end."""
    more = len(found) == limit and (found[-1][1].uri, found[-1][0])
    return {
        "uploads": [{"host": host, **asdict(upload)} for host, upload in found],
        "next": token(more) if more else None,
    }


def token(place: Any) -> str:
    """A NextToken: opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps(place, ensure_ascii=False, allow_nan=False).encode()).decode()


def place(text: str | None) -> Any:
    """What `token` was given; None for None.

    Raises:
        Fault: It is no token of ours.
    """
    if text is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(text.encode()))
        # Written again it must be the same: so it holds no half of a surrogate pair, which no database takes.
        ours = token(found) == text
    except (ValueError, RecursionError):
        ours = False
    if not ours:
        raise invalid("The NextToken is not one that this operation returned.")
    return found


def invalid(message: str) -> Fault:
    """A ValidationException."""
    return validation(message)


def _state(job: Job) -> dict[str, Any]:
    return {
        "ProcessingJobName": job.name,
        "ProcessingJobArn": job.arn,
        "ProcessingJobStatus": job.status,
        "CreationTime": job.created_at,
        "LastModifiedTime": job.modified_at,
        "ProcessingEndTime": job.ended_at,
        "FailureReason": job.failure_reason,
        "ExitMessage": job.exit_message,
    }
