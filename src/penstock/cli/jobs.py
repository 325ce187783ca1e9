"""jobs, queue, describe, logs, stop: what there is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import typer

from penstock import units
from penstock.cli import show
from penstock.client import local_server, record
from penstock.clock import now
from penstock.errors import PenstockError
from penstock.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_STATUSES = ("InProgress", "Completed", "Failed", "Stopping", "Stopped")
_ENDED = {"Completed", "Failed", "Stopped"}


def jobs(
    status: Annotated[
        str | None, typer.Option(help=f"Only jobs of this status: {', '.join(_STATUSES)}.")
    ] = None,
    contains: Annotated[str | None, typer.Option(help="Only jobs whose name contains this.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List jobs, newest first."""
    from penstock.cli.session import HomeSession  # noqa: PLC0415 - loads boto3 in the end

    if status is not None and status not in _STATUSES:
        raise PenstockError(f"--status {status}: no job has that. Statuses are {', '.join(_STATUSES)}.")
    client = HomeSession().quick_client
    filters = {"StatusEquals": status, "NameContains": contains}
    pages = client.get_paginator("list_processing_jobs").paginate(
        SortBy="CreationTime",
        SortOrder="Descending",
        PaginationConfig={"MaxItems": limit, "PageSize": min(limit, 100)},
        **{k: v for k, v in filters.items() if v},
    )
    found = [job for page in pages for job in page["ProcessingJobSummaries"]]
    if json:
        show.as_json(found)
        return
    phases = _phases() if any(job["ProcessingJobStatus"] not in _ENDED for job in found) else {}
    rows: list[tuple[str, ...]] = []
    for job in found:
        began = job["CreationTime"].timestamp() * 1000
        ended = job["ProcessingEndTime"].timestamp() * 1000 if "ProcessingEndTime" in job else now()
        rows.append(
            (
                job["ProcessingJobName"],
                job["ProcessingJobStatus"],
                phases.get(job["ProcessingJobName"], ""),
                show.lately(int(began)),
                units.duration(ended - began),
                job.get("FailureReason", ""),
            )
        )
    columns: tuple[str, ...] = ("NAME", "STATUS", "PHASE", "CREATED", "TOOK", "REASON")
    if found and not phases and show.out.file.isatty():  # all have ended: the room is for what is
        columns, rows = _without(columns, 2), [_without(row, 2) for row in rows]
    if found:
        show.table(columns, rows, crop=True)
    elif status or contains:
        show.note("No job matches.")
    else:
        show.note("There are no jobs. Run one: penstock run SCRIPT --framework python==3.11")


def _phases() -> dict[str, str]:
    """Where the jobs are that have not ended: in which phase, or at which place of the queue."""
    told = record.queue(local_server.ensure())
    several = _several(told)

    def where(one: Mapping[str, Any], word: str) -> str:
        return f" {word} {one['engine']}" if several and one["engine"] else ""

    waiting = {
        one["name"]: f"queued, {units.ordinal(one['position'])}{where(one, 'for')}" for one in told["waiting"]
    }
    return {**waiting, **{one["name"]: f"{one['phase']}{where(one, 'on')}" for one in told["running"]}}


def _several(told: Mapping[str, Any]) -> bool:
    """Whether there is more than one engine."""
    return len({one["engine"] for one in told["nodes"]} | {one["engine"] for one in told["waiting"]}) > 1


def queue(
    limit: Annotated[int, typer.Option(help="How many of the waiting jobs, the next first.", min=1)] = 100,
    json: Json = False,
) -> None:
    """Show what runs on the machine, what waits and for what, and what is free."""
    told = record.queue(local_server.ensure())
    if json:
        show.as_json(told)
        return
    rows: list[tuple[str, ...]] = [
        (
            "",
            one["name"],
            one["phase"],
            one["takes"],
            _priority(one),
            one["owner"],
            one["engine"],
            one["server"] or "",
            "",
        )
        for one in told["running"]
    ]
    rows += [
        (str(one["position"]), one["name"], "queued", one["asks_for"], _priority(one), one["owner"], one["engine"], "",
         one["reason"])
        for one in told["waiting"][:limit]
    ]  # fmt: skip
    columns: tuple[str, ...] = (
        "",
        "NAME",
        "PHASE",
        "RESOURCES",
        "PRIORITY",
        "OWNER",
        "ENGINE",
        "SERVER",
        "WAITS",
    )
    if not any(one["server"] for one in told["running"]):  # there is but one
        columns, rows = _without(columns, 7), [_without(row, 7) for row in rows]
    if not _several(told):
        columns, rows = _without(columns, 6), [_without(row, 6) for row in rows]
    if rows:
        show.table(columns, rows)
    else:
        show.note("Nothing runs, and nothing waits.")
    if len(told["waiting"]) > limit:
        show.note(f"{len(told['waiting']) - limit} more wait; --limit shows them.")
    if len(told["nodes"]) > 1:
        show.out.print()
        _show_nodes(told["nodes"])
    free, capacity = told["free"], told["capacity"]
    show.note(
        f"free: {max(0, free['cpus'])} of {capacity['cpus']} CPUs, {units.size(max(0, free['memory_bytes']))} of "
        f"{units.size(capacity['memory_bytes'])}, {max(0, free['gpus'])} of {capacity['gpus']} GPUs, "
        f"{max(0, free['instances'])} of {capacity['instances']} instances"
    )


