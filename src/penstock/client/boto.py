"""boto3 for the local server: its own keys, region and endpoints, and nothing of the user's AWS settings.

This module imports boto3 (some 0.2 s), so it is itself imported only when a client is first needed.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from penstock.client.local_server import Address

#: botocore's models cut down to the operations that Penstock has, in botocore's own layout.
TRIMMED_MODELS = Path(__file__).parent.parent / "wire" / "models"

#: What the user has set for AWS is not looked at: no profile, no config file, no credentials file.
_NO_SETTINGS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class LocalBotoSession(boto3.Session):  # type: ignore[misc]  # boto3 has no types
    """A boto3 session whose clients and resources all go to the local server.

    Args:
        address: Where the server is, and its keys.
        trimmed: Load the cut-down service models, which is quicker by the time that botocore takes to read
            the whole model (about 0.25 s for `sagemaker`); their clients lack all other operations.
    """

    def __init__(self, address: Address, *, trimmed: bool = False) -> None:
        core = botocore.session.Session(session_vars=_NO_SETTINGS)
        if trimmed:
            core.get_component("data_loader").search_paths.insert(0, str(TRIMMED_MODELS))
        super().__init__(
            botocore_session=core,
            aws_access_key_id=address.access_key_id,
            aws_secret_access_key=address.secret_access_key,
            region_name=address.region,
        )
        self._address = address

    def client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, with the local endpoint unless another is given."""
        return super().client(service_name, *args, **self._local(service_name, kwargs))

    def resource(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, with the local endpoint unless another is given."""
        return super().resource(service_name, *args, **self._local(service_name, kwargs))

    def _local(self, service: str, arguments: dict[str, Any]) -> dict[str, Any]:
        address = self._address
        # A proxy and endpoints set by the user are for the world outside.
        config = Config(proxies={}, ignore_configured_endpoint_urls=True)
        endpoint = address.endpoint
        if service == "s3":
            endpoint = address.s3_endpoint
            arguments["region_name"] = address.s3_region
            config = config.merge(Config(s3={"addressing_style": "path"}))
        given = arguments.get("config")
        arguments["config"] = config.merge(given) if given is not None else config
        arguments["endpoint_url"] = arguments.get("endpoint_url") or endpoint
        return arguments


@lru_cache(maxsize=8)
def local_session(address: Address, *, trimmed: bool = False) -> LocalBotoSession:
    """The session for `address`, made once in a process: models and endpoints are read once."""
    return LocalBotoSession(address, trimmed=trimmed)
