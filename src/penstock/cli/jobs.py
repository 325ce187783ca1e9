"""run, jobs, describe, logs, stop: jobs, through the SDK as any user of it."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import show
from penstock.client import local_server, record
from penstock.clock import now
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.processing import ProcessingInput, ProcessingOutput
    from penstock.session import Session

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_INPUT = "/opt/ml/processing/input"
_OUTPUT = "/opt/ml/processing/output"


def run(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="The script to run; what follows it are its arguments.")],
    framework: Annotated[
        str | None, typer.Option(help="The environment, as sklearn==1.2-1, xgboost==1.3-1, python==3.11.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="An image URI in the place of --framework.")] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="SOURCE[=FOLDER]: an S3 URI, file or folder, and where the script sees it."
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            help=f"NAME[=DESTINATION]: what the script writes to {_OUTPUT}/NAME goes to that S3 URI or folder.",
        ),
    ] = None,
    source_dir: Annotated[
        Path | None, typer.Option(help="A folder to send along; its requirements.txt is installed.")
    ] = None,
    variables: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE for the script.")] = None,
    instance_type: Annotated[str, typer.Option(help="The instance type to play.")] = "ml.m5.xlarge",
    instance_count: Annotated[int, typer.Option(help="How many instances.", min=1, max=100)] = 1,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    max_runtime: Annotated[int | None, typer.Option(help="Seconds after which the job is stopped.")] = None,
    network: Annotated[bool, typer.Option(help="Whether the script may use the network.")] = True,
    wait: Annotated[bool, typer.Option(help="Follow the log until the job has ended.")] = True,
    json: Json = False,
) -> None:
    """Run a script as a processing job: S3 in, script, S3 out."""
    if not script.is_file():
        raise PenstockError(f"The script {script} does not exist.")
    session = _session()
    job_inputs = [_input(text) for text in inputs or []]
    job_outputs = [_output(text) for text in outputs or []]
    processor = _processor(
        session, _image(session, framework, image), source_dir, instance_type, instance_count, name, max_runtime,
        _pairs(variables or []), network,
    )  # fmt: skip
    arguments: dict[str, Any] = {"source_dir": str(source_dir)} if source_dir else {}
    code = str(script.resolve().relative_to(source_dir.resolve())) if source_dir else str(script)
    processor.run(
        code=code, inputs=job_inputs, outputs=[o for o, _ in job_outputs], arguments=context.args or None,
        job_name=name, wait=False, **arguments,
    )  # fmt: skip
    job = processor.latest_job.job_name
    if not json:
        show.note(f"job {job}")
    failure = _follow(session, job, quiet=json) if wait else None
    told = record.fetch(local_server.ensure(), job)
    if wait:
        _fetch_local(session, job_outputs)
    if json:
        show.as_json(told)
    elif wait:
        _show_end(told)
    else:
        show.note(f"Next: penstock logs -f {job} | penstock describe {job} | penstock stop {job}")
    if failure:
        show.fail(f"The job {job} failed: {told['failure_reason']}", f"penstock logs {job}")
        raise typer.Exit(1)


def jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs of this status, as Failed.")] = None,
    contains: Annotated[str | None, typer.Option(help="Only jobs whose name contains this.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List jobs, newest first."""
    client = _session().sagemaker_client
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
    rows = []
    for job in found:
        began = job["CreationTime"].timestamp() * 1000
        ended = job["ProcessingEndTime"].timestamp() * 1000 if "ProcessingEndTime" in job else now()
        rows.append(
            (
                job["ProcessingJobName"],
                job["ProcessingJobStatus"],
                show.moment(int(began)),
                show.duration(ended - began),
                job.get("FailureReason", ""),
            )
        )
    show.table(("NAME", "STATUS", "CREATED", "TOOK", "REASON"), rows)
    if not found:
        show.note("There are no jobs. Run one: penstock run SCRIPT --framework python==3.11")


def describe(name: str, json: Json = False) -> None:
    """Show all that is known of a job: phases, environment, inputs, outputs."""
    told = record.fetch(local_server.ensure(), name)
    if json:
        show.as_json(told)
        return
    show.table(("", ""), _summary(told))
    show.out.print()
    show.table(("PHASE", "AT", "TOOK"), _phases(told))
    for host in told["hosts"]:
        _show_host(host, alone=len(told["hosts"]) == 1)


def logs(
    name: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    json: Json = False,
) -> None:
    """Print a job's log."""
    session = _session()
    if json:
        client = session.boto_session.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{name}/"
        )
        show.as_json([event for page in pages for event in page["events"]])
        return
    session.describe_processing_job(name)
    if follow and (failure := _follow(session, name)):
        raise failure
    if not follow:
        session.logs_for_processing_job(name, wait=False)


def stop(name: str, json: Json = False) -> None:
    """Ask a job to stop. What it has written by then is uploaded all the same."""
    session = _session()
    session.sagemaker_client.stop_processing_job(ProcessingJobName=name)
    told = session.describe_processing_job(name)
    if json:
        show.as_json({"name": name, "status": told["ProcessingJobStatus"]})
    else:
        show.note(f"{name}: {told['ProcessingJobStatus']}")


def _session() -> Session:
    from penstock.session import Session  # noqa: PLC0415 - loads boto3 in the end

    logging.getLogger("penstock").setLevel(logging.WARNING)
    return Session()


def _image(session: Session, framework: str | None, image: str | None) -> str:
    from penstock.images.uris import parse_framework  # noqa: PLC0415

    if image and framework:
        raise PenstockError("Give --framework or --image, not both.")
    return image or parse_framework(framework or "python==3.11", session.boto_region_name)