def nodes(json: Json = False) -> None:
    """Show the machines on which jobs run: what they have, what of it is taken, and by which jobs."""
    found = record.nodes(local_server.ensure())
    if json:
        show.as_json(found)
    elif found:
        _show_nodes(found)
    else:
        show.note("There are no nodes. `penstock queue` says why, when a job waits for one.")


def _show_nodes(found: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for one in found:
        taken, total = one["taken"], one["total"]
        memory = [f"{units.size(some['memory_bytes']).removesuffix(' GiB')}" for some in (taken, total)]
        rows.append(
            (
                one["name"],
                one["address"],
                one["engine"],
                "alive" if one["alive"] else "lost",
                f"{taken['cpus']} of {total['cpus']}",
                f"{memory[0]} of {units.size(total['memory_bytes'])}",
                f"{taken['gpus']} of {total['gpus']}",
                ", ".join(
                    there["name"] + (f" ({len(there['instances'])})" if len(there["instances"]) > 1 else "")
                    for there in one["jobs"]
                ),
            )
        )
    show.table(("NODE", "ADDRESS", "ENGINE", "STATE", "CPUS", "MEMORY", "GPUS", "JOBS"), rows)


def _without(row: tuple[str, ...], place: int) -> tuple[str, ...]:
    return row[:place] + row[place + 1 :]


def _priority(one: Mapping[str, Any]) -> str:
    return str(one["priority"] or "")


def describe(
    name: str,
    lock: Annotated[
        bool,
        typer.Option("--lock", help="Print its environment's lock, a requirements file, for run --lock."),
    ] = False,
    json: Json = False,
) -> None:
    """Show all that is known of a job: phases, metrics, environment, inputs, outputs."""
    address = local_server.ensure()
    told = record.fetch(address, name)
    if lock:
        text = record.lock_of(told, address)
        if json:
            show.as_json({"sha256": record.lock_name(told), "lock": text})
        else:
            print(text, end="")
        return
    if json:
        show.as_json(told)
        return
    show.facts(_summary(told))
    show.out.print()
    show.table(("PHASE", "AT", "TOOK"), show.phases(told))
    if told["lost"]:
        show.out.print()
        rows = [(str(one["attempt"]), show.moment(one["ended_at"]), one["reason"]) for one in told["lost"]]
        show.table(("LOST ATTEMPT", "AT", "REASON"), rows)
    if metrics := told.get("metrics"):
        show.out.print()
        show.table(("METRIC", "LAST", "LEAST", "MOST", "VALUES"), [_metric(one) for one in metrics])
    if untold := record.untold_metrics(told):
        show.out.print()
        for text in untold:
            show.out.print(text, markup=False)
    for host in told["hosts"]:
        _show_host(host, alone=len(told["hosts"]) == 1)


def outputs(
    name: str,
    limit: Annotated[int, typer.Option(help="How many rows of the table.", min=1)] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print all, one JSON object per line.")] = False,
) -> None:
    """List the objects that a job has stored, with sizes and checksums."""
    found = record.uploads(local_server.ensure(), name)
    if json:
        for one in found:
            show.as_json_line(one)
        return
    rows = [
        (units.size(one["size"]), show.lately(one["at"]), one["host"], one["sha256"], one["uri"])
        for one in islice(found, limit)
    ]
    if not rows:
        show.note(f"{name} has stored nothing.")
        return
    show.table(("SIZE", "STORED", "HOST", "SHA-256", "S3"), rows)
    if next(found, None) is not None:
        show.note(f"Only the first {limit} are shown; --json prints all.")


def logs(
    name: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    json: Json = False,
) -> None:
    """Print a job's log.

    With --follow the exit code is 0 for a job that is Completed, 1 for a Failed and 4 for a Stopped one.
    """
    from penstock.cli.session import EXIT_CODES, HomeSession  # noqa: PLC0415 - loads boto3 in the end

    session = HomeSession()
    if json:
        pages = session.logs_client.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )
        events = [event for page in pages for event in page["events"]]
        show.as_json(events)
        if not events and (gone := record.no_log(record.fetch(local_server.ensure(), name))):
            show.note(gone)
        return
    session.describe_processing_job(name)
    if not follow:
        session.logs_for_processing_job(name, wait=False)
        return
    failure = session.follow(name)
    told = record.fetch(local_server.ensure(), name)
    if failure:
        show.failed(told, str(failure))
    raise typer.Exit(EXIT_CODES[told["status"]])


