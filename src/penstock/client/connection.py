"""Which server a Session talks to, and its clients, each made when it is first needed."""

from __future__ import annotations

import logging
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from penstock.errors import ConfigurationError

if TYPE_CHECKING:
    from penstock.client.local_server import Address

logger = logging.getLogger("penstock")

#: Either of these in the environment says that the user has chosen an endpoint, so boto3 is left alone.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER")


class Connection:
    """The clients of a Session.

    Given clients and a given boto3 session are used as they are, and so is boto3's own configuration when an
    endpoint is set in the environment that is not the local server's. Otherwise everything goes to the local
    server, which is found or started on first use.

    Args:
        boto_session: The user's boto3 session.
        sagemaker_client: The user's client for the SageMaker API.
        metrics_client: The user's client for metrics.
        environment: Whether an endpoint in the environment counts.

    Attributes:
        is_local: Whether everything goes to the local server.
        s3_endpoint: An endpoint for S3 other than the one that boto3 finds by itself; may be set.
    """

    def __init__(
        self,
        boto_session: Any = None,
        sagemaker_client: Any = None,
        metrics_client: Any = None,
        *,
        environment: bool = True,
    ) -> None:
        self.given_session = boto_session
        self.sagemaker_client = sagemaker_client
        self._metrics_client = metrics_client
        self.s3_endpoint: str | None = None
        self.is_local = (
            boto_session is None and sagemaker_client is None and not (environment and _endpoint_elsewhere())
        )

    @cached_property
    def address(self) -> Address:
        """The local server's address; starts the server if none runs. Only for local connections."""
        from penstock.client import local_server  # noqa: PLC0415 - only local sessions need it

        return local_server.ensure()

    @cached_property
    def boto_session(self) -> Any:
        """The boto3 session that users see: all models, all operations."""
        if self.given_session is not None:
            return self.given_session
        if self.is_local:
            from penstock.client import boto  # noqa: PLC0415 - loads boto3

            return boto.local_session(self.address)
        import boto3  # noqa: PLC0415 - 0.2 s, so only when it is needed

        return boto3.DEFAULT_SESSION or boto3.Session()

    @cached_property
    def quick_session(self) -> Any:
        """The boto3 session for our own calls: on the local server, one with trimmed models."""
        if self.is_local:
            from penstock.client import boto  # noqa: PLC0415 - loads boto3

            return boto.local_session(self.address, trimmed=True)
        return self.boto_session

    @property
    def sagemaker(self) -> Any:
        """The client for our own calls: the one that the user gave or has touched, else the quick one."""
        return self.sagemaker_client or self._quick_sagemaker

    @cached_property
    def _quick_sagemaker(self) -> Any:
        return self.quick_session.client("sagemaker")

    @property
    def full_sagemaker(self) -> Any:
        """The client that users see. From its first use on it is the one for all calls."""
        if self.sagemaker_client is None:
            self.sagemaker_client = self.boto_session.client("sagemaker")
        return self.sagemaker_client

    @cached_property
    def metrics(self) -> Any:
        """The client for metrics."""
        return self._metrics_client or self.quick_session.client("sagemaker-metrics")

    @cached_property
    def logs(self) -> Any:
        """The client for log events; patient, so that a wait outlives a short disturbance."""
        from botocore.config import Config  # noqa: PLC0415 - comes with boto3

        return self.quick_session.client("logs", config=Config(retries={"max_attempts": 15}))

    @cached_property
    def s3(self) -> Any:
        """The client for S3."""
        return self.quick_session.client("s3", region_name=self.s3_region, endpoint_url=self.s3_endpoint)

    @property
    def s3_region(self) -> str:
        """The region of S3, which may be another one when the local server uses an S3 of the user's."""
        return self.address.s3_region if self.is_local else self.region

    @property
    def has_kms(self) -> bool:
        """Whether S3 can encrypt by keys of a KMS; stores other than AWS refuse such requests."""
        if self.is_local:
            return self.address.has_kms
        return _is_aws_host(self.s3)

    @property
    def region(self) -> str:
        """The region.

        Raises:
            ValueError: The user's boto3 session has none.
        """
        region = self.address.region if self.is_local else self.boto_session.region_name
        if region is None:
            raise ValueError(
                "Must setup local AWS configuration with a region supported by SageMaker. "
                "Set AWS_DEFAULT_REGION, or unset AWS_ENDPOINT_URL to use Penstock's own server."
            )
        return str(region)

    @cached_property
    def account(self) -> str:
        """The 12-digit account id."""
        if self.is_local:
            return self.address.account
        return str(self.identity()["Account"])

    def identity(self) -> dict[str, Any]:
        """The answer of STS to "who am I?"."""
        # Made without an endpoint of its own, so that AWS_ENDPOINT_URL holds for it too.
        identity: dict[str, Any] = self.boto_session.client(
            "sts", region_name=self.region
        ).get_caller_identity()
        return identity

    @property
    def is_aws(self) -> bool:
        """Whether calls go to AWS itself, which limits how often one may ask."""
        if self.is_local:
            return False
        return _is_aws_host(self.sagemaker)


def _endpoint_elsewhere() -> bool:
    """Whether the environment leads to another server than the local one, which `penstock env` leads to."""
    # As in boto3, the variable of the one service wins.
    chosen = next((os.environ[name] for name in reversed(ENDPOINT_VARIABLES) if os.environ.get(name)), None)
    if chosen is None:
        return False
    try:
        from penstock.config import Settings  # noqa: PLC0415 - only when an endpoint is set
        from penstock.home import Home  # noqa: PLC0415 - only when an endpoint is set

        record = Home(Settings.read().home).server()
    except (ConfigurationError, ImportError):  # a home that nobody can serve, or a system without file locks
        return True
    return record is None or chosen.rstrip("/") != record.endpoint


def _is_aws_host(client: Any) -> bool:
    endpoint = getattr(getattr(client, "meta", None), "endpoint_url", None)
    host = urlparse(endpoint).hostname if isinstance(endpoint, str) else None
    return host is not None and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