def _processor(
    session: Session,
    image: str,
    source_dir: Path | None,
    instance_type: str,
    instance_count: int,
    name: str | None,
    max_runtime: int | None,
    variables: dict[str, str],
    network: bool,
) -> Any:
    from penstock.network import NetworkConfig  # noqa: PLC0415
    from penstock.processing import FrameworkProcessor, ScriptProcessor  # noqa: PLC0415
    from penstock.sklearn import SKLearn  # noqa: PLC0415

    common: dict[str, Any] = {
        "image_uri": image,
        "command": ["python3"],
        "instance_type": instance_type,
        "instance_count": instance_count,
        "base_job_name": name,
        "max_runtime_in_seconds": max_runtime,
        "env": variables or None,
        "network_config": None if network else NetworkConfig(enable_network_isolation=True),
        "sagemaker_session": session,
    }
    if source_dir is None:
        return ScriptProcessor(**common)
    # With an image given, the class of the estimator only names the job.
    return FrameworkProcessor(SKLearn, framework_version="1.2-1", **common)


def _input(text: str) -> ProcessingInput:
    from penstock.processing import ProcessingInput  # noqa: PLC0415

    source, separator, folder = text.rpartition("=")
    if not separator or not folder.startswith("/"):
        source, folder = text, _INPUT
    if "://" not in source and not Path(source).exists():
        raise PenstockError(f"The input {source} does not exist.")
    return ProcessingInput(source=source, destination=folder)


def _output(text: str) -> tuple[ProcessingOutput, Path | None]:
    """An output, and the local folder that it is to be fetched to, if any."""
    from penstock.processing import ProcessingOutput  # noqa: PLC0415

    name, _, destination = text.partition("=")
    remote = destination if destination.startswith("s3://") else None
    output = ProcessingOutput(output_name=name, source=f"{_OUTPUT}/{name}", destination=remote)
    return output, Path(destination) if destination and remote is None else None


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise PenstockError(f"--env {text}: give NAME=VALUE.")
    return dict(text.split("=", 1) for text in texts)


def _follow(session: Session, job: str, *, quiet: bool = False) -> Exception | None:
    """Wait for the job, printing its log unless `quiet`; the error of a failed one."""
    from penstock.exceptions import UnexpectedStatusException  # noqa: PLC0415

    try:
        if quiet:
            # stdout is for the JSON alone.
            with contextlib.redirect_stdout(sys.stderr):
                session.wait_for_processing_job(job)
        else:
            session.logs_for_processing_job(job, wait=True)
    except UnexpectedStatusException as error:
        return error
    return None


def _fetch_local(session: Session, outputs: list[tuple[ProcessingOutput, Path | None]]) -> None:
    from penstock.s3 import S3Downloader  # noqa: PLC0415

    for output, folder in outputs:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            S3Downloader.download(str(output.destination), str(folder), sagemaker_session=session)
            show.note(f"{output.output_name}: {folder}")


def _show_end(told: dict[str, Any]) -> None:
    show.note("")
    phases = "  ".join(f"{phase} {took}" for phase, _, took in _phases(told)[:-1])
    show.note(f"{told['status']}: {phases}")
    for host in told["hosts"]:
        for output in host.get("outputs") or []:
            show.note(
                f"{output['name']}: {output['files']} file(s), {show.size(output['bytes'])} in {output['uri']}"
            )


def _summary(told: dict[str, Any]) -> list[tuple[str, str]]:
    request = told["request"]
    cluster = request["ProcessingResources"]["ClusterConfig"]
    application = request["AppSpecification"]
    ended = told["ended_at"] or now()
    kind = cluster.get("InstanceType") or cluster.get("SelectedInstanceType")
    rows = [
        ("name", told["name"]),
        ("status", told["status"]),
        ("took", show.duration(ended - told["created_at"])),
        ("created", show.moment(told["created_at"])),
        ("image", application["ImageUri"]),
        ("entrypoint", " ".join(application.get("ContainerEntrypoint") or [])),
        ("arguments", " ".join(application.get("ContainerArguments") or [])),
        ("instances", f"{cluster.get('InstanceCount', 1)} x {kind}"),
        ("reason", told["failure_reason"] or ""),
        ("exit message", told["exit_message"] or ""),
        ("tags", ", ".join(f"{k}={v}" for k, v in told["tags"].items())),
        ("arn", told["arn"]),
    ]
    return [(key, value) for key, value in rows if value]


def _phases(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Each phase, when it began and how long it took."""
    reached = sorted(told["phases"].items(), key=lambda item: item[1])
    ends = [at for _, at in reached[1:]] + [None]
    last = told["ended_at"] or now()
    return [
        (phase, show.moment(at), show.duration((end or last) - at))
        for (phase, at), end in zip(reached, ends, strict=True)
    ]


def _show_host(host: dict[str, Any], *, alone: bool) -> None:
    show.out.print()
    code = "" if host["exit_code"] is None else f", exit code {host['exit_code']}"
    if not alone:
        show.out.print(f"[bold]{host['name']}[/]: {host['phase']}{code}")
    environment = host.get("environment")
    if environment:
        show.out.print(
            f"environment: Python {environment['python']}, {len(environment['packages'])} packages"
        )
        for deviation in environment["deviations"]:
            show.out.print(f"  note: {deviation}", markup=False)
    rows = [
        ("in", one["name"], f"{one['objects']} object(s)", show.size(one["bytes"]), one["uri"])
        for one in host.get("inputs") or []
    ]
    rows += [
        ("out", one["name"], f"{one['files']} file(s)", show.size(one["bytes"]), one["uri"])
        for one in host.get("outputs") or []
    ]
    if rows:
        show.table(("", "NAME", "", "SIZE", "S3"), rows)
