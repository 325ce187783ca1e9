"""Jobs and hosts as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from penstock.job.claim import Claim, Resources, resources_of
from penstock.job.events import Host
from penstock.job.life import Attempt, Carrier, Job, Phase, from_key

#: What of a request is a single value, by which the components of jobs are found, and in which column it is then.
PARTS: Mapping[str, Literal["text", "number"]] = {
    "AppSpecification.ImageUri": "text",
    "ExperimentConfig.ExperimentName": "text",
    "ExperimentConfig.RunName": "text",
    "ExperimentConfig.TrialComponentDisplayName": "text",
    "ExperimentConfig.TrialName": "text",
    "ProcessingOutputConfig.KmsKeyId": "text",
    "ProcessingResources.ClusterConfig.InstanceCount": "number",
    "ProcessingResources.ClusterConfig.InstanceType": "text",
    "ProcessingResources.ClusterConfig.SelectedInstanceCount": "number",
    "ProcessingResources.ClusterConfig.SelectedInstanceType": "text",
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId": "text",
    "ProcessingResources.ClusterConfig.VolumeSizeInGB": "number",
    "RoleArn": "text",
    "StoppingCondition.MaxRuntimeInSeconds": "number",
}

#: The note by which a runner tells its environment's lock.
LOCK_NOTE = "lock"


def job_row(job: Job) -> dict[str, Any]:
    """The columns of a job."""
    wanted = resources_of(job.request)
    return {
        **move_row(job),
        "name": job.name,
        "uid": job.uid,
        "arn": job.arn,
        "request": _text(job.request),
        "created_at": job.created_at,
        "lock": job.lock,
        "logs_removed_at": job.logs_removed_at,
        "owner": job.owner,
        "priority": job.priority,
        "engine": job.engine,
        "cpus": wanted.cpus,
        "memory": wanted.memory,
        "gpus": wanted.gpus,
        "instances": wanted.instances,
        "server": job.carrier.server,
        "epoch": job.carrier.epoch,
        "place": job.place,
    }


def part_rows(job: Job) -> list[dict[str, Any]]:
    """The rows of what of a job's request is a single value."""
    rows = []
    for path, column in PARTS.items():
        value: Any = job.request
        for name in path.split("."):
            value = (value or {}).get(name)
        if value is not None:
            row = {"job_uid": job.uid, "name": path.lower(), "number": None, "text": None}
            rows.append({**row, column: value})
    return rows


def _text(value: Any) -> str:
    """JSON of what a job holds, which has been checked. What a runner says of a host may be more than orjson takes."""
    return orjson.dumps(value).decode()


def move_row(job: Job) -> dict[str, Any]:
    """The columns of a job that a move may change; its tags alone change its priority."""
    return {
        "modified_at": job.modified_at,
        "phase": job.phase.value,
        "status": job.status,
        "version": job.version,
        "phases": _text(job.phases),
        "lost": _text(job.lost),
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "failure_reason": job.failure_reason,
        "exit_message": job.exit_message,
    }


#: The names of those columns.
JOB_MOVES = (
    "modified_at",
    "phase",
    "status",
    "version",
    "phases",
    "lost",
    "started_at",
    "ended_at",
    "failure_reason",
    "exit_message",
)


def to_job(row: Any) -> Job:
    """The job of a row that has the columns as attributes, from SQLAlchemy or made of a driver's."""
    return Job(
        name=row.name,
        uid=row.uid,
        arn=row.arn,
        request=orjson.loads(row.request),
        created_at=row.created_at,
        modified_at=row.modified_at,
        phase=Phase(row.phase),
        version=row.version,
        phases=orjson.loads(row.phases),
        lost=tuple(Attempt(**one) for one in orjson.loads(row.lost)),
        started_at=row.started_at,
        ended_at=row.ended_at,
        failure_reason=row.failure_reason,
        exit_message=row.exit_message,
        owner=row.owner,
        priority=row.priority,
        carrier=Carrier(row.server, row.epoch),
        place=row.place,
        engine=row.engine,
        lock=row.lock,
        logs_removed_at=row.logs_removed_at,
    )


def carrier_row(carrier: Carrier) -> dict[str, Any]:
    """The columns that say who carries a job."""
    return {"server": carrier.server, "epoch": carrier.epoch}


def to_claim(row: Any) -> Claim:
    """The claim of a row that has the columns of one."""
    wanted = Resources(row.cpus, row.memory, row.gpus, row.instances)
    return Claim(row.uid, row.name, row.owner, wanted, row.created_at, row.priority, row.engine)


def host_row(host: Host) -> dict[str, Any]:
    """The columns of a host."""
    return {
        "job_uid": host.job_uid,
        "name": host.key,
        "job_name": host.job_name,
        "token_digest": host.token_digest,
        "log_stream": host.log_stream,
        "handle": host.handle,
        "lease_until": None,  # given afterwards, by the database's clock
        **host_move_row(host),
    }


def host_move_row(host: Host) -> dict[str, Any]:
    """The columns of a host that its events change."""
    return {
        "phase": host.phase.value,
        "sequence": host.sequence,
        "phases": json.dumps(host.phases),
        "notes": json.dumps(host.notes),
        "outcome": None if host.outcome is None else json.dumps(host.outcome),
        "lock": lock if isinstance(lock := host.notes.get(LOCK_NOTE), str) else None,
    }


#: The names of those columns.
HOST_MOVES = ("phase", "sequence", "phases", "notes", "outcome", "lock")


def to_host(row: Any) -> Host:
    """The host of a row."""
    name, attempt = from_key(row.name)
    return Host(
        job_uid=row.job_uid,
        job_name=row.job_name,
        name=name,
        attempt=attempt,
        token_digest=row.token_digest,
        log_stream=row.log_stream,
        handle=row.handle,
        phase=Phase(row.phase),
        sequence=row.sequence,
        phases=json.loads(row.phases),
        notes=json.loads(row.notes),
        outcome=None if row.outcome is None else json.loads(row.outcome),
    )
