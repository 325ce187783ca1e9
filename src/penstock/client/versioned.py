"""What the processors of PyTorch, TensorFlow, MXNet and XGBoost share: an image by its framework's version."""

from __future__ import annotations

from penstock.client.processor import Tags
from penstock.estimator import Framework
from penstock.network import NetworkConfig
from penstock.processing import FrameworkProcessor
from penstock.session import Session


class VersionedProcessor(FrameworkProcessor):
    """A FrameworkProcessor whose estimator is known; see there for the arguments."""

    estimator_cls: type[Framework]

    def __init__(
        self,
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
        super().__init__(
            self.estimator_cls,
            framework_version,
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
