"""The only door to botocore's service models, which are trimmed to what is served (`tools/trim_models.py`).

Importing `botocore.model` costs some 0.1 s, nearly all of it for an HTTP client that comes with it and that
nothing here uses. So it is imported at the first use, and not by whoever imports this package.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import OperationModel, ServiceModel

#: Data in the layout of botocore's own folder: a botocore `Loader` may have it as one of its search paths.
MODELS = Path(__file__).with_name("models")

#: Services of the query protocol (a form in, XML out); those of `TARGETS` speak JSON 1.1.
QUERY_SERVICES = frozenset({"iam", "sts"})

#: What stands before the dot in the header `X-Amz-Target` -> service.
TARGETS: Mapping[str, str] = {"Logs_20140328": "logs", "SageMaker": "sagemaker"}

#: Services of the REST-JSON protocol: method and path name the operation. They are signed for `sagemaker`.
REST_SERVICES = frozenset({"sagemaker-metrics"})

#: All services that are served by their model. S3 isn't among them: it is passed on, not parsed.
SERVICES = QUERY_SERVICES | REST_SERVICES | frozenset(TARGETS.values())


@cache
def service(name: str) -> ServiceModel:
    """The model of a service, one of `SERVICES`.

    Raises:
        KeyError: There is no such service.
    """
    from botocore.model import ServiceModel  # noqa: PLC0415 -- see the module's docstring

    if name not in SERVICES:
        raise KeyError(name)
    [file] = (MODELS / name).glob("*/service-2.json")  # the folder between is the API's version
    return ServiceModel(json.loads(file.read_bytes()), name)


@cache
def operation(service_name: str, name: str) -> OperationModel:
    """The model of an operation.

    Raises:
        KeyError: The service or the operation isn't served.
    """
    model = service(service_name)
    if name not in model.operation_names:
        raise KeyError(name)
    return model.operation_model(name)


@cache
def routes() -> Mapping[tuple[str, str], tuple[str, str]]:
    """Method and path -> service and operation, of all `REST_SERVICES`."""
    return {
        (found.http["method"], found.http["requestUri"]): (name, found.name)
        for name in REST_SERVICES
        for found in map(service(name).operation_model, service(name).operation_names)
    }
