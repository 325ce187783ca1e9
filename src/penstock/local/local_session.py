"""LocalSession: a Session that never leaves this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from penstock.client import absent
from penstock.client.connection import ENDPOINT_VARIABLES
from penstock.session import Session

logger = logging.getLogger("penstock")

#: Settings of SageMaker's local mode that change how its containers run.
_OF_CONTAINERS = {
    "container_config": "jobs are not started by Docker Compose; sizes follow from instance type and volume size",
    "container_root": "the folders of jobs lie in PENSTOCK_HOME",
}


class LocalSession(Session):
    """A Session on the local server, or on the one that AWS_ENDPOINT_URL names.

    Args:
        boto_session: Used if AWS_ENDPOINT_URL is set. Otherwise it would lead to AWS, and is left alone.
        default_bucket: The bucket for what has no place of its own.
        s3_endpoint_url: Used if AWS_ENDPOINT_URL is set. The local server's S3 is where its jobs look.
        disable_local_code: Kept for its name: code is always uploaded.
        sagemaker_config: Default values, as a dict in the layout of SageMaker's configuration files.
        default_bucket_prefix: Put before all keys in the default bucket.

    Attributes:
        config: Settings of SageMaker's local mode, such as `{"local": {"local_code": True}}`; may be set. Nothing
            here needs them: code and inputs reach a job in the same way with and without `local_code`.
    """

    local_mode = True

    def __init__(
        self,
        boto_session: Any = None,
        default_bucket: str | None = None,
        s3_endpoint_url: str | None = None,
        disable_local_code: bool = False,
        sagemaker_config: Mapping[str, Any] | None = None,
        default_bucket_prefix: str | None = None,
    ) -> None:
        remote = any(os.environ.get(name) for name in ENDPOINT_VARIABLES)
        if boto_session is not None and not remote:
            logger.info("A LocalSession uses the local server; the boto3 session given is left alone.")
        super().__init__(
            boto_session=boto_session if remote else None,
            default_bucket=default_bucket,
            sagemaker_config=sagemaker_config,
            default_bucket_prefix=default_bucket_prefix,
        )
        self.disable_local_code = disable_local_code
        self.s3_endpoint_url = s3_endpoint_url
        if remote:
            self._connection.s3_endpoint = s3_endpoint_url

    @property
    def config(self) -> Mapping[str, Any] | None:
        """Settings of SageMaker's local mode, as they were set."""
        return self._config

    @config.setter
    def config(self, config: Mapping[str, Any] | None) -> None:
        self._config = config
        for name in sorted(set((config or {}).get("local") or {}) & set(_OF_CONTAINERS)):
            logger.warning("The setting local.%s does nothing here: %s.", name, _OF_CONTAINERS[name])


absent.explain(__name__)
