"""Penstock's own record of a job, richer than AWS's description: phases, hosts, environments, transfers."""

from __future__ import annotations

import json
from typing import Any

from penstock.client.local_server import Address
from penstock.errors import PenstockError, ServerUnavailable


def fetch(address: Address, name: str) -> dict[str, Any]:
    """The record of the job `name`, as the server keeps it. Times are milliseconds since the epoch.

    Raises:
        PenstockError: There is no such job.
        ServerUnavailable: The server does not answer.
    """
    # botocore comes with boto3, which the caller has loaded anyhow.
    from botocore.auth import SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415
    from botocore.exceptions import HTTPClientError  # noqa: PLC0415
    from botocore.httpsession import URLLib3Session  # noqa: PLC0415

    request = AWSRequest("GET", f"{address.endpoint}/penstock/jobs/{name}")
    keys = Credentials(address.access_key_id, address.secret_access_key)
    SigV4Auth(keys, "sagemaker", address.region).add_auth(request)
    try:
        response = URLLib3Session(proxies={}).send(request.prepare())
    except HTTPClientError as error:
        raise ServerUnavailable(
            f"The Penstock server at {address.endpoint} does not answer: {error}"
        ) from error
    answer: dict[str, Any] = json.loads(response.content)
    if response.status_code != 200:
        raise PenstockError(str(answer.get("message") or answer))
    return answer
