"""Processors: they start Processing jobs.

Names, parameters, defaults and behaviour are those of SageMaker's Python SDK (version 2), so that code moves
by changing the import.
"""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from penstock.client.io import FeatureStoreOutput, ProcessingInput, ProcessingOutput, RunArgs, name_inputs
from penstock.client.job import ProcessingJob
from penstock.client.names import is_s3, local_path, parse_s3_url, s3_path_join
from penstock.client.processor import Processor, Tags
from penstock.estimator import Framework
from penstock.network import NetworkConfig
from penstock.s3 import S3Uploader
from penstock.session import Session

if TYPE_CHECKING:
    from penstock.client.source import Source

__all__ = [
    "FeatureStoreOutput",
    "FrameworkProcessor",
    "ProcessingInput",
    "ProcessingJob",
    "ProcessingOutput",
    "Processor",
    "RunArgs",
    "ScriptProcessor",
]

logger = logging.getLogger("penstock")

#: Where the inputs that processors add by themselves lie in a job.
_INPUTS = PurePosixPath("/opt/ml/processing/input")


class ScriptProcessor(Processor):
    """Starts jobs that run a script by a command of the image.

    Args:
        role: A role's name or ARN. On the local server it may be left out.
        image_uri: The image.
        command: The program that runs the script, with its options, e.g. `["python3", "-v"]`.
        instance_count: How many instances.
        instance_type: Their type, `ml.<family>.<size>`, or `local` or `local_gpu`.
        volume_size_in_gb: Disk space of each instance.
        volume_kms_key: The key that encrypts it.
        output_kms_key: The key that encrypts the outputs.
        max_runtime_in_seconds: The job is stopped after so long; the server's own limit is a day.
        base_job_name: The start of job names; the image's name otherwise.
        sagemaker_session: The session; a new one when None.
        env: Environment variables of the program.
        tags: A dict, or a list of dicts with Key and Value.
        network_config: How the network may be used.
    """

    def __init__(
        self,
        role: str | None = None,
        image_uri: str | None = None,
        command: list[str] | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
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
        self._CODE_CONTAINER_BASE_PATH = f"{_INPUTS}/"
        self._CODE_CONTAINER_INPUT_NAME = "code"
        self.command = command
        super().__init__(
            role=role,
            image_uri=image_uri,
            instance_count=instance_count,
            instance_type=instance_type,
            volume_size_in_gb=volume_size_in_gb,
            volume_kms_key=volume_kms_key,
            output_kms_key=output_kms_key,
            max_runtime_in_seconds=max_runtime_in_seconds,
            base_job_name=base_job_name,
            sagemaker_session=sagemaker_session,
            env=env,
            tags=tags,
            network_config=network_config,
        )

    def get_run_args(
        self,
        code: str,
        inputs: list[ProcessingInput] | None = None,
        outputs: list[ProcessingOutput] | None = None,
        arguments: list[str] | None = None,
    ) -> RunArgs:
        """The arguments as one object, as old pipelines want them; nothing is started."""
        _warn_of_run_args()
        return RunArgs(code=code, inputs=inputs, outputs=outputs, arguments=arguments)

    def run(  # type: ignore[override]  # SageMaker's own: a script comes first here
        self,
        code: str,
        inputs: list[ProcessingInput] | None = None,
        outputs: list[ProcessingOutput] | None = None,
        arguments: list[str] | None = None,
        wait: bool = True,
        logs: bool = True,
        job_name: str | None = None,
        experiment_config: dict[str, str] | None = None,
        kms_key: str | None = None,
    ) -> None:
        """Start a job that runs `code`, an S3 URI or a local file. The rest is as in `Processor.run`.

        Raises:
            ValueError: `code` does not exist or is no file, or inputs that can't be.
            TypeError: The processor has no command.
            FileNotFoundError: A local source does not exist.
            UnexpectedStatusException: The job failed (with `wait`).
            botocore.exceptions.ClientError: The server refuses the request.
        """
        self._start(code, inputs, outputs, arguments, wait, logs, job_name, experiment_config, kms_key)

    def _include_code_in_inputs(
        self, inputs: list[ProcessingInput] | None, code: str | None, kms_key: str | None
    ) -> list[ProcessingInput]:
        if code is None:
            raise ValueError("code is required: an S3 URI or the path of a local file.")
        self._set_entrypoint(self.command, self._get_user_code_name(code))
        return self._convert_code_and_add_to_inputs(inputs, self._handle_user_code_url(code, kms_key))

    def _get_user_code_name(self, code: str) -> str:
        return PurePosixPath(code if is_s3(code) else local_path(code) or code).name

    def _handle_user_code_url(self, code: str, kms_key: str | None = None) -> str:
        """The S3 URI of the code, which is uploaded if it is local."""
        if is_s3(code):
            return code
        path = local_path(code)
        if path is None:
            scheme = code.partition("://")[0]
            raise ValueError(
                f"code {code} url scheme {scheme} is not recognized. Please pass a file path or S3 url"
            )
        if not Path(path).exists():
            raise ValueError(f"code {code} wasn't found. Please make sure that the file exists.")
        if not Path(path).is_file():
            raise ValueError(f"code {code} must be a file, not a directory. Please pass a path to a file.")
        return S3Uploader.upload(
            local_path=path,
            desired_s3_uri=self._place("input", self._CODE_CONTAINER_INPUT_NAME),
            kms_key=kms_key,
            sagemaker_session=self.sagemaker_session,
        )

    def _convert_code_and_add_to_inputs(
        self, inputs: list[ProcessingInput] | None, s3_uri: str
    ) -> list[ProcessingInput]:
        name = self._CODE_CONTAINER_INPUT_NAME
        return [*(inputs or []), ProcessingInput(s3_uri, str(_INPUTS / name), name)]

    def _set_entrypoint(self, command: list[str] | None, user_script_name: str) -> None:
        if command is None:
            raise TypeError("The processor has no command to run the script with, such as ['python3'].")
        self.entrypoint = [*command, str(_INPUTS / self._CODE_CONTAINER_INPUT_NAME / user_script_name)]


class FrameworkProcessor(ScriptProcessor):
    """Starts jobs that run a script, with all that belongs to it, in a framework's image.

    Args:
        estimator_cls: The framework, e.g. `penstock.pytorch.PyTorch`.
        framework_version: Its version, e.g. `1.10`.
        role: A role's name or ARN. On the local server it may be left out.
        instance_count: How many instances.
        instance_type: Their type, `ml.<family>.<size>`, or `local` or `local_gpu`.
        py_version: The image's Python, e.g. `py38`; `py3` means the one that the version comes with.
        image_uri: An image of one's own instead of the framework's.
        command: The program that runs the script, with its options; `["python"]` when not given.
        volume_size_in_gb: Disk space of each instance.
        volume_kms_key: The key that encrypts it.
        output_kms_key: The key that encrypts the outputs, and the source.
        code_location: The S3 prefix for the source; the default bucket when None.
        max_runtime_in_seconds: The job is stopped after so long; the server's own limit is a day.
        base_job_name: The start of job names; the framework's name otherwise.
        sagemaker_session: The session; a new one when None.
        env: Environment variables of the program.
        tags: A dict, or a list of dicts with Key and Value.
        network_config: How the network may be used.
    """

    estimator_cls: type[Framework]
    framework_entrypoint_command: ClassVar[list[str]] = ["/bin/bash"]

    def __init__(
        self,
        estimator_cls: type[Framework],
        framework_version: str,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        py_version: str = "py3",
        image_uri: str | None = None,
        command: list[str] | None = None,
        volume_size_in_gb: int = 30,
        volume_kms_key: str | None = None,
        output_kms_key: str | None = None,
        code_location: str | None = None,
        max_runtime_in_seconds: int | None = None,
        base_job_name: str | None = None,
        sagemaker_session: Session | None = None,
        env: dict[str, str] | None = None,
        tags: Tags | None = None,
        network_config: NetworkConfig | None = None,
    ) -> None:
        self.estimator_cls = estimator_cls
        self.framework_version = framework_version
        self.py_version = py_version
        super().__init__(
            role=role,
            image_uri=image_uri,
            command=command or ["python"],
            instance_count=instance_count,
            instance_type=instance_type,
            volume_size_in_gb=volume_size_in_gb,
            volume_kms_key=volume_kms_key,
            output_kms_key=output_kms_key,
            max_runtime_in_seconds=max_runtime_in_seconds,
            base_job_name=base_job_name,
            sagemaker_session=sagemaker_session,
            env=env,
            tags=tags,
            network_config=network_config,
        )
        # The script of the user comes in the archive; what is added as a file is the one that starts it.
        self._CODE_CONTAINER_INPUT_NAME = "entrypoint"
        self.code_location = code_location.removesuffix("/") if code_location else code_location
        if image_uri is None or base_job_name is None:
            estimator = self._create_estimator()
            self.image_uri = image_uri or estimator.training_image_uri()
            self.base_job_name = (
                base_job_name or estimator.base_job_name or estimator_cls._framework_name  # noqa: SLF001
            )

    def _create_estimator(self) -> Framework:
        """The framework at this processor's version; subclasses whose framework takes more override it."""
        return self.estimator_cls(
            framework_version=self.framework_version,
            py_version=self.py_version,
            image_uri=self.image_uri,
            role=self.role,
            instance_count=1,
            instance_type=self.instance_type,
            sagemaker_session=self.sagemaker_session,
            code_location=self.code_location,
        )

    def get_run_args(  # type: ignore[override]  # SageMaker's own
        self,
        code: str,
        source_dir: str | None = None,
        dependencies: list[str] | None = None,
        git_config: dict[str, Any] | None = None,
        inputs: list[ProcessingInput] | None = None,
        outputs: list[ProcessingOutput] | None = None,
        arguments: list[str] | None = None,
        job_name: str | None = None,
    ) -> RunArgs:
        """The arguments as one object, as old pipelines want them. Uploads the source, but starts nothing."""
        _warn_of_run_args()
        start, inputs, _ = self._pack_and_upload_code(
            code, source_dir, dependencies, git_config, job_name, inputs
        )
        return RunArgs(start, inputs=inputs, outputs=outputs, arguments=arguments)

    def run(  # type: ignore[override]  # SageMaker's own
        self,
        code: str,
        source_dir: str | None = None,
        dependencies: list[str] | None = None,
        git_config: dict[str, Any] | None = None,
        inputs: list[ProcessingInput] | None = None,
        outputs: list[ProcessingOutput] | None = None,
        arguments: list[str] | None = None,
        wait: bool = True,
        logs: bool = True,
        job_name: str | None = None,
        experiment_config: dict[str, str] | None = None,
        kms_key: str | None = None,
        codeartifact_repo_arn: str | None = None,
        requirements: str | None = None,
    ) -> None:
        """Start a job that runs `code`. What is not named here is as in `Processor.run`.

        Args:
            code: The script: relative to `source_dir` if there is one, else a local file. An S3 URI is taken
                for a shell script that starts everything by itself.
            source_dir: The folder whose contents come along, or the S3 URI of a `sourcedir.tar.gz`. If it
                has a `requirements.txt`, its packages are installed before the script is started; else what
                its `uv.lock` says, exactly, or the dependencies of its `pyproject.toml`.
            dependencies: More files and folders, which come along under their last name.
            git_config: A repository from which all of these are taken: `repo`, `branch`, `commit`,
                `2FA_enabled`, `username`, `password`, `token`.
            inputs: What the job gets.
            outputs: What it yields.
            arguments: The script's arguments.
            wait: Return only when the job has ended.
            logs: Print the log meanwhile.
            job_name: The job's name.
            experiment_config: The experiment it belongs to; as for `Processor.run`.
            kms_key: The key that encrypts what is uploaded.
            codeartifact_repo_arn: The CodeArtifact repository that pip shall use.
            requirements: The requirements file's path in the source folder, in the place of
                `requirements.txt` (as in SageMaker's SDK v3).

        Raises:
            ValueError: The script is not in the folder, or source or inputs that can't be.
            FileNotFoundError: The script, a dependency or a local source of an input does not exist.
            UnexpectedStatusException: The job failed (with `wait`).
            botocore.exceptions.ClientError: The server refuses the request.
        """
        start, inputs, job_name = self._pack_and_upload_code(
            code,
            source_dir,
            dependencies,
            git_config,
            job_name,
            inputs,
            kms_key,
            codeartifact_repo_arn,
            requirements,
        )
        self._start(start, inputs, outputs, arguments, wait, logs, job_name, experiment_config, kms_key)

    def _pack_and_upload_code(
        self,
        code: str,
        source_dir: str | None,
        dependencies: list[str] | None,
        git_config: dict[str, Any] | None,
        job_name: str | None,
        inputs: list[ProcessingInput] | None,
        kms_key: str | None = None,
        codeartifact_repo_arn: str | None = None,
        requirements: str | None = None,
    ) -> tuple[str, list[ProcessingInput] | None, str | None]:
        """Upload archive and shell script; returns the script's URI, all inputs, and the job's name."""
        if is_s3(code):
            return code, inputs, job_name
        from penstock.client.source import Source, start_script  # noqa: PLC0415 - keeps the import light

        name_inputs(inputs or [])
        job_name = job_name or self._generate_current_job_name()
        source = Source(_local(code), _local(source_dir), tuple(_local(path) for path in dependencies or ()))
        script = start_script(
            source.entry, self.command or [], codeartifact_repo_arn, requirements or "requirements.txt"
        )
        if source_dir is not None and is_s3(source_dir):
            archive = source_dir
            if "/sourcedir.tar.gz" not in archive:
                raise RuntimeError("S3 source_dir file must be named `sourcedir.tar.gz.`")
        else:
            archive = self._upload_source(source, git_config, job_name)
            logger.info("Uploaded %s to %s", source_dir, archive)
        start = S3Uploader.upload_string_as_file_body(
            script,
            desired_s3_uri=archive.replace("sourcedir.tar.gz", "runproc.sh"),
            kms_key=kms_key or self.output_kms_key,
            sagemaker_session=self.sagemaker_session,
        )
        logger.info("runproc.sh uploaded to %s", start)
        added = ProcessingInput(archive, f"{_INPUTS}/code/", "code")
        return start, [*(inputs or []), added], job_name

    def _upload_source(self, source: Source, git_config: dict[str, Any] | None, job_name: str) -> str:
        import tempfile  # noqa: PLC0415 - keeps the import light

        from penstock.client.source import pack  # noqa: PLC0415 - keeps the import light

        session = self.sagemaker_session
        settings = session.settings
        with tempfile.TemporaryDirectory(dir=getattr(settings, "local_download_dir", None)) as folder:
            if git_config:
                from penstock.client import git  # noqa: PLC0415 - for few

                source = git.clone(git_config, source, Path(folder))
            source.check()
            archive = pack(source)
        kms_key = self.output_kms_key
        if self.code_location:
            bucket, prefix = parse_s3_url(self.code_location)
            # The key is known to be right for our own bucket only.
            kms_key = kms_key if kms_key and bucket == session.default_bucket() else None
        else:
            bucket, prefix = session.default_bucket(), session.default_bucket_prefix or ""
        extra = {}
        if kms_key or getattr(settings, "encrypt_repacked_artifacts", True):
            extra["ServerSideEncryption"] = "aws:kms"
        if kms_key:
            extra["SSEKMSKeyId"] = kms_key
        return session.put_object(
            archive, bucket, s3_path_join(prefix, job_name, "source", "sourcedir.tar.gz"), extra
        )

    def _set_entrypoint(self, command: list[str] | None, user_script_name: str) -> None:
        del command  # the shell script has it
        super()._set_entrypoint(self.framework_entrypoint_command, user_script_name)


def _local(path: str | None) -> Any:
    """The path that a `file://` URL means; everything else as it is."""
    return path if path is None else local_path(path) or path


def _warn_of_run_args() -> None:
    logger.warning("get_run_args is deprecated: call run() itself.")
