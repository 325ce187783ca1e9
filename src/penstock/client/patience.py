"""Asking a server that may be away for a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from penstock.errors import ServerUnavailable

logger = logging.getLogger("penstock")

#: A server that is started anew answers again within seconds; jobs go on meanwhile.
PATIENCE = 60.0

#: How long to rest between two questions to a server that does not answer, in seconds.
REST = 0.2


def patiently(call: Callable[..., Any], request: Mapping[str, Any]) -> Any:
    """What `call` answers to `request`, asked again and again for `PATIENCE` seconds while no server answers."""
    # Both come with boto3; neither is the other's base.
    from botocore.exceptions import ConnectionError as NoConnection  # noqa: PLC0415
    from botocore.exceptions import HTTPClientError  # noqa: PLC0415

    begun = time.monotonic()
    told = False
    while True:
        try:
            return call(**request)
        except (HTTPClientError, NoConnection, ServerUnavailable) as error:
            if time.monotonic() - begun >= PATIENCE:
                raise
            if not told:
                logger.warning("The server does not answer (%s); waiting for it up to %d s.", error, PATIENCE)
                told = True
            time.sleep(REST)
