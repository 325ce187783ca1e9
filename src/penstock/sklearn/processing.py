"""SKLearnProcessor: scripts in a scikit-learn image."""

from __future__ import annotations

from penstock import image_uris
from penstock.client.processor import Tags
from penstock.network import NetworkConfig
from penstock.processing import ScriptProcessor
from penstock.session import Session


class SKLearnProcessor(ScriptProcessor):
    """Starts jobs that run a script in the image of a scikit-learn version.

    Args:
        framework_version: As in the image's tag, e.g. `1.2-1`.
        role: A role's name or ARN. On the local server it may be left out.
        instance_count: How many instances.
        instance_type: Their type, `ml.<family>.<size>`, or `local`.
        command: The program that runs the script, with its options; `["python3"]` when not given.
        volume_size_in_gb: Disk space of each instance.
        volume_kms_key: The key that encrypts it.
        output_kms_key: The key that encrypts the outputs.
        max_runtime_in_seconds: The job is stopped after so long; the server's own limit is a day.
        base_job_name: The start of job names; `sagemaker-scikit-learn` otherwise.
        sagemaker_session: The session; a new one when None.
        env: Environment variables of the program.
        tags: A dict, or a list of dicts with Key and Value.
        network_config: How the network may be used.

    Raises:
        ValueError: There is no image for that version and instance type.
    """

    def __init__(
        self,
        framework_version: str,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        command: list[str] | None = None,
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
        super().__init__(
            role=role,
            command=command or ["python3"],
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
        self.image_uri = image_uris.retrieve(
            "sklearn",
            self.sagemaker_session.boto_region_name,
            version=framework_version,
            instance_type=instance_type,
        )
