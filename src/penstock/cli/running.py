"""`penstock run`: a script becomes a job, through the SDK as any user of it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from penstock.cli import show
from penstock.client import local_server, record
from penstock.client.names import is_s3, local_path, parse_s3_url
from penstock.errors import PenstockError
from penstock.job.claim import ENGINE, PRIORITY, RETRIES
from penstock.job.lock import VARIABLE, EnvironmentLock, decoded
from penstock.job.metrics import DEFINITIONS

if TYPE_CHECKING:
    from penstock.cli.session import HomeSession
    from penstock.processing import ProcessingInput, ProcessingOutput

_INPUT = "/opt/ml/processing/input"
_OUTPUT = "/opt/ml/processing/output"
_METRIC = "NAME=REGEX, such as 'auc=auc: ([0-9.]+)' (quoted for the shell)"


class RunCommand(TyperCommand):
    """A command whose error for an unknown option says where options of the script belong."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of every command."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # NoSuchOption, which is typer's own or click's, depending on typer's version.
            if hasattr(error, "possibilities") and hasattr(error, "message"):
                error.message = f"{str(error.message).rstrip('.')}; script arguments go after --."
            raise


def run(
    script: Annotated[
        Path, typer.Argument(help="The script to run, by python3, or by bash when its name ends in .sh.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Its arguments; those that begin with a dash go after --.")
    ] = None,
    framework: Annotated[
        str | None,
        typer.Option(help="The environment, as sklearn==1.2-1; python==3.11 when nothing is said."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="An image URI in the place of --framework.")] = None,
    lock: Annotated[
        str | None,
        typer.Option(help="The environment of an earlier job again: a lock's file, or the job's name."),
    ] = None,
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
            help="NAME[=DESTINATION]: an output, and the S3 URI or local folder that it goes to.",
        ),
    ] = None,
    source_dir: Annotated[
        Path | None,
        typer.Option(help="A folder to send along, with SCRIPT in it; its requirements.txt is installed."),
    ] = None,
    variables: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE for the script.")] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="NAME=REGEX: a metric, whose values are the first group ( ) in lines of the log."
        ),
    ] = None,
    instance_type: Annotated[str, typer.Option(help="The instance type to play.")] = "ml.m5.xlarge",
    instance_count: Annotated[int, typer.Option(help="How many instances.", min=1, max=100)] = 1,
    experiment: Annotated[
        str | None,
        typer.Option(help="The experiment that it belongs to; made if there is none such.", metavar="NAME"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    max_runtime: Annotated[
        int | None, typer.Option(help="Seconds after which the job is stopped.", min=1)
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            help="How urgent it is: of the jobs that wait, the higher starts first.", min=-100, max=100
        ),
    ] = 0,
    retries: Annotated[
        int | None,
        typer.Option(help="How often it begins anew after the loss of a machine or a runner.", min=0, max=30),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="Where it runs, of a server's several engines: `local` or `ray`.", metavar="NAME"),
    ] = None,
    network: Annotated[bool, typer.Option(help="Whether the script may use the network.")] = True,
    wait: Annotated[bool, typer.Option(help="Follow the log until the job has ended.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a script as a processing job: S3 in, script, S3 out.

    Options may stand before and after SCRIPT; what follows -- are the script's own arguments:
    penstock run train.py --framework sklearn==1.2-1 -- --depth 3

    The script finds its input in /opt/ml/processing/input, and writes the output NAME to
    /opt/ml/processing/output/NAME.

    The exit code is 0 for a job that is Completed, 1 for a Failed and 4 for a Stopped one.
    """
    from penstock.cli.session import EXIT_CODES, HomeSession  # noqa: PLC0415 - not for --help

    code = _code(script, source_dir)
    job_inputs = [_input(text) for text in inputs or []]
    job_outputs = [_output(text) for text in outputs or []]
    session = HomeSession()
    given = {**_pairs("--env", variables or []), **_definitions(metrics or [])}
    if lock:
        sha256, of_lock = _lock(lock)
        given[VARIABLE] = sha256
        framework = framework or (None if image else of_lock)
    processor = _processor(
        session, _image(session, framework, image), script, source_dir, instance_type, instance_count,
        _base_name(script), max_runtime, given, network, _tags(priority, retries, engine),
    )  # fmt: skip
    _check_buckets(session, "input", [str(one.source) for one in job_inputs])
    _check_buckets(session, "output", [str(one.destination) for one, _ in job_outputs if one.destination])
    more: dict[str, Any] = {"source_dir": str(source_dir)} if source_dir else {}
    if experiment is not None:
        more["experiment_config"] = _experiment(session, experiment)
    processor.run(
        code=code, inputs=job_inputs, outputs=[o for o, _ in job_outputs], arguments=arguments or None,
        job_name=name, wait=False, logs=False, **more,
    )  # fmt: skip
    job = processor.latest_job.job_name
    if not json:
        show.note(f"job {job}")
    failure = session.follow(job, quiet=json) if wait else None
    told = record.fetch(local_server.ensure(), job)
    if json:
        show.as_json(told)
    elif wait:
        show.end(told)
    else:
        show.note(f"Next: penstock logs -f {job} | penstock describe {job} | penstock stop {job}")
        _say_how_to_fetch(job_outputs)
    if wait:
        _fetch_local(session, job_outputs)
    if failure:
        show.failed(told, str(failure), hint=f"penstock logs {job}" if json else None)
    if wait:
        raise typer.Exit(EXIT_CODES[told["status"]])


def _code(script: Path, source_dir: Path | None) -> str:
    """The script as the processor wants it: relative to the folder that is sent along, if there is one.

    Raises:
        PenstockError: Script or folder do not exist, or the script is not in the folder.
    """
    if source_dir is None:
        if not script.is_file():
            raise PenstockError(f"The script {script} does not exist.")
        return str(script)
    if not source_dir.is_dir():
        raise PenstockError(f"The folder {source_dir} of --source-dir does not exist.")
    if not script.is_absolute() and (source_dir / script).is_file():  # SageMaker looks only there
        return str(script)
    if not script.is_file():
        raise PenstockError(f"The script {script} exists neither in {source_dir} nor here.")
    # Links as they are come first: the archive has them under their own names.
    for meant in (Path.absolute, Path.resolve):
        inner = Path(os.path.relpath(meant(script), meant(source_dir)))
        if inner.parts[0] != "..":
            return str(inner)
    raise PenstockError(
        f"The script {script} lies outside of {source_dir}. Put it there, or name another --source-dir."
    )


def _base_name(script: Path) -> str:
    """The script's name, as a job's name may begin."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", script.stem).strip("-") or "script"


def _image(session: HomeSession, framework: str | None, image: str | None) -> str:
    from penstock.images.uris import parse_framework  # noqa: PLC0415

    if image and framework:
        raise PenstockError("Give --framework or --image, not both.")
    return image or parse_framework(framework or "python==3.11", session.boto_region_name)


def _experiment(session: HomeSession, name: str) -> dict[str, str]:
    """What makes a job part of the experiment, which is there from now on."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - not for --help

    from penstock.client.entity import is_there_already  # noqa: PLC0415

    try:
        session.quick_client.create_experiment(ExperimentName=name)
    except ClientError as error:
        if not is_there_already(error):
            raise
    return {"ExperimentName": name}


def _lock(text: str) -> tuple[str, str | None]:
    """By which name the server keeps the lock of a file or a job, and for what framework it is."""
    address = local_server.ensure()
    path = Path(text)
    if path.is_file():
        read = _read_lock(path)
        name = record.keep_lock(address, read)
    elif "/" in text or path.suffix:
        raise PenstockError(f"The lock {text} does not exist.")
    else:
        told = record.fetch(address, text)
        read, name = record.lock_of(told, address), record.lock_name(told)
    return name, EnvironmentLock.read(read).framework or None


def _read_lock(path: Path) -> str:
    """The text of a lock's file; what is none is refused with the file's name."""
    try:
        text = decoded(path.read_bytes())
        EnvironmentLock.read(text)
    except (PenstockError, OSError) as error:
        raise PenstockError(f"The lock {path} can't be read: {error}") from error
    return text


def _processor(
    session: HomeSession,
    image: str,
    script: Path,
    source_dir: Path | None,
    instance_type: str,
    instance_count: int,
    base_name: str,
    max_runtime: int | None,
    variables: dict[str, str],
    network: bool,
    tags: list[dict[str, str]],
) -> Any:
    from penstock.network import NetworkConfig  # noqa: PLC0415
    from penstock.processing import FrameworkProcessor, ScriptProcessor  # noqa: PLC0415
    from penstock.sklearn import SKLearn  # noqa: PLC0415

    common: dict[str, Any] = {
        "image_uri": image,
        "command": ["bash" if script.suffix == ".sh" else "python3"],
        "instance_type": instance_type,
        "instance_count": instance_count,
        "base_job_name": base_name,
        "max_runtime_in_seconds": max_runtime,
        "env": variables or None,
        "network_config": None if network else NetworkConfig(enable_network_isolation=True),
        "tags": tags or None,
        "sagemaker_session": session,
    }
    if source_dir is None:
        return ScriptProcessor(**common)
    # With image and name given, nothing of the estimator is used.
    return FrameworkProcessor(SKLearn, framework_version="1.2-1", **common)


def _tags(priority: int, retries: int | None, engine: str | None) -> list[dict[str, str]]:
    given = {PRIORITY: priority or None, RETRIES: retries, ENGINE: engine}
    return [{"Key": key, "Value": str(value)} for key, value in given.items() if value is not None]


def _input(text: str) -> ProcessingInput:
    from penstock.processing import ProcessingInput  # noqa: PLC0415

    source, separator, folder = text.rpartition("=")
    if not separator or not folder.startswith("/"):
        source, folder = text, _INPUT
    if "://" not in source and not Path(source).exists():
        before, _, folder = source.partition("=")
        if folder and Path(before).exists():
            raise PenstockError(
                f"--input {text}: {folder} is no whole path. The script sees inputs below /opt/ml/processing: "
                f"{before}={_INPUT}/{folder}, say."
            )
        raise PenstockError(f"The input {source} does not exist.")
    return ProcessingInput(source=source, destination=folder)


def _output(text: str) -> tuple[ProcessingOutput, Path | None]:
    """An output, and the local folder that it is to be fetched to, if any."""
    from penstock.processing import ProcessingOutput  # noqa: PLC0415

    name, _, destination = text.partition("=")
    if not name or "/" in name:
        raise PenstockError(
            f"--output {text}: give NAME or NAME=DESTINATION, such as train={destination or text}."
        )
    folder = _folder(text, destination)
    remote = destination if destination and folder is None else None
    return ProcessingOutput(output_name=name, source=f"{_OUTPUT}/{name}", destination=remote), folder


def _folder(text: str, destination: str) -> Path | None:
    """The local folder that a destination means; None when it means S3, or nothing is said."""
    if not destination or re.match(r"s3://[^/]", destination):
        return None
    path = (local_path(destination) or "").removeprefix("file:")
    if not path or re.match(r"s3:|[A-Za-z][\w+.-]*:/", path):
        raise PenstockError(f"--output {text}: the destination must be s3://BUCKET/PREFIX or a local folder.")
    return Path(path)


def _pairs(option: str, texts: list[str], meant: str = "NAME=VALUE") -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise PenstockError(f"{option} {text}: give {meant}.")
    return dict(text.split("=", 1) for text in texts)


def _definitions(texts: list[str]) -> dict[str, str]:
    """A variable for each metric that the log tells: what AWS bounds is how long one may be."""
    given = [{"Name": name, "Regex": regex} for name, regex in _pairs("--metric", texts, _METRIC).items()]
    return {f"{DEFINITIONS}_{number}": json_text([one]) for number, one in enumerate(given, 1)}


def _check_buckets(session: HomeSession, what: str, places: list[str]) -> None:
    """Name a missing bucket before the job is there; it would fail for it only later.

    Raises:
        PenstockError: A bucket does not exist.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - comes with boto3

    for place in {place for place in places if is_s3(place)}:
        bucket, _ = parse_s3_url(place)
        try:
            session.s3_client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in {"404", "NoSuchBucket"}:
                raise
            raise PenstockError(
                f"The {what} {place}: there is no bucket {bucket}. Penstock's default bucket is "
                f"{session.default_bucket()}; another one is made by `aws s3 mb s3://{bucket}` after "
                '`eval "$(penstock env)"`.'
            ) from None


def _fetch_local(session: HomeSession, outputs: list[tuple[ProcessingOutput, Path | None]]) -> None:
    from penstock.s3 import S3Downloader  # noqa: PLC0415

    for output, folder in outputs:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            S3Downloader.download(str(output.destination), str(folder), sagemaker_session=session)
            show.note(f"{output.output_name}: fetched to {folder}")


def _say_how_to_fetch(outputs: list[tuple[ProcessingOutput, Path | None]]) -> None:
    for output, folder in outputs:
        if folder is not None:
            program = "import sys; from penstock.s3 import S3Downloader as d; d.download(*sys.argv[1:])"
            words = [sys.executable, "-c", program, str(output.destination), str(folder.absolute())]
            show.note(
                f"Nobody waits for {output.output_name}. To fetch it once the job has ended: {shlex.join(words)}"
            )
