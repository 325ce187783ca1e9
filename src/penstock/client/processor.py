"""Processor: starts jobs that run a program of the image; the base of the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.client import current_run, defaults, roles
from penstock.client.io import ProcessingInput, ProcessingOutput, name_inputs
from penstock.client.job import ProcessingJob
from penstock.client.names import image_base, is_s3, job_name, local_path, s3_path_join, tag_list
from penstock.dataset_definition.inputs import S3Input
from penstock.exceptions import UnexpectedStatusException
from penstock.local import LocalSession
from penstock.network import NetworkConfig
from penstock.s3 import S3Downloader, S3Uploader
from penstock.session import Session

logger = logging.getLogger("penstock")

Tags = Mapping[str, object] | Sequence[Mapping[str, str]]


class Processor:
    """Starts jobs that run a program of the image.

    Args:
        role: A role's name or ARN. On the local server it may be left out.
        image_uri: The image.
        instance_count: How many instances.
        instance_type: Their type, `ml.<family>.<size>`, or `local` or `local_gpu`.
        entrypoint: The program and its first arguments, instead of the image's own.
        volume_size_in_gb: Disk space of each instance.
        volume_kms_key: The key that encrypts it.
        output_kms_key: The key that encrypts the outputs.
        max_runtime_in_seconds: The job is stopped after so long; the server's own limit is a day.
        base_job_name: The start of job names; the image's name otherwise.
        sagemaker_session: The session; a new one when None.
        env: Environment variables of the program.
        tags: A dict, or a list of dicts with Key and Value.
        network_config: How the network may be used.

    Attributes:
        jobs: All jobs started, as `ProcessingJob`.
        latest_job: The last of them.
        arguments: The arguments of the last run.

    Raises:
        ValueError: No role is given, and the session is not the local server's.
    """

    JOB_CLASS_NAME = "processing-job"

    def __init__(
        self,
        role: str | None = None,
        image_uri: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        entrypoint: list[str] | None = None,
        volume_size_in_gb: int = 30,
        volume_kms_key: str | None = None,
        output_kms_key: str | None = None,
        max_runtime_in_seconds: int | None = None,
        base_job_name: str | None = None,
        sagemaker_session: Session | None = None,
        env: dict[str, str] | None = None,
        tags: Tags | None = None,
        network_config: NetworkConfig | None = None,
    ) -> None:
        self.image_uri = image_uri
        self.instance_count = instance_count
        self.instance_type = instance_type
        self.entrypoint = entrypoint
        self.volume_size_in_gb = volume_size_in_gb
        self.max_runtime_in_seconds = max_runtime_in_seconds
        self.base_job_name = base_job_name
        self.tags = tag_list(tags)
        self.jobs: list[ProcessingJob] = []
        self.latest_job: ProcessingJob | None = None
        self.arguments: list[str] | None = None
        self._current_job_name: str | None = None
        #: For outputs that shall be in a folder of this machine: where they are in S3 -> the folder.
        self._folders: dict[str, Path] = {}

        wants_local = instance_type in {"local", "local_gpu"}
        if wants_local and (
            sagemaker_session is None or not (sagemaker_session.local_mode or sagemaker_session.is_local)
        ):
            # SageMaker's does the same: local mode never goes to the account of a session that leads to AWS.
            sagemaker_session = LocalSession(disable_local_code=True)
        self.sagemaker_session: Session = sagemaker_session or Session()
        config = self.sagemaker_session.sagemaker_config
        self.volume_kms_key = defaults.lookup(config, defaults.VOLUME_KEY, volume_kms_key)
        self.output_kms_key = defaults.lookup(config, defaults.OUTPUT_KEY, output_kms_key)
        self.network_config = defaults.network(config, network_config)
        self.env = defaults.lookup(config, defaults.ENVIRONMENT, env)
        role = defaults.lookup(config, defaults.ROLE, role)
        if not role and not self.sagemaker_session.is_local:
            raise ValueError("An AWS IAM role is required to create a Processing job.")
        #: On the local server every role will do, so nobody has to make one up.
        self.role: str = role or roles.LOCAL_ROLE

    @property
    def current_job_name(self) -> str:
        """The name of the job that is being started, or was last."""
        if self._current_job_name is None:
            self._current_job_name = self._generate_current_job_name()
        return self._current_job_name

    def run(
        self,
        inputs: list[ProcessingInput] | None = None,
        outputs: list[ProcessingOutput] | None = None,
        arguments: list[str] | None = None,
        wait: bool = True,
        logs: bool = True,
        job_name: str | None = None,
        experiment_config: dict[str, str] | None = None,
        kms_key: str | None = None,
    ) -> None:
        """Start a job.

        Args:
            inputs: What it gets. Local sources are uploaded first.
            outputs: What it yields. On the local server, and with a LocalSession, an output whose destination is a
                `file://` URL is fetched to that folder once the job has been waited for, however it ended.
            arguments: The program's arguments.
            wait: Return only when the job has ended.
            logs: Print the log meanwhile.
            job_name: Its name, at most 63 letters, digits and `-`; made from `base_job_name` when None.
            experiment_config: The experiment it belongs to, by `ExperimentName`, `TrialName`,
                `TrialComponentDisplayName` and `RunName`; within the `with` block of a `Run`, that run when None.
            kms_key: The key that encrypts what is uploaded.

        Raises:
            ValueError: `logs` without `wait`, or inputs that can't be, as a folder without files.
            FileNotFoundError: A local source does not exist.
            UnexpectedStatusException: The job failed (with `wait`).
            botocore.exceptions.ClientError: The server refuses the request.
        """
        if logs and not wait:
            raise ValueError(
                "Logs can only be shown if wait is set to True. "
                "Please either set wait to True or set logs to False."
            )
        self._start(None, inputs, outputs, arguments, wait, logs, job_name, experiment_config, kms_key)

    def _start(
        self,
        code: str | None,
        inputs: list[ProcessingInput] | None,
        outputs: list[ProcessingOutput] | None,
        arguments: list[str] | None,
        wait: bool,
        logs: bool,
        job_name: str | None,
        experiment_config: dict[str, str] | None,
        kms_key: str | None,
    ) -> None:
        inputs, outputs = self._normalize_args(job_name, arguments, inputs, outputs, code, kms_key)
        job = _StartedJob.start_new(self, inputs, outputs, current_run.experiment_config(experiment_config))
        job.folders = {
            uri: self._folders[uri] for uri in (o.destination or "" for o in outputs) if uri in self._folders
        }
        self.latest_job = job
        self.jobs.append(job)
        if wait:
            job.wait(logs=logs)
        else:
            job.say_what_is_fetched_later()

    def _normalize_args(
        self,
        job_name: str | None = None,
        arguments: list[str] | None = None,
        inputs: list[ProcessingInput] | None = None,
        outputs: list[ProcessingOutput] | None = None,
        code: str | None = None,
        kms_key: str | None = None,
    ) -> tuple[list[ProcessingInput], list[ProcessingOutput]]:
        """Inputs and outputs with names and places in S3; uploads what is local.

        All that can be wrong on this side is found before the first upload.
        """
        self._current_job_name = self._generate_current_job_name(job_name)
        self.arguments = arguments
        name_inputs(inputs or [])
        _refuse_empty_folders(inputs or [])
        outputs = self._normalize_outputs(outputs)
        inputs = self._include_code_in_inputs(inputs, code, kms_key)
        return self._normalize_inputs(inputs, kms_key), outputs

    def _generate_current_job_name(self, name: str | None = None) -> str:
        if name is not None:
            return name
        return job_name(self.base_job_name or image_base(self.image_uri or self.JOB_CLASS_NAME))

    def _include_code_in_inputs(
        self, inputs: list[ProcessingInput] | None, code: str | None, kms_key: str | None
    ) -> list[ProcessingInput]:
        """The inputs as they are: a plain processor has no code of its own to add."""
        del code, kms_key
        return list(inputs or [])

    def _normalize_inputs(
        self, inputs: list[ProcessingInput], kms_key: str | None = None
    ) -> list[ProcessingInput]:
        """Upload the local sources; their objects then have the S3 URI. Those that are mounted keep theirs."""
        name_inputs(inputs)
        for item in inputs:
            if item.s3_input is None or item.dataset_definition is not None or is_s3(item.s3_input.s3_uri):
                continue
            if in_place := self._in_place(item.s3_input):
                item.s3_input.s3_uri = in_place
                continue
            item.s3_input.s3_uri = S3Uploader.upload(
                local_path=str(local_path(item.s3_input.s3_uri)),
                desired_s3_uri=self._place("input", item.input_name),
                kms_key=kms_key,
                sagemaker_session=self.sagemaker_session,
            )
        return inputs

    def _in_place(self, source: S3Input) -> str | None:
        """The URL of an explicit `file://` source, if the local server mounts it from where it lies."""
        if "://" not in source.s3_uri or not self.sagemaker_session.local_inputs:
            return None
        wanted = (source.s3_data_type, source.s3_input_mode, source.s3_data_distribution_type)
        path = Path(os.path.normpath(local_path(source.s3_uri) or ""))
        allowed = any(path.is_relative_to(folder) for folder in self.sagemaker_session.local_inputs)
        return path.as_uri() if allowed and wanted == ("S3Prefix", "File", "FullyReplicated") else None

    def _normalize_outputs(self, outputs: list[ProcessingOutput] | None = None) -> list[ProcessingOutput]:
        """Give the outputs names, and a place in S3 to those that have none."""
        for place, output in enumerate(outputs or [], 1):
            if not isinstance(output, ProcessingOutput):
                raise TypeError("Your outputs must be provided as ProcessingOutput objects.")
            if output.output_name is None:
                output.output_name = f"output-{place}"
            wanted = output.destination or ""
            if is_s3(wanted):
                continue
            output.destination = self._place("output", output.output_name)
            folder = local_path(wanted)
            session = self.sagemaker_session
            if "://" in wanted and folder and (session.is_local or session.local_mode):
                self._folders[output.destination] = Path(folder)
            elif wanted:
                logger.warning(
                    "The output %s goes to %s: its destination %s is neither an S3 URI nor a `file://` folder that "
                    "this session fetches to.",
                    output.output_name, output.destination, wanted,
                )  # fmt: skip
        return list(outputs or [])

    def _place(self, *path: str | None) -> str:
        """A place for this job in the default bucket."""
        session = self.sagemaker_session
        return s3_path_join(
            "s3://", session.default_bucket(), session.default_bucket_prefix, self.current_job_name, *path
        )


class _StartedJob(ProcessingJob):
    """A job that was started here, and so knows which of its outputs shall be in folders of this machine."""

    folders: Mapping[str, Path]

    def wait(self, logs: bool = True) -> None:
        """As of every job; then fetches those outputs, also of a job that has failed or was stopped."""
        try:
            super().wait(logs)
        except UnexpectedStatusException:
            try:
                self._fetch()
            except Exception as error:  # noqa: BLE001 - the job's failure is the news
                logger.warning("What the job %s has written can't be fetched: %s", self.name, error)
            raise
        except KeyboardInterrupt:
            self.say_what_is_fetched_later()
            raise
        self._fetch()

    def say_what_is_fetched_later(self) -> None:
        """Warn that nothing is in the folders yet, and what brings it there."""
        for uri, folder in self.folders.items():
            logger.warning(
                "The output for %s goes to %s; `wait()` of the job %s brings it to the folder.",
                folder, uri, self.name,
            )  # fmt: skip

    def _fetch(self) -> None:
        for uri, folder in self.folders.items():
            folder.mkdir(parents=True, exist_ok=True)
            S3Downloader.download(uri, str(folder), sagemaker_session=self.sagemaker_session)


def _refuse_empty_folders(inputs: Sequence[ProcessingInput]) -> None:
    """S3 has no folders: of an empty one nothing would arrive, and the job would fail."""
    for item in inputs:
        if item.s3_input is None or item.dataset_definition is not None or is_s3(item.s3_input.s3_uri):
            continue
        folder = local_path(item.s3_input.s3_uri) or ""
        if Path(folder).is_dir() and not any(files for _, _, files in os.walk(folder)):
            raise ValueError(
                f"The source of the input {item.input_name}: the folder {folder} holds no files."
            )
