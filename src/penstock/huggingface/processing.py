"""HuggingFaceProcessor: scripts in a Hugging Face image."""

from __future__ import annotations

from penstock.client.processor import Tags
from penstock.estimator import Framework
from penstock.huggingface.estimator import HuggingFace
from penstock.network import NetworkConfig
from penstock.processing import FrameworkProcessor
from penstock.session import Session


class HuggingFaceProcessor(FrameworkProcessor):
    """Starts jobs in the image of a version of Hugging Face's transformers.

    Args:
        role: A role's name or ARN. On the local server it may be left out.
        instance_count: How many instances.
        instance_type: Their type; the images are for GPUs.
        transformers_version: The version of transformers.
        tensorflow_version: The version of TensorFlow below; this or `pytorch_version`.
        pytorch_version: The version of PyTorch below.
        py_version: As in the image's tag, e.g. `py39`.
        image_uri: An image of one's own instead.
        command: The program that runs the script, with its options; `["python"]` when not given.
        volume_size_in_gb: Disk space of each instance.
        volume_kms_key: The key that encrypts it.
        output_kms_key: The key that encrypts the outputs, and the source.
        code_location: The S3 prefix for the source; the default bucket when None.
        max_runtime_in_seconds: The job is stopped after so long; the server's own limit is a day.
        base_job_name: The start of job names; `huggingface` otherwise.
        sagemaker_session: The session; a new one when None.
        env: Environment variables of the program.
        tags: A dict, or a list of dicts with Key and Value.
        network_config: How the network may be used.
    """

    estimator_cls: type[Framework] = HuggingFace

    def __init__(
        self,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        transformers_version: str | None = None,
        tensorflow_version: str | None = None,
        pytorch_version: str | None = None,
        py_version: str = "py36",
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
        # Set first: the image is looked up while the processor is made.
        self.tensorflow_version = tensorflow_version
        self.pytorch_version = pytorch_version
        super().__init__(
            HuggingFace,
            transformers_version or "",
            role,
            instance_count,
            instance_type,
            py_version,
            image_uri,
            command,
            volume_size_in_gb,
            volume_kms_key,
            output_kms_key,
            code_location,
            max_runtime_in_seconds,
            base_job_name,
            sagemaker_session,
            env,
            tags,
            network_config,
        )

    def _create_estimator(self) -> Framework:
        return HuggingFace(
            transformers_version=self.framework_version,
            tensorflow_version=self.tensorflow_version,
            pytorch_version=self.pytorch_version,
            py_version=self.py_version,
            image_uri=self.image_uri,
            role=self.role,
            instance_count=self.instance_count,
            instance_type=self.instance_type,
            sagemaker_session=self.sagemaker_session,
            code_location=self.code_location,
        )
