"""ProcessingJob: a job that has been started."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from penstock.client.io import ProcessingInput, ProcessingOutput, inputs_of, outputs_of
from penstock.client.job_data import ByName, JobInput, JobOutput
from penstock.client.names import parse_s3_url
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.client.view import View
    from penstock.processing import Processor
    from penstock.session import Session

logger = logging.getLogger("penstock")

#: How many of the last log lines a card has.
_CARD_LINES = 100
#: And how many the text of a failed one.
_TEXT_LINES = 10

#: What goes over the wire for SageMaker's local mode, which the API has no instance type for: the largest there are.
#: A job gets what its type has, or what there is when that is less; so these get all of the machine.
LOCAL_INSTANCE_TYPES = {"local": "ml.m8i.96xlarge", "local_gpu": "ml.g6e.48xlarge"}


class ProcessingJob:
    """A job on the server. A notebook shows it as a card, `print` as some lines.

    Attributes:
        sagemaker_session: The session it was started with.
        job_name: Its name.
        inputs: Its inputs, a list in which they are also found by their names: `job.inputs["data"]`.
        outputs: Its outputs, the same; of each `list`, `read_json`, `to_pandas` and others give what it holds.
        output_kms_key: The key that encrypts its outputs.
    """

    def __init__(
        self,
        sagemaker_session: Session,
        job_name: str,
        inputs: list[ProcessingInput] | None,
        outputs: list[ProcessingOutput] | None,
        output_kms_key: str | None = None,
    ) -> None:
        self.sagemaker_session = sagemaker_session
        self.job_name = job_name
        self.inputs = None if inputs is None else ByName(JobInput.of(self, one) for one in inputs)
        self.outputs = None if outputs is None else ByName(JobOutput.of(self, one) for one in outputs)
        self.output_kms_key = output_kms_key

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job_name

    @classmethod
    def start_new(
        cls,
        processor: Processor,
        inputs: list[ProcessingInput],
        outputs: list[ProcessingOutput],
        experiment_config: Mapping[str, str] | None,
    ) -> Self:
        """Start a job of `processor` with inputs and outputs that are in S3 and have names.

        Raises:
            botocore.exceptions.ClientError: The server refuses the request; the message names the member.
        """
        session = processor.sagemaker_session
        name = processor.current_job_name
        limit = processor.max_runtime_in_seconds
        volume_key = processor.volume_kms_key
        if volume_key is not None and processor.instance_type == "local_gpu":
            logger.warning("The volume of a local job is not encrypted; volume_kms_key is left out.")
            volume_key = (
                None  # AWS's types with so many graphics cards have disks of their own, which take no key
            )
        session.process(
            inputs=[item._to_request_dict() for item in inputs],  # noqa: SLF001 - of this package
            output_config=cls.prepare_output_config(
                processor.output_kms_key,
                [item._to_request_dict() for item in outputs],  # noqa: SLF001 - of this package
            ),
            job_name=name,
            resources=cls.prepare_processing_resources(
                processor.instance_count,
                LOCAL_INSTANCE_TYPES.get(processor.instance_type or "", processor.instance_type),
                volume_key,
                processor.volume_size_in_gb,
            ),
            stopping_condition=None if limit is None else cls.prepare_stopping_condition(limit),
            app_specification=cls.prepare_app_specification(
                processor.arguments, processor.entrypoint, processor.image_uri
            ),
            environment=processor.env,
            network_config=processor.network_config._to_request_dict()  # noqa: SLF001 - of this package
            if processor.network_config is not None
            else None,
            role_arn=session.expand_role(processor.role),
            tags=processor.tags,
            experiment_config=experiment_config,
        )
        return cls(session, name, inputs, outputs, processor.output_kms_key)

    @classmethod
    def from_processing_name(cls, sagemaker_session: Session, processing_job_name: str) -> Self:
        """The job of that name, with inputs and outputs as the server knows them."""
        description = sagemaker_session.describe_processing_job(processing_job_name)
        return cls(
            sagemaker_session,
            processing_job_name,
            inputs_of(description),
            outputs_of(description),
            description.get("ProcessingOutputConfig", {}).get("KmsKeyId"),
        )

    @classmethod
    def from_processing_arn(cls, sagemaker_session: Session, processing_job_arn: str) -> Self:
        """The job of that ARN, with inputs and outputs as the server knows them."""
        name = processing_job_arn.split(":")[5].removeprefix("processing-job/")
        return cls.from_processing_name(sagemaker_session, name)

    def wait(self, logs: bool = True) -> None:
        """Wait until the job has ended, and print its log as it comes unless `logs` is False.

        In a notebook, on the local server, a card is drawn that shows how far the job is, with the last lines of the
        log unless `logs` is False; `logs()` prints all of them.

        Raises:
            UnexpectedStatusException: The job failed; the message has the reason and the last log lines.
        """
        if logs:
            self.sagemaker_session.logs_for_processing_job(self.job_name, wait=True)
        else:
            self.sagemaker_session.wait_for_processing_job(self.job_name)

    def logs(self) -> None:
        """Print the job's log, all that there is so far."""
        self.sagemaker_session.logs_for_processing_job(self.job_name, wait=False)

    def describe(self) -> dict[str, Any]:
        """What DescribeProcessingJob answers."""
        return self.sagemaker_session.describe_processing_job(self.job_name)

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric that the job has told so far, by name: as the local server has on record.

        Raises:
            PenstockError: The local server has no such job, or the job is on another server.
        """
        from penstock.client import record  # noqa: PLC0415 - keeps the import light

        connection = self.sagemaker_session._connection  # noqa: SLF001 - of this package
        if not connection.is_local:
            raise PenstockError(
                f"The job {self.job_name} is on another server: BatchGetMetrics of sagemaker-metrics tells its metrics."
            )
        return {
            one["name"]: one["last"] for one in record.fetch(connection.address, self.job_name)["metrics"]
        }

    def stop(self) -> None:
        """Ask for the job to be stopped; does not wait for it."""
        self.sagemaker_session.stop_processing_job(self.name)

    def __repr__(self) -> str:
        # Debuggers and logs ask for this, so nobody is called.
        return f"<ProcessingJob {self.job_name}>"

    def __str__(self) -> str:
        """What is known of the job at this moment, for a terminal."""
        seen = self._look(_TEXT_LINES)
        return f"{self!r}: {seen}" if isinstance(seen, Exception) else str(seen)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self) if cycle else str(self))

    def _repr_html_(self) -> str:
        from penstock.client import card  # noqa: PLC0415 - for notebooks

        seen = self._look(_CARD_LINES)
        return card.message(self.job_name, str(seen)) if isinstance(seen, Exception) else card.job(seen)

    def _look(self, lines: int = 0) -> View | Exception:
        """The job at this moment, or why that can't be had: to show something must not fail."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - comes with boto3

        from penstock.client.look import look  # noqa: PLC0415 - keeps the import light

        try:
            return look(self.sagemaker_session._connection, self.job_name, lines)  # noqa: SLF001 - of this package
        except (PenstockError, BotoCoreError, ClientError) as error:
            return error

    def _stored(self, output: str) -> list[tuple[str, int]]:
        """Key and size of what the job has stored of an output, as its local server has on record."""
        from penstock.client import record  # noqa: PLC0415 - keeps the import light

        address = self.sagemaker_session._connection.address  # noqa: SLF001 - of this package
        uploads = record.uploads(address, self.job_name)
        # Two instances may have stored the same object: the later holds.
        found = {parse_s3_url(one["uri"])[1]: one["size"] for one in uploads if one["output"] == output}
        return sorted(found.items())

    @staticmethod
    def prepare_app_specification(
        container_arguments: Sequence[str] | None,
        container_entrypoint: Sequence[str] | None,
        image_uri: str | None,
    ) -> dict[str, Any]:
        """The request's AppSpecification."""
        specification: dict[str, Any] = {"ImageUri": image_uri}
        if container_arguments is not None:
            specification["ContainerArguments"] = container_arguments
        if container_entrypoint is not None:
            specification["ContainerEntrypoint"] = container_entrypoint
        return specification

    @staticmethod
    def prepare_output_config(kms_key_id: str | None, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The request's ProcessingOutputConfig."""
        config: dict[str, Any] = {"Outputs": outputs}
        if kms_key_id is not None:
            config["KmsKeyId"] = kms_key_id
        return config

    @staticmethod
    def prepare_processing_resources(
        instance_count: int | None,
        instance_type: str | None,
        volume_kms_key_id: str | None,
        volume_size_in_gb: int,
    ) -> dict[str, Any]:
        """The request's ProcessingResources."""
        cluster: dict[str, Any] = {
            "InstanceCount": instance_count,
            "InstanceType": instance_type,
            "VolumeSizeInGB": volume_size_in_gb,
        }
        if volume_kms_key_id is not None:
            cluster["VolumeKmsKeyId"] = volume_kms_key_id
        return {"ClusterConfig": cluster}

    @staticmethod
    def prepare_stopping_condition(max_runtime_in_seconds: int) -> dict[str, int]:
        """The request's StoppingCondition."""
        return {"MaxRuntimeInSeconds": max_runtime_in_seconds}