def stop(name: str, json: Json = False) -> None:
    """Ask a job to stop. What it has written by then is uploaded all the same."""
    from penstock.cli.session import HomeSession  # noqa: PLC0415 - loads boto3 in the end

    session = HomeSession()
    session.stop_processing_job(name)
    told = session.describe_processing_job(name)
    if json:
        show.as_json({"name": name, "status": told["ProcessingJobStatus"]})
    else:
        show.note(f"{name}: {told['ProcessingJobStatus']}")


def _summary(told: dict[str, Any]) -> list[tuple[str, str]]:
    request = told["request"]
    cluster = request["ProcessingResources"]["ClusterConfig"]
    application = request["AppSpecification"]
    ended = told["ended_at"] or now()
    kind = cluster.get("InstanceType") or cluster.get("SelectedInstanceType")
    rows = [
        ("name", told["name"]),
        ("status", told["status"]),
        ("queue", record.place(told) or ""),
        ("priority", _priority(told)),
        ("engine", told.get("engine") or ""),
        ("server", told["server"] or ""),
        ("attempt", str(told["attempt"]) if told["lost"] else ""),
        ("took", units.duration(ended - told["created_at"])),
        ("created", show.moment(told["created_at"])),
        ("image", application["ImageUri"]),
        ("entrypoint", " ".join(application.get("ContainerEntrypoint") or [])),
        ("arguments", " ".join(application.get("ContainerArguments") or [])),
        ("instances", f"{cluster.get('InstanceCount', 1)} x {kind}"),
        ("reason", told["failure_reason"] or ""),
        ("log", record.no_log(told) or ""),
        ("exit message", told["exit_message"] or ""),
        ("tags", ", ".join(f"{k}={v}" for k, v in told["tags"].items())),
        ("arn", told["arn"]),
    ]
    return [(key, value) for key, value in rows if value]


def _show_host(host: dict[str, Any], *, alone: bool) -> None:
    show.out.print()
    code = "" if host["exit_code"] is None else f", exit code {host['exit_code']}"
    if not alone:
        node = f", on {host['node']}" if host.get("node") else ""
        show.out.print(f"[bold]{host['name']}[/]: {host['phase']}{code}{node}")
    if host["progress"]:
        show.out.print(str(Progress.from_json(host["progress"])))
    if image := host.get("image"):
        show.out.print(
            f"image: {image['digest'] or image['id']}, in a container by {image['engine']}", markup=False
        )
    environment = host.get("environment")
    if environment:
        show.out.print(
            f"environment: Python {environment['python']}, {len(environment['packages'])} packages"
        )
        for deviation in environment["deviations"]:
            show.out.print(f"  note: {deviation}", markup=False)
    if host.get("limits"):
        show.out.print(f"limits: {limits_of(host['limits'])}")
    rows = [
        ("in", one["name"], *_amount(one), one["uri"])
        for one in [*(host.get("inputs") or []), *(host.get("streams") or [])]
    ]
    rows += [
        ("out", one["name"], units.count(one["files"], "file"), units.size(one["bytes"]), one["uri"])
        for one in host.get("outputs") or []
    ]
    if rows:
        show.table(("", "NAME", "", "SIZE", "S3"), rows)


def _metric(one: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = (f"{one[what]:g}" for what in ("last", "minimum", "maximum"))
    return (one["name"], *numbers, str(one["size"]))


def limits_of(record: Mapping[str, Any]) -> str:
    """What a program gets of its machine, in words."""
    cpus, gpus = record["cpus"], record["gpus"]
    parts = [
        f"CPUs {', '.join(map(str, cpus))}" if cpus is not None else "all CPUs",
        f"{units.size(record['memory_bytes'])} of memory" if record["memory_bytes"] else "all memory",
    ]
    if record["shm_bytes"]:
        parts.append(f"{units.size(record['shm_bytes'])} of /dev/shm")
    if record["processes"]:
        parts.append(f"{record['processes']} processes")
    if gpus:
        parts.append(f"GPUs {', '.join(map(str, gpus))}")
    return ", ".join(parts)


def _amount(one: Mapping[str, Any]) -> tuple[str, str]:
    """How much an input is; of a local one nobody knows."""
    if one["objects"] is None:
        return "where it lies", "-"
    return units.count(one["objects"], "object"), units.size(one["bytes"])
